"""Passes for a Ruby web app: by a `web:` line, or by its config.ru."""

from __future__ import annotations

from buildpacks.packs.algo_ruby.starting import find_start
from buildpacks.packs.cnb import Context
from buildpacks.packs.toolchains.starts import detect_language


def detect(context: Context) -> int:
    """Write the plan. Raises PackFailed: ruby-no-server, two-languages, what read_procfile raises."""
    return detect_language(context, "ruby", find_start)
