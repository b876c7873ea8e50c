"""Names and links of a pushed tree: which of them may become files here. Pure.

Rules of this file
1. Refused, never repaired: a cleaned name is another file than the one that was pushed.
2. A link is followed on paper, through every other link of the tree, before any of them exists on a disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gitserver.errors import Problem

MAX_LINK_STEPS = 40  # as the kernel: more is a loop
_CONTROL = re.compile(rb"[\x00-\x1f\x7f/]")
# Code points that HFS+ ignores in names, fsck.c and utf8.c of git (CVE-2014-9390)
_IGNORED_BY_HFS = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])


def check_name(name: bytes, folder: str) -> str:
    """A tree entry's name as text. Raises Problem('bad-path', path=, reason=)."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise _bad(name, folder, "its name is not UTF-8") from None
    if not name or text in {".", ".."} or _CONTROL.search(name):
        raise _bad(name, folder, "no file has such a name")
    if is_git_like(text):
        raise _bad(name, folder, "names that some systems read as .git are not served")
    return text


def is_git_like(name: str) -> bool:
    """Whether some file system would open `.git` for this name: case, ignored code points, NTFS's short names."""
    plain = name.translate(_IGNORED_BY_HFS).casefold()
    plain = plain.split(":", 1)[0].rstrip(" .").split("\\", 1)[0].rstrip(" .")
    return plain in {".git", "git~1"}


def check_links(links: Mapping[str, str]) -> None:
    """Every link ends inside the tree, whatever other links it goes through; a dangling one does no harm.

    links   path of a link -> its text, both relative to the tree's root and to the link's folder
    Raises  Problem('symlink-outside', path=, target=)
    """
    for path, target in links.items():
        if not _stays_inside(path, target, links):
            raise Problem("symlink-outside", path=path, target=target[:200])


def _stays_inside(path: str, target: str, links: Mapping[str, str]) -> bool:
    at = path.split("/")[:-1]
    pending = _parts(target)
    steps = 0
    if target.startswith("/") or not target or "\0" in target:
        return False
    while pending:
        part = pending.pop()
        if part == "..":
            if not at:
                return False
            at.pop()
            continue
        at.append(part)
        further = links.get("/".join(at))
        if further is None:
            continue
        steps += 1
        if steps > MAX_LINK_STEPS or further.startswith("/"):
            return False
        at.pop()
        pending += _parts(further)
    return True


def _parts(target: str) -> list[str]:
    return [part for part in reversed(target.split("/")) if part not in {"", "."}]


def _bad(name: bytes, folder: str, reason: str) -> Problem:
    return Problem("bad-path", path=(folder + name.decode(errors="replace"))[:300], reason=reason)
