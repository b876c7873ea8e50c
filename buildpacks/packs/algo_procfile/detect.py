"""Passes when there is a Procfile; one without `web:` asks somebody else for it."""

from __future__ import annotations

from buildpacks.packs.cnb import NOT_MINE, PASS, Context
from buildpacks.packs.procfile import read_procfile


def detect(context: Context) -> int:
    """Write the plan. Raises PackFailed('procfile-syntax')."""
    processes = read_procfile(context.app)
    if not processes:
        return NOT_MINE
    if "web" not in processes:
        with open(context.plan, "w", encoding="utf-8") as file:
            file.write('[[requires]]\nname = "web"\n')
    return PASS
