"""Passes for a Go module whose program serves: by a `web:` line, or because it has one main package."""

from __future__ import annotations

from buildpacks.packs.algo_go.module import find_mains
from buildpacks.packs.cnb import Context, PackFailed
from buildpacks.packs.toolchains.starts import Start, detect_language


def detect(context: Context) -> int:
    """Write the plan. Raises PackFailed: go-main-unsure, two-languages, what read_procfile raises."""
    return detect_language(context, "go", find_start)


def find_start(app: str) -> Start | None:
    """The program of the only main package, or of the one at the top; None for a library.

    Raises  PackFailed('go-main-unsure') for several in cmd/
    """
    mains = find_mains(app)
    if not mains:
        return None
    if len(mains) > 1 and mains[0].folder != ".":
        raise PackFailed(
            "go-main-unsure", found=[main.folder for main in mains], lines=[f"web: {main.name}" for main in mains]
        )
    where = "the top of the module" if mains[0].folder == "." else mains[0].folder
    return Start([mains[0].name], f"go.mod, and package main in {where}")
