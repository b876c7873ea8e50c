"""Packages that are folders of the repository itself, `./libs/mine`: their files decide, not a version.

Why  a lock names such a folder and nothing of what is in it: without its digest, a push that changes the library would
     be served with the one of before
"""

# ruff: noqa: PTH113, PTH114, PTH115 -- no pathlib in buildpacks

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping

_FOLDER = re.compile(r"(?:[A-Za-z0-9][\w.-]*\s*@\s*)?(\.{1,2}/[^\s;\[]+)")
_SKIPPED = frozenset({".git", "__pycache__"})


def find_folders(app: str, lines: Iterable[str]) -> dict[str, bytes]:
    """`libs/mine/` -> sha256 of its files, for each line that asks for a folder or an archive of the repository."""
    found: dict[str, bytes] = {}
    for line in lines:
        match = _FOLDER.match(line.strip())
        if match is None:
            continue
        path = os.path.normpath(match[1])
        if path != "." and not path.startswith("..") and os.path.exists(f"{app}/{path}"):
            found[f"{path}/"] = _digest(f"{app}/{path}")
    return found


def render_notes(files: Mapping[str, bytes]) -> str:
    """Lines of a lock that differ when such a folder does: for a resolver they are comments."""
    return "".join(f"# {path} sha256:{data.hex()}\n" for path, data in sorted(files.items()) if path.endswith("/"))


def _digest(top: str) -> bytes:
    digest = hashlib.sha256()
    for path in [top] if os.path.isfile(top) else _walk(top):
        digest.update(f"{path[len(top) :]}\0".encode("utf-8", "surrogateescape"))
        if os.path.islink(path):
            digest.update(os.fsencode(os.readlink(path)))
        else:
            with open(path, "rb") as file:
                digest.update(hashlib.sha256(file.read()).digest())
    return digest.digest()


def _walk(top: str) -> Iterable[str]:
    for here, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        links = [name for name in folders if os.path.islink(f"{here}/{name}")]
        yield from (f"{here}/{name}" for name in sorted([*links, *names]))
