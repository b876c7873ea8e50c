"""Provides Python to whoever asks; asks for it itself when the repository has Python in it."""

from __future__ import annotations

import os

from buildpacks.packs.cnb import PASS, Context

FILES = frozenset({
    "requirements.txt", "pyproject.toml", "uv.lock", "pylock.toml", "Pipfile", "Pipfile.lock", "poetry.lock",
    "environment.yml", "environment.yaml", "setup.py", "setup.cfg",
})  # fmt: skip


def detect(context: Context) -> int:
    """Write the plan. What is wrong with those files is said at build, where the user sees it in the log's place.

    Why  only the names at the top are looked at: that costs the same for three files and for ten thousand
    """
    names = os.listdir(context.app)
    has_python = not FILES.isdisjoint(names) or any(name.endswith(".py") for name in names)
    with open(context.plan, "w", encoding="utf-8") as file:
        file.write('[[provides]]\nname = "python"\n')
        if has_python:
            file.write('[[requires]]\nname = "python"\n')
        if "Aptfile" in names:
            file.write('[[requires]]\nname = "system-packages"\n')  # only groups with algo/apt have any
    return PASS
