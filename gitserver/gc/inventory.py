"""What lies in the state folder and could be taken away. Looks, and changes nothing.

Only places that the server itself fills are looked at; a file of another name in them is not ours and is left alone.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gitserver.gc.collection import Found, Kind

_HEX = re.compile(r"[0-9a-f]{64}")
_OID = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_inventory(state: Path) -> Iterator[Found]:
    """Image folders, layers, views, notes, drafts, compressed layers."""
    yield from _named(state / "images" / "sha256", Kind.IMAGE)
    yield from _named(state / "layers" / "sha256", Kind.LAYER)
    yield from _named(state / "views", Kind.VIEW)
    for name in ("by-blob", "by-key"):
        yield from _notes(state / "layers" / name)
    for path in _entries(state / "layers" / "drafts"):
        yield Found(kind=Kind.DRAFT, name=path.name, serves="", path=path, changed_at=changed_at(path))
    for path in _entries(state / "blobs"):
        if path.name.startswith(".") and path.is_file():
            yield Found(kind=Kind.DRAFT, name=path.name, serves="", path=path, changed_at=changed_at(path))
    yield from _compressed(state / "blobs")


def model_files(blobs_dir: Path, links: Counter[tuple[int, int]]) -> Iterator[Found]:
    """Large files of pushes that no layer shares any more; git has them still.

    links  how many names of an inode go in this collection
    """
    for folder in _entries(blobs_dir):
        if len(folder.name) != 2 or not folder.is_dir():
            continue
        for path in _entries(folder):
            status = path.lstat()
            names_left = status.st_nlink - links[status.st_dev, status.st_ino]
            if _OID.fullmatch(path.name) and stat.S_ISREG(status.st_mode) and names_left == 1:
                yield Found(kind=Kind.MODEL_FILE, name=path.name[:12], serves="", path=path, changed_at=status.st_mtime)


@dataclass(slots=True)
class Weight:
    """Bytes on the disk that go when these paths go: an inode counts once, and only when its last name goes.

    alone_bytes  of folders and of files with one name; only files with several are remembered one by one, for a
                 dependency layer has tens of thousands with one
    """

    alone_bytes: int
    links: Counter[tuple[int, int]]
    inodes: dict[tuple[int, int], tuple[int, int]]  # (device, inode) -> (names, bytes)

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Weight:
        """Look at everything at and below the paths."""
        weight = cls(alone_bytes=0, links=Counter(), inodes={})
        for path in paths:
            weight.add(path)
        return weight

    def add(self, path: Path) -> None:
        """One more path. What vanishes meanwhile weighs nothing."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return
        self._count(status)
        if stat.S_ISDIR(status.st_mode):
            for here, folders, files in os.walk(path):
                for name in (*folders, *files):
                    try:
                        self._count(os.lstat(os.path.join(here, name)))
                    except FileNotFoundError:
                        continue

    @property
    def freed_bytes(self) -> int:
        """Of inodes that lose their last name."""
        shared = (size for inode, (names, size) in self.inodes.items() if self.links[inode] >= names)
        return self.alone_bytes + sum(shared)

    def _count(self, status: os.stat_result) -> None:
        size = status.st_blocks * 512
        if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
            self.alone_bytes += size
            return
        inode = (status.st_dev, status.st_ino)
        self.links[inode] += 1
        self.inodes[inode] = (status.st_nlink, size)


def _named(folder: Path, kind: Kind) -> Iterator[Found]:
    for path in _entries(folder):
        if _HEX.fullmatch(path.name):
            yield Found(
                kind=kind, name=path.name[:12], serves=f"sha256:{path.name}", path=path, changed_at=changed_at(path)
            )


def _notes(folder: Path) -> Iterator[Found]:
    """A note says which layer it is of; it is as old as it is, for the layer has an age of its own."""
    for path in _entries(folder):
        layer = _first_digest(path)
        if layer is not None or path.name.startswith("."):
            yield Found(kind=Kind.NOTE, name=path.name[:12], serves=layer or "", path=path, changed_at=changed_at(path))


def _compressed(blobs_dir: Path) -> Iterator[Found]:
    """Compressed layers, each by the note that says which layer it is of; one without a note serves nothing."""
    layer_of: dict[str, str] = {}
    for path in _entries(blobs_dir / "notes"):
        blob = _first_digest(path)
        if blob is not None and _HEX.fullmatch(path.name):
            layer_of[blob.removeprefix("sha256:")] = f"sha256:{path.name}"
            yield Found(
                kind=Kind.NOTE, name=path.name[:12], serves=f"sha256:{path.name}", path=path,
                changed_at=changed_at(path),
            )  # fmt: skip
    for path in _entries(blobs_dir / "sha256"):
        if _HEX.fullmatch(path.name):
            yield Found(
                kind=Kind.BLOB, name=path.name[:12], serves=layer_of.get(path.name, ""), path=path,
                changed_at=changed_at(path),
            )  # fmt: skip


def _first_digest(path: Path) -> str | None:
    try:
        match = _DIGEST.search(path.read_text(encoding="ascii", errors="replace"))
    except (FileNotFoundError, IsADirectoryError):
        return None
    return match[0] if match is not None else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def changed_at(path: Path) -> float:
    """Seconds since 1970; of what is not there any more, a time that is never old."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return float("inf")
