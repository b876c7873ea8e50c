"""Where a body ends: incremental readers that are fed bytes as they come.  Pure.

Each reader's feed() gives (payload, rest): payload is body bytes to pass on, rest is None while the body goes on and
what follows the body (perhaps empty) once it has ended. Nothing is collected: what is fed comes out at once.
"""

from __future__ import annotations

import re
from typing import Protocol

from gitserver.gateway.http1 import RequestHead, ResponseHead

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})")
# Extensions mean nothing to anybody, and readers disagree on where they end: from a client they are refused
_SIZE_AND_EXTENSION = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_MAX_LINE = 1024
_MAX_TRAILERS = 32


class BadFraming(Exception):  # noqa: N818 -- the condition, as style.md names errors
    """The body's own framing is broken: where it ends can no longer be known."""


class BodyReader(Protocol):
    """Finds the end of a body."""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """See the module's first lines. Raises BadFraming."""
        ...


class LengthReader:
    """A body of a known number of bytes."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Pass data on up to the length."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data, None
        self._left = 0
        return (data, b"") if left == 0 else (data[:left], data[left:])


class OpenReader:
    """A body that ends when the upstream closes."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Everything belongs to it."""
        return data, None


class ChunkedReader:
    """A chunked body; payload comes out without its framing, trailers are checked and dropped.

    Why     whoever forwards it writes chunks of its own, so no chunk line of a stranger reaches the next parser
    Source  RFC 9112 7.1
    """

    __slots__ = ("_left", "_line", "_size_line", "_state", "_trailers")
    _SIZE_LINE, _DATA, _DATA_END, _TRAILER_LINE = range(4)

    def __init__(self, *, extensions: bool) -> None:
        self._size_line = _SIZE_AND_EXTENSION if extensions else _SIZE
        self._state = self._SIZE_LINE
        self._left = 0
        self._line = b""
        self._trailers = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take chunks apart. Raises BadFraming for anything that is not exactly a chunk."""
        parts: list[bytes] = []
        position, size = 0, len(data)
        while position < size:
            if self._state == self._DATA:
                end = min(size, position + self._left)
                parts.append(data[position:end])
                self._left -= end - position
                position = end
                if self._left == 0:
                    self._state = self._DATA_END
                continue
            newline = data.find(b"\n", position)
            fragment = data[position : newline + 1 if newline >= 0 else size]
            position += len(fragment)
            self._line += fragment
            if len(self._line) > _MAX_LINE:
                raise BadFraming
            if newline < 0:
                break
            line, self._line = self._line, b""
            if not line.endswith(b"\r\n"):
                raise BadFraming
            if self._take_line(line[:-2]):
                return b"".join(parts), data[position:]
        return (parts[0] if len(parts) == 1 else b"".join(parts)), None

    def _take_line(self, line: bytes) -> bool:
        """True at the end of the body."""
        if self._state == self._SIZE_LINE:
            match = self._size_line.fullmatch(line)
            if match is None:
                raise BadFraming
            self._left = int(match[1], 16)
            self._state = self._DATA if self._left else self._TRAILER_LINE
        elif self._state == self._DATA_END:
            if line:
                raise BadFraming
            self._state = self._SIZE_LINE
        else:
            if not line:
                return True
            self._trailers += 1
            if self._trailers > _MAX_TRAILERS or not _TRAILER.fullmatch(line):
                raise BadFraming
        return False


def make_chunk(payload: bytes) -> bytes:
    """One chunk; nothing for no payload, because an empty chunk is the end."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


LAST_CHUNK = b"0\r\n\r\n"


def request_reader(head: RequestHead) -> BodyReader | None:
    """The reader of a request's body, None when there is no body."""
    if head.chunked:
        return ChunkedReader(extensions=False)
    return LengthReader(head.content_length) if head.content_length else None


def response_reader(head: ResponseHead) -> BodyReader | None:
    """The reader of a response's body, None when there is no body."""
    if head.chunked:
        return ChunkedReader(extensions=True)
    if head.until_close:
        return OpenReader()
    return LengthReader(head.content_length) if head.content_length else None
