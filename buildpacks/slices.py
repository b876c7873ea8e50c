"""Slices: which files of an application a buildpack wants in a layer of their own.

Source  buildpacks/spec buildpack.md 0.12, "launch.toml": Go's filepath.Match on the path below the application,
        no `**`; a folder takes everything in it
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from buildpacks.image.tar import walk
from buildpacks.order import BuildFailed


def match_slice(app_dir: Path, globs: Sequence[str]) -> list[str]:
    """Files and links below app_dir that a slice takes, sorted. Folders themselves stay where they are.

    Raises  BuildFailed('slice-bad') for a glob that Go would call a bad pattern
    """
    patterns = [_compile(glob) for glob in globs]
    found = []
    for _, name, status in walk(os.fsencode(app_dir)):
        if stat.S_ISDIR(status.st_mode):
            continue
        path = os.fsdecode(name)
        parts = path.split("/")
        if any(pattern.fullmatch("/".join(parts[:n])) for pattern in patterns for n in range(1, len(parts) + 1)):
            found.append(path)
    return sorted(found)


def _compile(glob: str) -> re.Pattern[str]:
    try:
        return re.compile(_regex(glob.removeprefix("./")))
    except (re.error, IndexError) as error:
        raise BuildFailed("slice-bad", glob=glob[:200]) from error


def _regex(glob: str) -> str:
    out, position = [], 0
    while position < len(glob):
        char = glob[position]
        position += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            end = glob.find("]", position + 1)
            if end < 0:
                raise IndexError(position)
            out.append(f"(?!/)[{glob[position:end]}]".replace("[!", "[\\!"))
            position = end + 1
        elif char == "\\" and position < len(glob):
            out.append(re.escape(glob[position]))
            position += 1
        else:
            out.append(re.escape(char))
    return "".join(out)
