"""One log an app: what its instances write, each line with time and release, bounded and rotated once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

MAX_LOG_BYTES = 10 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024
_CHUNK_BYTES = 256 * 1024
_CONTROL = bytes([*range(9), *range(10, 32), 127])  # a log is read in terminals; tabs stay


class AppLog:
    """Moves lines from the instances' own files into the app's. Threads may call it."""

    def __init__(self, path_of: Callable[[int], Path]) -> None:
        self._path_of = path_of
        # Held while files are read and written, a few hundred kB at a time: two that pull one file would double lines.
        self._lock = threading.Lock()

    def pull(self, app_id: int, label: str, source: Path, *, ended: bool = False) -> None:
        """Append what a source has new since the last pull. How far we were is kept beside it, for a later worker.

        ended  nothing more will come: all of it, a last line without an end included
        """
        with self._lock:
            while self._pull(app_id, label, source, ended=ended) and ended:
                pass

    def _pull(self, app_id: int, label: str, source: Path, *, ended: bool) -> bool:
        offset_path = source.with_name("log.offset")
        try:
            size = source.stat().st_size
        except FileNotFoundError:
            return False  # nothing was started yet
        offset = _read_offset(offset_path)
        if size < offset:
            offset = 0
        if size == offset:
            return False
        if size - offset > MAX_LOG_BYTES:
            # It writes faster than anybody reads: the disk comes first.
            skipped = size - offset - _CHUNK_BYTES
            self._append(app_id, label, [f"({skipped} bytes of output left out)".encode()])
            offset += skipped
        with source.open("rb") as file:
            file.seek(offset)
            data = file.read(_CHUNK_BYTES)
        cut = data.rfind(b"\n") + 1
        if cut == 0 or (ended and len(data) < _CHUNK_BYTES):
            if len(data) < _CHUNK_BYTES and not ended:
                return False  # a line under way
            cut = len(data)
        self._append(app_id, label, data[:cut].splitlines())
        offset += cut
        if offset >= MAX_LOG_BYTES and offset == source.stat().st_size:
            os.truncate(source, 0)  # the writer appends, so it goes on at the new end
            offset = 0
        _write_private(offset_path, str(offset).encode())
        return True

    def event(self, app_id: int, label: str, text: str) -> None:
        """A line of ours: a crash, a restart."""
        with self._lock:
            self._append(app_id, label, [text.encode()])

    def _append(self, app_id: int, label: str, lines: list[bytes]) -> None:
        path = self._path_of(app_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        prefix = f"{stamp} [{label}] ".encode()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(descriptor, "ab") as file:
            file.write(b"".join(prefix + line[:MAX_LINE_BYTES].translate(None, _CONTROL) + b"\n" for line in lines))
            size = file.tell()
        if size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)


def _read_offset(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
