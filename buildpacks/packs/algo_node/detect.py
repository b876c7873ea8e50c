"""Passes for a Node.js app: by a `web:` line, or by what `npm start` would start."""

from __future__ import annotations

from buildpacks.packs.algo_node.package import find_start
from buildpacks.packs.cnb import Context
from buildpacks.packs.toolchains.starts import detect_language


def detect(context: Context) -> int:
    """Write the plan. Raises PackFailed: package-json-syntax, two-languages, what read_procfile raises."""
    return detect_language(context, "node", find_start)
