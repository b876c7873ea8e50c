"""Pickle and joblib files: what they hold, who wrote them, what they would call. Never unpickled.

The stream is walked by its opcodes (opcodes.py). Where that walk ends early, because the file is cut off, huge or
hostile, a search of its bytes still finds the first class and the version.

Source  CPython Lib/pickletools.py (opcodes); joblib 1.x numpy_pickle.py; scikit-learn base.py `__getstate__`
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

from buildpacks.model.file import MAX_SCAN_BYTES, TAIL_BYTES
from buildpacks.model.objects import class_of, object_facts
from buildpacks.model.opcodes import Global, Walk, walk_pickle
from buildpacks.model.stream import Source, Stop

_CHUNK = 1 << 18
_MEMO = rb"(?:\x94|q[\s\S]|r[\s\S]{4}|p\d+\n)?"
_STRING = rb"(?:\x8c([\s\S])|X([\s\S]{4})|V([^\n]{1,64})\n)"
_VERSION = re.compile(rb"_sklearn_version(?:\n)?" + _MEMO + _STRING)
_FEATURES = re.compile(rb"n_features_in_(?:\n)?" + _MEMO + rb"(?:K([\s\S])|M([\s\S]{2})|J([\s\S]{4}))")
_FIRST_GLOBAL = re.compile(
    rb"\A(?:\x80[\x00-\x05])?(?:\x95[\s\S]{8})?"
    rb"(?:c([\w.]{1,200})\n([\w.]{1,200})\n"  # protocols 0 to 3: GLOBAL
    rb"|\x8c[\s\S]([\w.]{1,200}?)\x94\x8c[\s\S]([\w.]{1,200}?)\x94\x93)"  # protocol 4: two strings, STACK_GLOBAL
    rb"|\A(?:\x80[\x00-\x05])?(?:\x95[\s\S]{8})?ccopy_reg\n_reconstructor\n"
    + _MEMO
    + rb"\(c([\w.]{1,200})\n([\w.]{1,200})\n"
)
_VERSION_TEXT = re.compile(r"\d+(?:\.[0-9A-Za-z]+){1,5}(?:\+[0-9A-Za-z.]+)?")
OVERLAP = 4096  # a match must not be lost between two pieces of a stream


class Pickle(NamedTuple):
    """What a pickle stream tells. module and name are '' when it does not begin with an object."""

    module: str
    name: str
    sklearn_version: str
    features: int | None
    facts: Mapping[str, str | int]
    walk: Walk


def find_codec(head: bytes) -> str:
    """The compression of a joblib file: zlib, gzip, bz2, xz, or '' for none.

    Source  joblib compressor.py prefixes; a zlib header is a multiple of 31 (RFC 1950)
    """
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:3] == b"BZh":
        return "bz2"
    if head[:6] == b"\xfd7zXZ\x00" or head[:3] == b"]\x00\x00":
        return "xz"
    if len(head) > 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib"
    return ""


def read_pickle(file: BinaryIO, head: bytes) -> Pickle | None:
    """The facts of a pickle or joblib file; None when it is neither. At most MAX_SCAN_BYTES are decompressed."""
    codec = find_codec(head)
    if codec and next(_pieces(file, codec), b"")[:1] != b"\x80":
        return None
    file.seek(0)
    walk = walk_pickle(_source(file, codec))
    if walk.complete:
        found = class_of(walk.root) or Global("", "")
        facts = object_facts(walk.root)
        version, features = str(facts.pop("version", "")), facts.pop("features", None)
        return Pickle(
            found.module, found.name, version if _VERSION_TEXT.fullmatch(version) else "",
            features if isinstance(features, int) else None, facts, walk,
        )  # fmt: skip
    file.seek(0)
    return _search(file, codec, walk)


def _source(file: BinaryIO, codec: str) -> Source:
    if codec:
        return Source(_pieces(file, codec))
    return Source(iter(lambda: file.read(_CHUNK), b""), lambda size: _forward(file, size))


def _forward(file: BinaryIO, size: int) -> None:
    if size >= 1 << 62:
        raise Stop("a size that no file has")
    file.seek(size, os.SEEK_CUR)


def _search(file: BinaryIO, codec: str, walk: Walk) -> Pickle | None:
    first = b""
    module = name = version = ""
    features: int | None = None
    tail = b""
    for piece in _pieces(file, codec):
        if not first:
            first = piece
            module, name = _first_global(first)
        window = tail + piece
        version = version or _find_version(window)
        features = features if features is not None else _find_features(window)
        tail = window[-OVERLAP:]
        if version and (features is not None or not module.startswith("sklearn")):
            break
    if not first:
        return None
    return Pickle(module, name, version, features, {}, walk)


def _first_global(data: bytes) -> tuple[str, str]:
    match = _FIRST_GLOBAL.match(data[:1024])
    if match is None:
        return "", ""
    module, name = next((match[i], match[i + 1]) for i in (1, 3, 5) if match[i] is not None)
    return module.decode("ascii", "replace"), name.decode("ascii", "replace")


def _find_version(window: bytes) -> str:
    for match in _VERSION.finditer(window):
        if match[3] is not None:
            raw = match[3]
        else:
            size = match[1][0] if match[1] is not None else int.from_bytes(match[2], "little")
            raw = window[match.end() : match.end() + min(size, 64)]
        text = raw.decode("ascii", "replace")
        if _VERSION_TEXT.fullmatch(text):
            return text
    return ""


def _find_features(window: bytes) -> int | None:
    match = _FEATURES.search(window)
    if match is None:
        return None
    raw = next(group for group in match.groups() if group is not None)
    value = int.from_bytes(raw, "little")
    return value if 0 < value < 1_000_000 else None


def _pieces(file: BinaryIO, codec: str) -> Iterator[bytes]:
    """The stream's first MAX_SCAN_BYTES and, of a longer uncompressed one, its last TAIL_BYTES."""
    seen = 0
    if codec:
        for piece in _decompressed(file, codec):
            yield piece
            seen += len(piece)
            if seen >= MAX_SCAN_BYTES:
                return
        return
    while seen < MAX_SCAN_BYTES:
        piece = file.read(_CHUNK)
        if not piece:
            return
        seen += len(piece)
        yield piece
    end = file.seek(0, os.SEEK_END)
    if end > seen:
        # The outermost estimator's state ends the stream, and its version stands near the end of that.
        file.seek(max(seen, end - TAIL_BYTES))
        yield file.read(TAIL_BYTES)


def _decompressed(file: BinaryIO, codec: str) -> Iterator[bytes]:
    # The imports wait: most repositories hold no compressed model, and a detection lives for milliseconds.
    decompress: Callable[[bytes, int], bytes]
    if codec in {"zlib", "gzip"}:
        import zlib

        inflater = zlib.decompressobj(wbits=47)  # 32 + 15: zlib or gzip, by header
        failures: tuple[type[Exception], ...] = (zlib.error,)

        def decompress(data: bytes, limit: int) -> bytes:
            return inflater.decompress(inflater.unconsumed_tail + data, limit)

    else:
        if codec == "bz2":
            import bz2

            other: bz2.BZ2Decompressor | lzma.LZMADecompressor = bz2.BZ2Decompressor()
            failures = (OSError, EOFError)
        else:
            import lzma

            other = lzma.LZMADecompressor()
            failures = (lzma.LZMAError, EOFError)

        def decompress(data: bytes, limit: int) -> bytes:
            return other.decompress(data, limit)

    read = 0
    while read < MAX_SCAN_BYTES:
        data = file.read(_CHUNK)
        read += len(data)
        try:
            piece = decompress(data, 16 * _CHUNK)
        except failures:
            return  # truncated or not that codec after all: what was seen until here counts
        if piece:
            yield piece
        if not data and not piece:
            return
