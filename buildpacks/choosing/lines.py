"""`.buildpacks`, the file of buildpacks that classic platforms read, and the setting with the same meaning.  Pure.

Source  contracts buildpacks.md 2; one `URL[#ref]` a line, `org/name`, or an id of this server's own
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from buildpacks.choosing.sources import parse_source
from buildpacks.choosing.values import SETTING, Source
from buildpacks.order import BuildFailed

FILE = ".buildpacks"
MAX_BYTES = 64 * 1024
MAX_ENTRIES = 100


def read_lines(root: Path, own_ids: Collection[str]) -> tuple[Source, ...]:
    """The sources of a tree's `.buildpacks`; empty without one. Raises BuildFailed as parse_lines."""
    try:
        descriptor = os.open(root / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ()
    with os.fdopen(descriptor, "rb") as file:
        try:
            return parse_lines(file.read(MAX_BYTES + 1), own_ids)
        except IsADirectoryError:
            return ()


def parse_lines(data: bytes, own_ids: Collection[str]) -> tuple[Source, ...]:
    """One source a line; empty lines and those that begin with # are left out.

    Raises  BuildFailed('buildpack-source-bad') with file and line, and what a source raises
    """
    if len(data) > MAX_BYTES:
        raise BuildFailed("buildpack-source-bad", found=f"{FILE} of more than {MAX_BYTES} bytes", asked_by=FILE)
    found = []
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        # Only behind a space: the mark inside a URL begins the ref.
        text = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if text:
            found.append(parse_source(text, f"{FILE} line {number}", own_ids))
    _check_count(len(found), FILE)
    return tuple(found)


def parse_setting(text: str, own_ids: Collection[str]) -> tuple[Source, ...]:
    """The value of BP_BUILDPACKS: sources joined by commas or line ends. Raises BuildFailed as parse_lines."""
    words = [word.strip() for word in re.split(r"[,\n]", text)]
    found = tuple(parse_source(word, SETTING, own_ids) for word in words if word)
    _check_count(len(found), SETTING)
    return found


def _check_count(count: int, asked_by: str) -> None:
    if count > MAX_ENTRIES:
        raise BuildFailed("buildpack-source-bad", found=f"{count} buildpacks", asked_by=asked_by)
