"""Reads the server name out of the first bytes of a TLS connection.  Pure.

A tunnel is opaque, and one address of a content network serves thousands of names: whoever may reach an index there
could ask for any other name behind it. The name that a client asks for stands in its first message, in clear.

Source  RFC 8446, 4.1.2 (ClientHello) and 5.1 (record layer); RFC 6066, 3 (server_name)
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_HELLO_BYTES = 64 * 1024
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_MAX_RECORD_BYTES = 1 << 14


class NotTls(Exception):  # noqa: N818 -- a verdict on what a client sent
    """These bytes do not begin a TLS connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A whole ClientHello. server_name: in lower case; None when it names nobody."""

    server_name: str | None


def read_hello(data: bytes) -> Hello | None:
    """The ClientHello that data begins with; None while it is incomplete. Raises NotTls."""
    message, at = b"", 0
    while len(message) < 4 or len(message) < 4 + int.from_bytes(message[1:4]):
        if len(data) > at and data[at] != _HANDSHAKE:
            raise NotTls
        if len(data) < at + 5:
            return None
        length = int.from_bytes(data[at + 3 : at + 5])
        if not 0 < length <= _MAX_RECORD_BYTES:
            raise NotTls
        if len(data) < at + 5 + length:
            return None
        message += data[at + 5 : at + 5 + length]
        at += 5 + length
        if message[0] != _CLIENT_HELLO or len(message) > MAX_HELLO_BYTES:
            raise NotTls
    return Hello(server_name=_server_name(_Reader(message[4 : 4 + int.from_bytes(message[1:4])])))


class _Reader:
    """Takes fields with a length before them. Raises NotTls where a length lies."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise NotTls
        found, self._at = self._data[self._at : end], end
        return found

    def field(self, length_bytes: int) -> bytes:
        return self.take(int.from_bytes(self.take(length_bytes)))

    @property
    def is_empty(self) -> bool:
        return self._at == len(self._data)


def _server_name(hello: _Reader) -> str | None:
    hello.take(2 + 32)  # version, random
    hello.field(1)  # session id
    hello.field(2)  # cipher suites
    hello.field(1)  # compression methods
    if hello.is_empty:
        return None
    extensions = _Reader(hello.field(2))
    while not extensions.is_empty:
        kind, body = int.from_bytes(extensions.take(2)), _Reader(extensions.field(2))
        if kind != _SERVER_NAME:
            continue
        names = _Reader(body.field(2))
        while not names.is_empty:
            name_kind, name = names.take(1)[0], names.field(2)
            if name_kind == _HOST_NAME:
                try:
                    return name.decode("ascii").lower()
                except UnicodeDecodeError as error:
                    raise NotTls from error
    return None
