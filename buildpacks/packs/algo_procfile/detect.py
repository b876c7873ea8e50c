"""Passes when there is a Procfile; one without `web:` asks somebody else for it."""

from __future__ import annotations

import os

from buildpacks.packs.cnb import NOT_MINE, PASS, Context


def detect(context: Context) -> int:
    """Write the plan. Raises PackFailed('procfile-syntax')."""
    if not os.path.isfile(f"{context.app}/Procfile"):  # noqa: PTH113 -- no pathlib in buildpacks
        return NOT_MINE
    from buildpacks.packs.procfile import read_procfile  # late: most repositories have none

    processes = read_procfile(context.app)
    if not processes:
        return NOT_MINE
    if "web" not in processes:
        with open(context.plan, "w", encoding="utf-8") as file:
            file.write('[[requires]]\nname = "web"\n')
    return PASS
