"""A process that is run to its end: its output as it comes, and why it did not end well."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gitserver.errors import Json, Problem
from gitserver.targets.readiness import Watched

_LOOK_S = 0.05
_LAST_LINES = 20
_PIECE_BYTES = 256 * 1024


def wait_ended(watched: Watched, *, timeout_s: float, log: Callable[[str], None]) -> Mapping[str, Json]:
    """Returns no facts when it ended with status 0; until then its lines are passed to log.

    Raises  Problem: release-failed, release-timeout, out-of-memory, with the last lines that it wrote
    """
    deadline_at, output = time.monotonic() + timeout_s, _Output(watched.folder.log, log)
    while True:
        status = watched.ended()
        output.pull(is_all=status is not None)
        if status == 0:
            return {}
        if watched.oom():
            raise Problem("out-of-memory", limit_mib=watched.memory_mib, log=watched.folder.tail(_LAST_LINES))
        if status is not None:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise Problem("release-failed", how=how, log=watched.folder.tail(_LAST_LINES))
        if time.monotonic() > deadline_at:
            raise Problem("release-timeout", seconds=int(timeout_s), log=watched.folder.tail(_LAST_LINES))
        time.sleep(_LOOK_S)


class _Output:
    """A log file that grows, and is cut from the front when it has grown too long."""

    def __init__(self, path: Path, log: Callable[[str], None]) -> None:
        self._path, self._log = path, log
        self._at, self._rest = 0, b""

    def pull(self, *, is_all: bool) -> None:
        """Pass new lines on; with is_all also one without an end."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:  # whoever hands over a container's lines has none yet
            return
        with file:
            if file.seek(0, 2) < self._at:
                self._at = 0
            file.seek(self._at)
            while piece := file.read(_PIECE_BYTES):
                self._at += len(piece)
                *lines, self._rest = (self._rest + piece).split(b"\n")
                for line in lines:
                    self._log(line.decode("utf-8", "replace"))
                self._rest = self._rest[-_PIECE_BYTES:]
        if is_all and self._rest:
            self._log(self._rest.decode("utf-8", "replace"))
            self._rest = b""
