"""One log an app: what its instances write, each line with time and release, bounded and rotated once."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

MAX_LOG_BYTES = 10 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024


class AppLog:
    """Moves lines from the instances' own files into the app's. Used by the keeper's thread alone."""

    def __init__(self, path_of: Callable[[int], Path]) -> None:
        self._path_of = path_of

    def pull(self, app_id: int, label: str, source: Path) -> None:
        """Append what a source has new since the last pull. How far we were is kept beside it, for a later worker."""
        offset_path = source.with_name("log.offset")
        offset = _read_offset(offset_path)
        try:
            size = source.stat().st_size
        except FileNotFoundError:
            return  # nothing was started yet
        if size < offset:
            offset = 0
        if size == offset:
            return
        with source.open("rb") as file:
            file.seek(offset)
            data = file.read(_CHUNK_BYTES)
        cut = data.rfind(b"\n") + 1
        if cut == 0:
            if len(data) < _CHUNK_BYTES:
                return  # a line under way
            cut = len(data)
        self._append(app_id, label, data[:cut].splitlines())
        offset += cut
        if offset >= MAX_LOG_BYTES and offset == source.stat().st_size:
            os.truncate(source, 0)  # the writer appends, so it goes on at the new end
            offset = 0
        offset_path.write_text(str(offset), encoding="ascii")

    def event(self, app_id: int, label: str, text: str) -> None:
        """A line of ours: a crash, a restart."""
        self._append(app_id, label, [text.encode()])

    def _append(self, app_id: int, label: str, lines: list[bytes]) -> None:
        path = self._path_of(app_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        prefix = f"{stamp} [{label}] ".encode()
        with path.open("ab") as file:
            file.write(b"".join(prefix + line.replace(b"\x1b", b"") + b"\n" for line in lines))
            size = file.tell()
        if size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))


def _read_offset(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
