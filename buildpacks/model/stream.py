"""Bytes in sequence, out of pieces that are read or decompressed; what nobody wants is passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class Stop(Exception):  # noqa: N818 -- ends a walk that cannot go on, and says why
    """The stream cannot be followed any further."""


class Source:
    """Bytes in sequence, out of pieces; skip() passes over bytes that nobody wants."""

    def __init__(self, pieces: Iterator[bytes], seek: Callable[[int], None] | None = None) -> None:
        self._pieces, self._seek, self._buffer, self._at = pieces, seek, b"", 0

    def read(self, size: int) -> bytes:
        """Exactly size bytes. Raises Stop at the end."""
        end = self._at + size
        if end > len(self._buffer):
            parts = [self._buffer[self._at :]]
            have = len(parts[0])
            while have < size:
                piece = next(self._pieces, b"")
                if not piece:
                    raise Stop("cut off")
                parts.append(piece)
                have += len(piece)
            self._buffer, self._at, end = b"".join(parts), 0, size
        data = self._buffer[self._at : end]
        self._at = end
        return data

    def line(self, limit: int = 64 * 1024) -> bytes:
        """Up to the next line feed, without it."""
        found = bytearray()
        while len(found) < limit:
            byte = self.read(1)
            if byte == b"\n":
                return bytes(found)
            found += byte
        raise Stop("a line without an end")

    def skip(self, size: int) -> None:
        """Pass over size bytes; a plain file is not read for it."""
        here = min(size, len(self._buffer) - self._at)
        self._at += here
        size -= here
        if size and self._seek is not None:
            self._seek(size)
            return
        while size > 0:
            size -= len(self.read(min(size, 1 << 18)))
