"""A stream of bytes that is never seen whole unless it is what its digest says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from buildpacks.order import BuildFailed

_CHUNK = 1 << 20


def verified(opened: Callable[[], Iterator[bytes]], digest: str, title: str) -> Iterator[bytes]:
    """Pass chunks on, the last one only when the sha256 of all of them is right.

    Holding the last one back means that whoever counts bytes cannot take a damaged layer for a complete one.

    opened  opens the stream; digest `sha256:...`; title names the layer to people
    Raises  BuildFailed('layer-damaged') in place of the last chunk, or where the stream itself breaks
    """
    actual, held = hashlib.sha256(), b""
    try:
        for data in opened():
            if held:
                yield held
            held = data
            actual.update(data)
    except (OSError, BuildFailed) as error:
        raise BuildFailed("layer-damaged", layer=title, diff_id=digest, detail=str(error)) from error
    found = f"sha256:{actual.hexdigest()}"
    if found != digest:
        detail = f"{found[:19]} in place of {digest[:19]}"
        raise BuildFailed("layer-damaged", layer=title, diff_id=digest, detail=detail)
    yield held


def read_file(path: Path) -> Iterator[bytes]:
    """The bytes of a file, 1 MiB at a time."""
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_CHUNK), b"")
