"""Bytes of a dependency file as text, whatever editor or shell wrote them."""

from __future__ import annotations

_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32", "UTF-32"),
    (b"\x00\x00\xfe\xff", "utf-32", "UTF-32"),
    (b"\xff\xfe", "utf-16", "UTF-16"),
    (b"\xfe\xff", "utf-16", "UTF-16"),
    (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8 with a byte-order mark"),
)


def decode(data: bytes) -> tuple[str, str]:
    """The text with plain line ends, and the encoding as people call it; '' for plain UTF-8.

    Why  a redirection in Windows PowerShell writes UTF-16 with a byte-order mark and CRLF, and a third of the files
         that people push were made so; Latin-1 reads every byte, so that a comment's accent ends no push
    """
    for mark, codec, name in _MARKS:
        if data.startswith(mark):
            return _plain(data.decode(codec, "replace")), name
    if data[1:2] == b"\0" and data[:1] != b"\0":
        return _plain(data.decode("utf-16-le", "replace")), "UTF-16 without a byte-order mark"
    try:
        return _plain(data.decode("utf-8")), ""
    except UnicodeDecodeError:
        return _plain(data.decode("latin-1")), "Latin-1"


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
