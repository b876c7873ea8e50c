"""A Debian root file system as it comes out of mmdebstrap becomes a layer: the same packages, the same bytes.

Rules of this file
1. Streamed: an entry is looked at, edited and passed on; nothing larger than one file is held, and that on disk.
2. What a machine leaves behind goes: logs, caches, package lists, its host name and name servers, device nodes, times,
   extended attributes, setuid bits. What no model needs goes: manuals, translations. Licences and dpkg's records stay.
3. Byte-code is bound to its source by hash (SOURCE_DATE_EPOCH makes Debian's py3compile do so), for the times that a
   time stamp would compare with are gone; and it is marked as never to be checked, which saves a read at each import.

Source  PEP 552 for the flags of a .pyc; OCI image specification 1.1, layer.md for whiteouts
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

from buildpacks.image.tar import BLOCK, MTIME_S, OWNER, RECORD

USER = "algo"
_COPY = 1 << 20
_SPOOL = 4 << 20
_EMPTY = ("dev", "proc", "sys", "run", "tmp", "var/tmp", "var/log", "var/cache", "var/lib/apt")  # the folders stay
_DROPPED = re.compile(
    r"etc/(?:apt|hostname|hosts|resolv\.conf|machine-id|\.pwd\.lock|(?:passwd|group|shadow|gshadow|subuid|subgid)-)(?:/.*)?"
    r"|etc/dpkg/dpkg\.cfg\.d/99mmdebstrap"
    r"|var/lib/dpkg/(?:status-old|diversions-old|statoverride-old|available|available-old|lock|lock-frontend)"
    r"|var/lib/(?:apt|systemd/random-seed)(?:/.*)?"
    r"|usr/share/(?:man|info|locale|lintian|linda|gcc|bash-completion|zsh)/.*"
)
_DOC = re.compile(r"usr/share/doc/[^/]+/(?!copyright$).+")
_ADDED = {
    "etc/passwd": f"{USER}:x:{OWNER}:{OWNER}::/home/{USER}:/bin/sh\n",
    "etc/group": f"{USER}:x:{OWNER}:\n",
    "etc/shadow": f"{USER}:!:::::::\n",
    "etc/gshadow": f"{USER}:!::\n",
}
_KEPT_TEXT = ("usr/lib/os-release",)
_TIMESTAMPED, _CHECKED_HASH, _UNCHECKED_HASH = 0, 3, 1


@dataclass(slots=True)
class Seen:
    """What went by: entries by path, as digests of header and content; texts: the few files that a stack is told by."""

    entries: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def whole_layer(source: IO[bytes], seen: Seen) -> Iterator[bytes]:
    """The tar of a layer that holds everything that source holds. Raises tarfile.TarError for a broken source."""
    return _finished(_whole(source, seen))


def difference_layer(source: IO[bytes], below: Seen) -> Iterator[bytes]:
    """The tar of a layer that, laid over the layer that `below` saw, gives what source holds."""
    return _finished(_difference(source, below))


def _whole(source: IO[bytes], seen: Seen) -> Iterator[bytes]:
    for info, content in _entries(source, seen):
        header = _render(info)
        digest = hashlib.sha256(header)
        yield header
        for chunk in _padded(content, info.size):
            digest.update(chunk)
            yield chunk
        seen.entries[info.name] = digest.digest()


def _difference(source: IO[bytes], below: Seen) -> Iterator[bytes]:
    here = set()
    for info, content in _entries(source, Seen()):
        here.add(info.name)
        header = _render(info)
        digest = hashlib.sha256(header)
        # Whether a file is new is known at its end, and the source cannot be wound back.
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as spool:
            for chunk in _padded(content, info.size):
                digest.update(chunk)
                spool.write(chunk)
            if below.entries.get(info.name) == digest.digest():
                continue
            yield header
            spool.seek(0)
            yield from _chunks(spool)
    gone = below.entries.keys() - here
    for path in sorted(gone):
        folder, name = posixpath.split(path)
        if folder not in gone:
            yield _render(_new(posixpath.join(folder, f".wh.{name}")))


def _entries(source: IO[bytes], seen: Seen) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """What stays, edited, in the order of the source."""
    with tarfile.open(fileobj=source, mode="r|", errorlevel=2) as tar:
        for member in tar:
            name = member.name.removeprefix("./").rstrip("/")
            if name in {"", "."} or _is_dropped(name) or member.isdev() or member.isfifo():
                continue
            info = _new(name)
            info.type, info.uid, info.gid = member.type, member.uid, member.gid
            info.mode = member.mode & 0o1777  # no setuid, no setgid: nothing in a release may become another user
            if member.issym():
                info.linkname, info.mode = member.linkname, 0o777
            elif member.islnk():
                # A link to a file of the layer below cannot be unpacked by engines that unpack a layer by itself.
                target = member.linkname.removeprefix("./")
                info.type, info.mode = tarfile.SYMTYPE, 0o777
                info.linkname = posixpath.relpath(target, posixpath.dirname(name))
            if not member.isreg():
                yield info, None
                continue
            file = tar.extractfile(member)
            assert file is not None  # a regular file has contents
            edited = _edited(name, file, seen)
            if edited is None:
                continue
            info.size = member.size if edited is file else len(edited.getbuffer())  # type: ignore[attr-defined]
            yield info, edited
    home = _new(f"home/{USER}")
    home.type, home.mode, home.uid, home.gid = tarfile.DIRTYPE, 0o755, OWNER, OWNER
    yield home, None


def _edited(name: str, file: IO[bytes], seen: Seen) -> IO[bytes] | None:
    """The file's contents as they shall be; None when it shall not be at all."""
    if name.endswith(".pyc"):
        data = file.read()
        flags = int.from_bytes(data[4:8], "little")
        if flags == _TIMESTAMPED:
            return None  # its time is not the source's any more: Python would read it and throw it away
        if flags == _CHECKED_HASH:
            data = data[:4] + _UNCHECKED_HASH.to_bytes(4, "little") + data[8:]
        return io.BytesIO(data)
    if name in _ADDED:
        return io.BytesIO(file.read() + _ADDED[name].encode())
    if name in _KEPT_TEXT:
        data = file.read()
        seen.texts[name] = data.decode("utf-8", "replace")
        return io.BytesIO(data)
    return file


def _is_dropped(name: str) -> bool:
    if _DROPPED.fullmatch(name) or _DOC.fullmatch(name):
        return True
    return any(name.startswith(f"{folder}/") for folder in _EMPTY)


def _new(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mtime = MTIME_S
    return info


def _render(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_COPY), b"")


def _padded(content: IO[bytes] | None, size: int) -> Iterator[bytes]:
    if content is None:
        return
    yield from _chunks(content)
    if size % BLOCK:
        yield b"\0" * (-size % BLOCK)


def _finished(chunks: Iterator[bytes]) -> Iterator[bytes]:
    written = 0
    for chunk in chunks:
        written += len(chunk)
        yield chunk
    written += 2 * BLOCK
    yield b"\0" * (2 * BLOCK)
    yield b"\0" * (-written % RECORD)


def parse_os_release(text: str) -> Mapping[str, str]:
    """os-release(5) -> its values, quotes removed."""
    found = {}
    for line in text.splitlines():
        key, mark, value = line.partition("=")
        if mark and not key.startswith("#"):
            found[key.strip()] = value.strip().strip("\"'")
    return found
