"""The text attributes of an HDF5 file's root group: where Keras writes its configuration and its version.

Only what h5py writes by default is read: 8-byte addresses, attributes in the object header, strings in place or in a
global heap. Anything else is an empty answer, and its reader says less.

Source  HDF5 File Format Specification 3.0: II.A superblock, IV.A object headers, IV.A.2.m attribute, III.E global heap
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_ATTRIBUTE_BYTES = 8 << 20
_MAX_MESSAGES, _MAX_BLOCKS, _MAX_BLOCK_BYTES = 2000, 64, 16 << 20
_CONTINUATION, _ATTRIBUTE = 0x10, 0x0C
_STRING, _VARIABLE = 3, 9


def read_attributes(file: BinaryIO) -> dict[str, bytes]:
    """Name -> text of the root group's string attributes; empty when the file is laid out in another way."""
    head = _at(file, 0, 80)
    if not head.startswith(SIGNATURE):
        return {}
    version = head[8]
    if version in {0, 1}:
        place = 64 + 4 * version
        sizes = head[13:15]
    elif version in {2, 3}:
        place, sizes = 36, head[9:11]
    else:
        return {}
    if sizes != b"\x08\x08":
        return {}
    found: dict[str, bytes] = {}
    for data in _attribute_messages(file, _number(head[place : place + 8])):
        item = _attribute(file, data)
        if item is not None:
            found.setdefault(*item)
    return found


def _attribute_messages(file: BinaryIO, address: int) -> Iterator[bytes]:
    start = _at(file, address, 32)
    is_new = start.startswith(b"OHDR")
    if is_new:
        flags = start[5]
        place = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        blocks = [(address + place + width, _number(start[place : place + width]))]
        header = 6 if flags & 4 else 4
    elif start[:1] == b"\x01":
        blocks, header = [(address + 16, _number(start[8:12]))], 8
    else:
        return
    seen = 0
    for count, (place, size) in enumerate(blocks):
        if count >= _MAX_BLOCKS or size > _MAX_BLOCK_BYTES:
            return
        block = _at(file, place, size)
        position = 4 if is_new and count else 0  # a continuation begins with `OCHK`
        while position + header <= len(block) and seen < _MAX_MESSAGES:
            seen += 1
            kind = block[position] if is_new else _number(block[position : position + 2])
            length = _number(block[position + 1 : position + 3] if is_new else block[position + 2 : position + 4])
            data = block[position + header : position + header + length]
            position += header + length
            if kind == _ATTRIBUTE:
                yield data
            elif kind == _CONTINUATION and len(data) >= 16:
                blocks.append((_number(data[:8]), _number(data[8:16])))


def _attribute(file: BinaryIO, data: bytes) -> tuple[str, bytes] | None:
    if len(data) < 9 or data[0] not in {1, 2, 3}:
        return None
    sizes = [_number(data[place : place + 2]) for place in (2, 4, 6)]
    position = 9 if data[0] == 3 else 8
    parts = []
    for size in sizes:
        parts.append(data[position : position + size])
        position += -(-size // 8) * 8 if data[0] == 1 else size
    name, datatype, value = parts[0].rstrip(b"\0").decode("utf-8", "replace"), parts[1], data[position:]
    if len(datatype) < 8:
        return None
    if datatype[0] & 15 == _STRING:
        return name, value[: _number(datatype[4:8])].rstrip(b"\0")
    if datatype[0] & 15 == _VARIABLE and datatype[1] & 15 == 1 and len(value) >= 16:
        return name, _heap_object(file, _number(value[4:12]), _number(value[12:16]))[: _number(value[:4])]
    return None


def _heap_object(file: BinaryIO, address: int, index: int) -> bytes:
    head = _at(file, address, 16)
    if not head.startswith(b"GCOL"):
        return b""
    end = address + _number(head[8:16])
    position = address + 16
    for _ in range(_MAX_MESSAGES):
        item = _at(file, position, 16)
        if position >= end or len(item) < 16:
            return b""
        size = _number(item[8:16])
        if _number(item[:2]) == index:
            return _at(file, position + 16, min(size, MAX_ATTRIBUTE_BYTES))
        position += 16 + -(-size // 8) * 8
    return b""


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    if not 0 <= place < 1 << 62:
        return b""
    file.seek(place)
    return file.read(size)


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
