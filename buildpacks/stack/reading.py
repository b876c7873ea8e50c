"""A layer's blob as the uncompressed tar that it holds, in pieces."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from buildpacks.order import BuildFailed

_CHUNK = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS


def read_blob(path: Path, media_type: str) -> Iterator[bytes]:
    """The uncompressed bytes of a blob, at most about 1 MiB at a time.

    media_type  decides the compression: OCI says `+gzip` and `+zstd`, Docker `.gzip`
    Raises      BuildFailed('stack-layer-zstd'), BuildFailed('stack-blob-damaged') for a broken gzip stream
    """
    if media_type.endswith("zstd"):
        raise BuildFailed("stack-layer-zstd", digest=path.name)
    with path.open("rb") as file:
        plain = iter(lambda: file.read(_CHUNK), b"")
        if media_type.endswith("gzip"):
            yield from _gunzip(plain, path.name)
        else:
            yield from plain


def _gunzip(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Several members follow each other where a blob was compressed in parallel (RFC 1952 2.2)."""
    inflate = zlib.decompressobj(_GZIP)
    begun = False
    for chunk in chunks:
        data = chunk
        while data:
            if inflate.eof:
                inflate = zlib.decompressobj(_GZIP)
            begun = True
            try:
                piece = inflate.decompress(data, _CHUNK)
            except zlib.error as error:
                raise BuildFailed("stack-blob-damaged", expected=name, found=str(error)) from error
            if piece:
                yield piece
            data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    if begun and not inflate.eof:
        raise BuildFailed("stack-blob-damaged", expected=name, found="a file that ends too early")


class HashedReader(io.RawIOBase):
    """A stream of pieces as a file that tarfile can read, with the digest of everything that went through."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, memoryview(b"")
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """The next bytes; 0 at the end."""
        assert isinstance(buffer, (bytearray, memoryview))
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._digest.update(chunk)
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def finish(self) -> str:
        """`sha256:...` of the whole stream, the part behind the last entry included."""
        for chunk in self._chunks:
            self._digest.update(chunk)
        return f"sha256:{self._digest.hexdigest()}"
