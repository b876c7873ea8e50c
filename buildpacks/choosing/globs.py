"""Patterns in the syntax of .gitignore, and the files of a tree that they mean.

Source  gitignore(5), "PATTERN FORMAT"; project descriptor 0.2 and .slugignore use the same
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One line: what it matches, whether only folders, whether it takes back an earlier match."""

    regex: re.Pattern[str]
    only_folders: bool
    negated: bool


def parse_patterns(lines: Sequence[str]) -> tuple[Pattern, ...]:
    """Lines of a file; empty ones and comments are left out."""
    return tuple(pattern for line in lines if (pattern := _parse(line)) is not None)


def matches(patterns: Sequence[Pattern], path: str, *, is_folder: bool) -> bool:
    """Whether the last pattern that fits a path, relative and with slashes, is not a negated one."""
    for pattern in reversed(patterns):
        if (is_folder or not pattern.only_folders) and pattern.regex.fullmatch(path) is not None:
            return not pattern.negated
    return False


def remove_matching(root: Path, patterns: Sequence[Pattern]) -> int:
    """Remove what patterns match; a matched folder goes as a whole. Returns how many entries went."""
    gone = 0
    for here, folders, files in os.walk(root):
        for name in list(folders):
            path = Path(here) / name
            if path.is_symlink():
                files.append(name)
                folders.remove(name)
            elif matches(patterns, _relative(path, root), is_folder=True):
                shutil.rmtree(path)
                folders.remove(name)
                gone += 1
        for name in files:
            path = Path(here) / name
            if matches(patterns, _relative(path, root), is_folder=False):
                path.unlink()
                gone += 1
    return gone


def keep_matching(root: Path, patterns: Sequence[Pattern]) -> int:
    """Remove what no pattern matches; a matched folder stays as a whole. Returns how many files went."""
    gone = 0
    for here, folders, files in os.walk(root):
        for name in list(folders):
            path = Path(here) / name
            if path.is_symlink():
                files.append(name)
                folders.remove(name)
            elif matches(patterns, _relative(path, root), is_folder=True):
                folders.remove(name)
        for name in files:
            path = Path(here) / name
            if not matches(patterns, _relative(path, root), is_folder=False):
                path.unlink()
                gone += 1
    return gone


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _parse(line: str) -> Pattern | None:
    text = line.rstrip("\r\n")
    text = re.sub(r"(?<!\\) +$", "", text)
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    text = text.removeprefix("!")
    only_folders = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    anchored = "/" in text
    return Pattern(
        regex=re.compile(_translate(text.removeprefix("/") if anchored else f"**/{text}"), re.DOTALL),
        only_folders=only_folders, negated=negated,
    )  # fmt: skip


def _translate(text: str) -> str:
    """A path pattern as a regex whose time grows with the lengths of pattern and path, and never faster.

    What stands between two wildcards is taken where it first fits, and that is final: with only wildcards around it, a
    later place would leave less. `**` is that wildcard for whole folders, `*` for what is inside one name.
    """
    *runs, last = re.split(r"(?:^|(?<=/))(?:\*\*(?:/|$))+", text)
    if not runs:
        return _run(last)
    middle = "".join(f"(?>(?:[^/]*/)*?{_run(run)})" for run in runs[1:])  # each run but the last ends with a slash
    return _run(runs[0]) + middle + (f"(?:[^/]*/)*?{_run(last)}" if last else ".*")


def _run(text: str) -> str:
    return "/".join(_name(part) for part in text.split("/"))


def _name(text: str) -> str:
    """One file name's pattern."""
    first, *chunks = _chunks(text)
    middle = "".join(f"(?>[^/]*?{chunk})" for chunk in chunks[:-1])
    return first + middle + (f"[^/]*{chunks[-1]}" if chunks else "")


def _chunks(text: str) -> list[str]:
    """What stands between the stars of a name, each a regex of one fixed length."""
    found, at = [""], 0
    while at < len(text):
        rest = text[at:]
        if rest.startswith("*"):
            found.append("")
            at += len(rest) - len(rest.lstrip("*"))
        elif rest.startswith("?"):
            found[-1] += "[^/]"
            at += 1
        elif rest.startswith("\\") and len(rest) > 1:
            found[-1] += re.escape(rest[1])
            at += 2
        elif (group := re.match(r"\[([!^]?)(\]?[^\]/]*)\]", rest)) is not None:
            found[-1] += _class(group[1], group[2])
            at += group.end()
        else:
            found[-1] += re.escape(rest[0])
            at += 1
    return found


def _class(negation: str, members: str) -> str:
    """A bracket expression; one that cannot be (`z-a`) matches nothing, as in fnmatch(3)."""
    inside = members.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace("^", "\\^")
    text = f"(?!/)[{'^' if negation else ''}{inside}]"
    try:
        re.compile(text)
    except re.error:
        return r"(?!)"
    return text
