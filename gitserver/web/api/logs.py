"""What an app's processes wrote: the last lines, and what comes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from gitserver.web import schema as s
from gitserver.web.api.builds import HEARTBEAT, HEARTBEAT_S
from gitserver.web.api.secrets import mask_of_app
from gitserver.web.routes import Access, Call, Registry, TextStream

registry = Registry()
_LOOK_S = 0.2
_FOLLOW_LIMIT_S = 12 * 3600
_CHUNK = 64 * 1024
_MAX_TAIL_BYTES = 4 * 1024 * 1024


@registry.route(
    "GET",
    "/api/v1/apps/<owner>/<app>/logs",
    Access.APP_OWNER,
    query={
        "lines": s.whole("how many of the last lines", minimum=0, maximum=10_000),
        "follow": s.flag("stay and send what comes, for at most 12 hours; a NUL byte comes in each 5 s of silence"),
    },
    answers=None,
)
def read_logs(call: Call) -> TextStream:
    """What an app's processes wrote, as text, secrets masked"""
    return TextStream(chunks=_log(call))


def _log(call: Call) -> Iterator[bytes]:
    services, app = call.services, call.app
    path = services.settings.app_log(app.id)
    lines = call.query.get("lines", 100)
    assert isinstance(lines, int)
    mask = mask_of_app(services, app.id)
    tail, position, inode = read_tail(path, lines)
    if tail:
        yield mask.apply(tail)
    if not call.query.get("follow", False):
        return
    deadline_at, sent_at, rest = time.monotonic() + _FOLLOW_LIMIT_S, time.monotonic(), b""
    while time.monotonic() < deadline_at:
        data, position, inode = _read_on(path, position, inode)
        whole, rest = mask.split(rest + data)
        if whole:
            sent_at = time.monotonic()
            yield mask.apply(whole)
        if not data:
            if time.monotonic() - sent_at >= HEARTBEAT_S:
                sent_at = time.monotonic()
                yield HEARTBEAT
            if services.ledger.app(app.id) is None:
                return  # destroyed meanwhile
            time.sleep(_LOOK_S)
    if rest:
        yield mask.apply(rest)


def read_tail(path: Path, line_count: int) -> tuple[bytes, int, int]:
    """(the last lines, where they end, the file's inode). A missing file is an empty one with inode 0."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return b"", 0, 0
    with file:
        inode, end = os.fstat(file.fileno()).st_ino, file.seek(0, os.SEEK_END)
        data, start = b"", end
        while start > 0 and data.count(b"\n") <= line_count and end - start < _MAX_TAIL_BYTES:
            start = max(0, start - _CHUNK)
            file.seek(start)
            data = file.read(min(_CHUNK, end - start - len(data))) + data
    kept = data.splitlines(keepends=True)[-line_count:] if line_count else []
    return b"".join(kept), end, inode


def _read_on(path: Path, position: int, inode: int) -> tuple[bytes, int, int]:
    """What was written after position; from the beginning when the file is another one now, or was cut."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return b"", position, inode
    with file:
        state = os.fstat(file.fileno())
        if state.st_ino != inode or state.st_size < position:
            position, inode = 0, state.st_ino
        file.seek(position)
        data = file.read(_CHUNK)
    return data, position + len(data), inode
