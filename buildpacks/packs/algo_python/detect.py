"""Provides Python to whoever asks; asks for it itself when the repository has Python in it."""

from __future__ import annotations

import os

from buildpacks.packs.cnb import PASS, Context

FILES = ("requirements.txt", "pyproject.toml", "uv.lock", "Pipfile", "Pipfile.lock", "poetry.lock", "environment.yml")


def detect(context: Context) -> int:
    """Write the plan. What is wrong with those files is said at build, where the user sees it in the log's place."""
    names = set(os.listdir(context.app))
    has_python = not names.isdisjoint(FILES) or any(name.endswith(".py") for name in names)
    with open(context.plan, "w", encoding="utf-8") as file:
        file.write('[[provides]]\nname = "python"\n')
        if has_python:
            file.write('[[requires]]\nname = "python"\n')
    return PASS
