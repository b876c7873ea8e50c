"""Procfile lines, read into process types; heroku.yml's `run:` in its place.  Reads two files.

Sources  https://devcenter.heroku.com/articles/procfile ;
         https://devcenter.heroku.com/articles/build-docker-images-heroku-yml
"""

from __future__ import annotations

import re

from buildpacks.packs.cnb import PackFailed

_LINE = re.compile(r"([A-Za-z0-9_-]+)[ \t]*:[ \t]*(\S.*)")
# What a shell would do something with. Without any of it the words of a line are an argument list as they stand.
_SHELL = frozenset("$`|&;<>(){}*?[]~#!\\")
# Files that were meant to be the Procfile, in lower case; Procfile.windows belongs to another tool.
_NEAR = frozenset({"procfile", "procfile.txt", "procfile.md", "procfile.py", "profile"})
MAX_BYTES = 64 * 1024


def parse_procfile(data: bytes) -> dict[str, str]:
    """Type -> command line, in the order of the file; comments and empty lines are left out.

    Line ends and byte order marks of any editor are read, UTF-16 too: PowerShell's `echo ... > Procfile` writes it.
    Raises  PackFailed('procfile-syntax') with the number and the text of the first line that is none,
            PackFailed('procfile-twice') for a type that stands there twice
    """
    found: dict[str, str] = {}
    for number, line in enumerate(decode(data[:MAX_BYTES]).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise PackFailed("procfile-syntax", line=number, text=text[:200])
        if found.get(match[1], match[2]) != match[2]:
            raise PackFailed("procfile-twice", line=number, type=match[1])
        found[match[1]] = match[2]
    return found


def decode(data: bytes) -> str:
    """Text of a small file that any editor may have written."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def read_procfile(app: str) -> dict[str, str] | None:
    """The process types of a repository, from its Procfile, else from heroku.yml; None when it has neither.

    Raises  PackFailed: procfile-syntax, procfile-twice, heroku-yml-docker, heroku-yml-unread
    """
    data = _read(f"{app}/Procfile")
    if data is not None:
        return parse_procfile(data)
    data = _read(f"{app}/heroku.yml")
    return None if data is None else parse_heroku_yml(data)


def near_procfile(app: str) -> str | None:
    """A file that was meant to be the Procfile: `procfile`, `Procfile.txt`, with a `web:` line in it."""
    import os  # late: most repositories never get here

    names = set(os.listdir(app))
    for name in sorted(names if "Procfile" not in names else ()):
        if name.lower() in _NEAR and re.search(r"^web[ \t]*:", decode(_read(f"{app}/{name}") or b""), re.MULTILINE):
            return name
    return None


def parse_heroku_yml(data: bytes) -> dict[str, str] | None:
    """Processes of heroku.yml's `run:`; None when it has none.

    Raises  PackFailed('heroku-yml-docker') for one that builds a Dockerfile,
            PackFailed('heroku-yml-unread') for a process that is more than one line
    """
    section, kind, found = "", "", {}
    for number, line in enumerate(decode(data[:MAX_BYTES]).splitlines(), 1):
        text = line.split(" #")[0].rstrip()
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        key, _, value = (part.strip() for part in text.partition(":"))
        depth = len(text) - len(text.lstrip())
        if depth == 0:
            section, kind = key, ""
        elif section == "build":
            if kind == "docker" and value:
                raise PackFailed("heroku-yml-docker", line=number, file=value.strip("'\""))
            kind = key if not value else kind
        elif section == "run":
            if not value or value[0] in "|>{[&*" or not re.fullmatch(r"[A-Za-z0-9_-]+", key):
                raise PackFailed("heroku-yml-unread", line=number, text=text.strip()[:200])
            found[key] = value[1:-1] if value[0] in "'\"" and value[-1] == value[0] else value
    return found or None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
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
