"""Procfile lines, read into process types.  Pure.

Source  https://devcenter.heroku.com/articles/procfile
"""

from __future__ import annotations

import re

from buildpacks.packs.cnb import PackFailed

_LINE = re.compile(r"([A-Za-z0-9_-]+)[ \t]*:[ \t]*(\S.*)")
# What a shell would do something with. Without any of it the words of a line are an argument list as they stand.
_SHELL = frozenset("$`|&;<>(){}*?[]~#!\\")
MAX_BYTES = 64 * 1024


def parse_procfile(data: bytes) -> dict[str, str]:
    """Type -> command line, in the order of the file; comments and empty lines are left out.

    Raises  PackFailed('procfile-syntax') with the number and the text of the first line that is none
    """
    found = {}
    for number, line in enumerate(data[:MAX_BYTES].decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise PackFailed("procfile-syntax", line=number, text=text[:200])
        found[match[1]] = match[2]
    return found


def read_procfile(app: str) -> dict[str, str] | None:
    """The Procfile of a repository, None when it has none."""
    try:
        with open(f"{app}/Procfile", "rb") as file:
            return parse_procfile(file.read(MAX_BYTES))
    except (FileNotFoundError, IsADirectoryError):
        return None


def make_command(line: str) -> list[str]:
    """An argument list: the words themselves where no shell is needed, else bash with the line as it is.

    Why  bash only then: without it the process gets SIGTERM itself, and an image needs no bash
    """
    import shlex  # late: only builds with a Procfile need it

    try:
        words = shlex.split(line)
    except ValueError:
        return ["bash", "-c", line]
    if not words or _SHELL.intersection(line) or "=" in words[0]:
        return ["bash", "-c", line]
    return words
