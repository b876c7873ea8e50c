"""Passes for an Aptfile, whose packages everybody after it may use."""

from __future__ import annotations

from buildpacks.packs.cnb import NOT_MINE, PASS, Context
from buildpacks.packs.toolchains.starts import SYSTEM_PACKAGES, needs_system_packages


def detect(context: Context) -> int:
    """Write the plan. What is wrong with the file is said at build, where the user sees it in the log's place."""
    if not needs_system_packages(context.app):
        return NOT_MINE
    with open(context.plan, "w", encoding="utf-8") as file:
        file.write(f'[[provides]]\nname = "{SYSTEM_PACKAGES}"\n[[requires]]\nname = "{SYSTEM_PACKAGES}"\n')
    return PASS
