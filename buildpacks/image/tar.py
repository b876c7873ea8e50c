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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from buildpacks.order import BuildFailed

MTIME_S = 315532801  # 1980-01-01T00:00:01Z, platform.md "Build Reproducibility"
OWNER = 1000  # uid and gid of contents; folders above them belong to root
BLOCK = 512
RECORD = 20 * BLOCK
_CHUNK = 512 << 10  # read and hashed while it is in the processor's cache
_SMALL = 128 << 10
_MAX_USTAR_SIZE = 8 << 30

Settle = Callable[[bytes, os.stat_result], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A sealed layer: what its tar is, without the tar.

    diff_id     sha256 of the uncompressed tar
    size_bytes  bytes of the files in it
    tar_bytes   exact length of the tar
    """

    diff_id: str
    size_bytes: int
    tar_bytes: int


class Entry(NamedTuple):
    """One member of a tar: kind b"0" file, b"2" link, b"5" folder; owner is uid and gid."""

    name: bytes
    kind: bytes = b"0"
    mode: int = 0o644
    owner: int = OWNER
    size: int = 0
    link: bytes = b""


def diff_id(root: Path, image_path: str, settle: Settle | None = None) -> Digest:
    """The diff id of a folder as a layer, without writing the layer.

    image_path  where its contents lie in the image, without a slash at either end: `layers/algo_python/deps`
    settle      called with path and lstat of everything below root, each before it is read or looked into; it may
                change owners, modes (but not who may execute) and inodes, so that sealing walks once
    Raises      BuildFailed('layer-refused') for a file that no image may hold
    """
    digest = hashlib.sha256()
    size_bytes = tar_bytes = 0
    for data, of_file in _stream(root, image_path, settle):
        digest.update(data)
        tar_bytes += len(data)
        size_bytes += of_file
    return Digest(diff_id=f"sha256:{digest.hexdigest()}", size_bytes=size_bytes, tar_bytes=tar_bytes)


def write_layer(root: Path, image_path: str, write: Callable[[bytes], object]) -> int:
    """Stream a folder as a layer to `write`; returns the bytes of its files."""
    size_bytes = 0
    for data, of_file in _stream(root, image_path):
        write(data)
        size_bytes += of_file
    return size_bytes


def read_layer(root: Path, image_path: str) -> Iterator[bytes]:
    """The same stream, pulled: chunks of at most 512 KiB, read from disk only when asked for.

    Raises  BuildFailed('layer-refused'), OSError when the folder changes underneath
    """
    return (data for data, _ in _stream(root, image_path))


def memory_layer(image_path: str, files: Mapping[str, bytes], programs: Mapping[str, bytes] | None = None) -> bytes:
    """A small layer, made in memory; everything in it belongs to root.

    image_path  folder of files, which are named by what follows it
    programs    path in the image -> what anyone may execute
    """
    made = {f"{image_path}/{name}": (data, 0o644) for name, data in files.items()}
    made |= {path: (data, 0o755) for path, data in (programs or {}).items()}
    folders = {path[:end] for path in (f"{image_path}/", *made) for end, char in enumerate(path) if char == "/"}
    written = b"".join(
        header(Entry(name=f"{name}/".encode(), kind=b"5", mode=0o755, owner=0)) for name in sorted(folders)
    )
    for path, (data, mode) in sorted(made.items()):
        written += header(Entry(name=path.encode(), mode=mode, owner=0, size=len(data))) + data
        written += padding(len(data))
    return written + ending(len(written))


def tar_length(root: Path, image_path: str) -> int:
    """How long the layer is, from lstat alone: no file is read (16 000 files: 0.2 s).

    Raises  BuildFailed('layer-refused') as writing it would
    """
    length = sum(
        header_length(entry) + entry.size + len(padding(entry.size)) for entry, _ in _members(root, image_path)
    )
    return length + len(ending(length))


def header(entry: Entry) -> bytes:
    """Its header block, after a pax extended header when its name, link or size needs one."""
    records = _pax_records(entry)
    block = _block(
        entry.name[:100], entry.size % _MAX_USTAR_SIZE, entry.mode, entry.kind, entry.owner, entry.link[:100]
    )
    if not records:
        return block
    extended = _block(b"././@PaxHeader", len(records), 0o644, b"x", 0, b"")
    return extended + records + padding(len(records)) + block


def header_length(entry: Entry) -> int:
    """len(header(entry)), many times cheaper."""
    records = _pax_records(entry)
    return 2 * BLOCK + len(records) + len(padding(len(records))) if records else BLOCK


def padding(size: int) -> bytes:
    """What follows the contents of a member of so many bytes."""
    return bytes(-size % BLOCK)


def ending(written: int) -> bytes:
    """What ends a tar of so many bytes: two empty blocks, then up to a whole record."""
    return bytes(2 * BLOCK + -(written + 2 * BLOCK) % RECORD)


def _members(root: Path, image_path: str, settle: Settle | None = None) -> Iterator[tuple[Entry, bytes]]:
    """(entry, path of its file on this disk) of a layer in order."""
    parts = image_path.split("/")
    for depth in range(1, len(parts)):
        yield Entry(name="/".join(parts[:depth]).encode() + b"/", kind=b"5", mode=0o755, owner=0), b""
    yield Entry(name=image_path.encode() + b"/", kind=b"5", mode=0o755), b""
    for path, name, status in walk(os.fsencode(root)):
        if settle is not None:
            settle(path, status)
        full = image_path.encode() + b"/" + name
        if stat.S_ISDIR(status.st_mode):
            yield Entry(name=full + b"/", kind=b"5", mode=0o755), b""
        elif stat.S_ISLNK(status.st_mode):
            yield Entry(name=full, kind=b"2", mode=0o777, link=os.readlink(path)), b""
        else:
            yield Entry(name=full, mode=file_mode(status.st_mode), size=status.st_size), path


def _stream(root: Path, image_path: str, settle: Settle | None = None) -> Iterator[tuple[bytes, int]]:
    """(chunk, bytes of files that end in it). Small pieces are joined: a socket or a hash wants thousands, not 512."""
    held: list[bytes] = []
    held_bytes = held_files = written = 0
    for entry, path in _members(root, image_path, settle):
        held.append(header(entry))
        fill = padding(entry.size)
        length = len(held[-1]) + entry.size + len(fill)
        written += length
        if entry.size <= _SMALL:
            held += _contents(path, entry.size)
            held_files += entry.size
            held_bytes += length
        else:
            yield b"".join(held), held_files
            held.clear()
            for data in _contents(path, entry.size):
                yield data, 0
            held_files, held_bytes = entry.size, len(fill)
        held.append(fill)
        if held_bytes > _CHUNK - 2 * _SMALL:
            yield b"".join(held), held_files
            held.clear()
            held_bytes = held_files = 0
    held.append(ending(written))
    yield b"".join(held), held_files


def file_mode(mode: int) -> int:
    """0755 for what its owner may execute, else 0644."""
    return 0o755 if mode & stat.S_IXUSR else 0o644


def walk(root: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes, os.stat_result]]:
    """(host path, path below root, lstat) of everything below root, folders before their contents, sorted."""
    open_folders = [(prefix, _sorted_entries(root))]  # not recursion: each file would pass through all its folders
    while open_folders:
        prefix, entries = open_folders[-1]
        for entry in entries:
            name = prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            refuse_special(name, status.st_mode)
            yield entry.path, name, status
            if stat.S_ISDIR(status.st_mode):
                open_folders.append((name + b"/", _sorted_entries(entry.path)))
                break
        else:
            open_folders.pop()


def _sorted_entries(folder: bytes) -> Iterator[os.DirEntry[bytes]]:
    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=lambda entry: entry.name))


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


def _contents(path: bytes, size: int) -> Iterator[bytes]:
    if not size:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        left = size
        while left:
            data = os.read(descriptor, min(_CHUNK, left))
            if not data:
                raise BuildFailed("layer-refused", path=path.decode("utf-8", "replace"), kind="a file that shrinks")
            left -= len(data)
            yield data
    finally:
        os.close(descriptor)


def _pax_records(entry: Entry) -> bytes:
    records = b""
    for key, value in ((b"path", entry.name), (b"linkpath", entry.link)):
        if len(value) > 100 or not value.isascii():
            records += _pax(key, value)
    if entry.size >= _MAX_USTAR_SIZE:
        records += _pax(b"size", str(entry.size).encode())
    if records and not (_is_utf8(entry.name) and _is_utf8(entry.link)):
        records = _pax(b"hdrcharset", b"BINARY") + records
    return records


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
