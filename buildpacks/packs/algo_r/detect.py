"""Passes for a R web app: by a `web:` line, or by plumber's and Shiny's own files."""

from __future__ import annotations

from buildpacks.packs.algo_r.starting import find_start
from buildpacks.packs.cnb import Context
from buildpacks.packs.toolchains.starts import detect_language


def detect(context: Context) -> int:
    """Write the plan. Raises PackFailed: r-two-starts, two-languages, what read_procfile raises."""
    return detect_language(context, "r", find_start)
