"""A folder as a tar stream, the same bytes wherever and whenever it is made.

Rules of this file
1. Entries are sorted by name within their folder; times, owners and modes are fixed; every file is a regular file:
   a second link to the same inode is written as a file again, for whether two files share one is an accident of caches.
2. Nothing is followed and nothing special is packed: device, pipe, socket, setuid are refused with their path.

Source  POSIX.1-2001 pax, ustar; contracts 4.2
"""

# Paths below a layer are bytes: a file name need not be text, and pathlib knows only text.
# ruff: noqa: PTH115

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from buildpacks.order import BuildFailed

MTIME_S = 315532801  # 1980-01-01T00:00:01Z, platform.md "Build Reproducibility"
OWNER = 1000  # uid and gid of contents; folders above them belong to root
BLOCK = 512
RECORD = 20 * BLOCK
_CHUNK = 1 << 20
_MAX_USTAR_SIZE = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """sha256 of an uncompressed layer, and how many bytes of files it holds."""

    diff_id: str
    size_bytes: int


def diff_id(root: Path, image_path: str) -> Digest:
    """The diff id of a folder as a layer, without writing the layer.

    image_path  where its contents lie in the image, without a slash at either end: `layers/algo_python/deps`
    Raises      BuildFailed('layer-refused') for a file that no image may hold
    """
    digest = hashlib.sha256()
    size_bytes = write_layer(root, image_path, digest.update)
    return Digest(diff_id=f"sha256:{digest.hexdigest()}", size_bytes=size_bytes)


def write_layer(root: Path, image_path: str, write: Callable[[bytes], object]) -> int:
    """Stream a folder as a layer to `write`; returns the bytes of its files."""
    written = size_bytes = 0

    def put(data: bytes) -> None:
        nonlocal written
        written += len(data)
        write(data)

    parts = image_path.split("/")
    for depth in range(1, len(parts)):
        put(_header("/".join(parts[:depth]).encode() + b"/", size=0, mode=0o755, kind=b"5", owner=0))
    put(_header(image_path.encode() + b"/", size=0, mode=0o755, kind=b"5", owner=OWNER))
    for path, name, status in walk(os.fsencode(root)):
        full = image_path.encode() + b"/" + name
        if stat.S_ISDIR(status.st_mode):
            put(_header(full + b"/", size=0, mode=0o755, kind=b"5", owner=OWNER))
        elif stat.S_ISLNK(status.st_mode):
            put(_header(full, size=0, mode=0o777, kind=b"2", owner=OWNER, link=os.readlink(path)))
        else:
            put(_header(full, size=status.st_size, mode=file_mode(status.st_mode), kind=b"0", owner=OWNER))
            _copy(path, status.st_size, put)
            size_bytes += status.st_size
    put(b"\0" * (2 * BLOCK))
    put(b"\0" * (-written % RECORD))
    return size_bytes


def file_mode(mode: int) -> int:
    """0755 for what its owner may execute, else 0644."""
    return 0o755 if mode & stat.S_IXUSR else 0o644


def walk(root: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """(host path, path below root, lstat) of everything below root, folders before their contents, sorted."""
    with os.scandir(root) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name = prefix + entry.name
        status = entry.stat(follow_symlinks=False)
        refuse_special(name, status.st_mode)
        yield entry.path, name, status
        if stat.S_ISDIR(status.st_mode):
            yield from walk(entry.path, name + b"/")


def refuse_special(name: bytes, mode: int) -> None:
    """Raises BuildFailed('layer-refused') unless it is a plain file, folder or link."""
    if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
        kind = "a setuid file"
    elif stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
        return
    elif stat.S_ISSOCK(mode):
        kind = "a socket"
    elif stat.S_ISFIFO(mode):
        kind = "a pipe"
    else:
        kind = "a device"
    raise BuildFailed("layer-refused", path=name.decode("utf-8", "replace"), kind=kind)


def _copy(path: bytes, size: int, put: Callable[[bytes], None]) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        left = size
        while left:
            data = file.read(min(_CHUNK, left))
            if not data:
                raise BuildFailed("layer-refused", path=path.decode("utf-8", "replace"), kind="a file that shrinks")
            left -= len(data)
            put(data)
    put(b"\0" * (-size % BLOCK))


def _header(name: bytes, *, size: int, mode: int, kind: bytes, owner: int, link: bytes = b"") -> bytes:
    records = b""
    for key, value, limit in ((b"path", name, 100), (b"linkpath", link, 100)):
        if len(value) > limit or not value.isascii():
            records += _pax(key, value)
    if size >= _MAX_USTAR_SIZE:
        records += _pax(b"size", str(size).encode())
    block = _block(name[:100], size % _MAX_USTAR_SIZE, mode, kind, owner, link[:100])
    if not records:
        return block
    if not _is_utf8(name) or not _is_utf8(link):
        records = _pax(b"hdrcharset", b"BINARY") + records
    extended = _block(b"././@PaxHeader", len(records), 0o644, b"x", 0, b"")
    return extended + records + b"\0" * (-len(records) % BLOCK) + block


def _block(name: bytes, size: int, mode: int, kind: bytes, owner: int, link: bytes) -> bytes:
    head = b"%-100b%07o\0%07o\0%07o\0%011o\0%011o\0" % (b"", mode, owner, owner, size, MTIME_S)
    fields = name.ljust(100, b"\0") + head[100:]
    tail = kind + link.ljust(100, b"\0") + b"ustar\x0000" + b"\0" * 64 + b"0000000\x000000000\0"
    checksum = sum(fields) + 8 * 32 + sum(tail)
    return (fields + b"%06o\0 " % checksum + tail).ljust(BLOCK, b"\0")


def _pax(key: bytes, value: bytes) -> bytes:
    # "LENGTH key=value\n", where LENGTH counts its own digits.
    body = len(key) + len(value) + 3
    length = body + len(str(body))
    length = body + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
