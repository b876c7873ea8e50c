"""Protocol buffers' wire format, walked without a schema: fields of one message at a time, payloads skipped by seek.

A model of gigabytes has its weights in a few long fields; what is read of it are the headers between them.

Source  https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 100_000
_FIXED = {FIXED64: 8, FIXED32: 4}


class NotProtobuf(ValueError):  # noqa: N818 -- says what the bytes are, to a reader that asks
    """The bytes are no message: a field that leaves its message, a wire type that is none, too many fields."""


class Field(NamedTuple):
    """One field. value: of a VARINT; start, size: where the payload of the others lies in the file."""

    number: int
    wire: int
    value: int
    start: int
    size: int


class Message:
    """A file read as messages. All walks together see at most max_fields fields."""

    def __init__(self, file: BinaryIO, max_fields: int = MAX_FIELDS) -> None:
        self._file, self._left = file, max_fields

    def walk(self, start: int, size: int) -> Iterator[Field]:
        """The fields of the message at start. Others may be walked in between. Raises NotProtobuf."""
        position, end = start, start + size
        while position < end:
            if self._left <= 0:
                raise NotProtobuf("too many fields")
            self._left -= 1
            self._file.seek(position)
            key, position = self._varint(position, end)
            number, wire, value = key >> 3, key & 7, 0
            if number == 0:
                raise NotProtobuf("a field without a number")
            if wire == VARINT:
                value, position = self._varint(position, end)
                yield Field(number, wire, value, position, 0)
                continue
            length = _FIXED.get(wire)
            if wire == BYTES:
                length, position = self._varint(position, end)
            if length is None or position + length > end:
                raise NotProtobuf("a field that leaves its message")
            yield Field(number, wire, 0, position, length)
            position += length

    def text(self, field: Field, limit: int = 200) -> str:
        """A string field, cut after `limit` bytes."""
        self._file.seek(field.start)
        return self._file.read(min(field.size, limit)).decode("utf-8", "replace")

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._file.read(1)
            position += 1
            if not byte or position > end:
                raise NotProtobuf("cut off")
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                return value & ((1 << 64) - 1), position
        raise NotProtobuf("a number of more than ten bytes")


def signed(value: int) -> int:
    """A varint as the int64 that it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value
