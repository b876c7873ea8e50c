"""A tar of a stranger, looked through block by block before any reader of archives sees it.

Why     tarfile keeps every entry and reads extended headers whole: a small compressed file could fill the server's
        memory. Here nothing is kept, and what no packaged buildpack needs ends the reading.
Source  POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BLOCK = 512
MAX_ENTRIES = 100_000
MAX_HEADER_BYTES = 64 * 1024
_SIZE, _TYPE = slice(124, 136), slice(156, 157)
_PAX = frozenset({b"x", b"g", b"X"})
_EXTENDED = _PAX | {b"L", b"K"}
_OLD_FILE = b"\0"
# Records that put another length in place of the header's: readers would go on where this one does not look. Wherever
# a record may begin, for a reader takes a record's own word for its length.
_OTHER_LENGTH = re.compile(rb"[0-9] (?:size|GNU\.sparse\.[^=]*)=")
_WITHOUT_DATA = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_SPARSE = b"S"


class TarRefused(Exception):  # noqa: N818 -- it is data on its way to a person
    """An archive that is not taken in; the reason, and whether it is only too large."""

    def __init__(self, reason: str, *, is_size: bool = False) -> None:
        self.reason, self.is_size = reason, is_size
        super().__init__(reason)


def guarded(chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """The same chunks, as long as they are a tar within limits.

    max_bytes  of the whole archive
    Raises     TarRefused
    """
    seen = entries = skip = 0
    rest = records = b""
    in_records = False
    for chunk in chunks:
        seen += len(chunk)
        if seen > max_bytes:
            raise TarRefused(f"more than {max_bytes} bytes", is_size=True)
        rest += chunk
        at = 0
        while True:
            step = min(skip, len(rest) - at)
            if in_records:
                records += rest[at : at + step]
            skip, at = skip - step, at + step
            if skip:
                break
            if _OTHER_LENGTH.search(records) is not None:
                raise TarRefused("a length in it is given twice")
            in_records, records = False, b""
            if len(rest) - at < BLOCK:
                break
            block = rest[at : at + BLOCK]
            skip, in_records = _length(block), block[_TYPE] in _PAX
            entries, at = entries + 1, at + BLOCK
            if entries > MAX_ENTRIES:
                raise TarRefused(f"more than {MAX_ENTRIES} entries", is_size=True)
        rest = rest[at:]
        yield chunk


def _length(block: bytes) -> int:
    """Bytes of data behind a header, padding included. Raises TarRefused."""
    if not block.strip(b"\0"):
        return 0  # the end mark, or padding behind it
    kind, field = block[_TYPE], block[_SIZE]
    if kind == _SPARSE:
        raise TarRefused("it has sparse files")
    if kind == _OLD_FILE and block[:100].split(b"\0", 1)[0].endswith(b"/"):
        raise TarRefused("a folder in it is written as a file")  # which has data for some readers only
    if field[0] & 0x80:
        size = int.from_bytes(field, "big") & ((1 << 95) - 1)
    else:
        digits = field.split(b"\0", 1)[0].strip()
        if digits.strip(b"01234567"):
            raise TarRefused("a size in it is no number")
        size = int(digits or b"0", 8)
    if kind in _EXTENDED and size > MAX_HEADER_BYTES:
        raise TarRefused(f"a header of {size} bytes")
    return 0 if kind in _WITHOUT_DATA else -(-size // BLOCK) * BLOCK
