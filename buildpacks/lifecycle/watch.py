"""A stranger's script under watch: its time, how much it writes, and what it leaves running are bounded.

What it writes comes through a pipe that a thread empties, so that an endless writer is ended and never fills a disk or
the server's log. Our own scripts are not watched: they are trusted, and a pipe costs a push.
"""

from __future__ import annotations

import os
import threading
import time

from buildpacks.lifecycle.program import start

TYPE_CHECKING = False  # typing takes longer to import than a fork takes
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PIECE_BYTES = 64 * 1024
MAX_LINES = 50_000  # each costs a log more than its bytes; the longest logs of npm and maven have a tenth of that
_LAST_WORDS_S = 2.0  # a process that left its group may hold the pipe open: it is not waited for


class Watched:
    """A started script. kept: the first of what it wrote, when nothing is passed on."""

    def __init__(
        self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str], keep_bytes: int, limit_bytes: int,
        pass_on: int | None = None,
    ) -> None:  # fmt: skip
        """Start it. pass_on: descriptor that gets all it writes, instead of keeping it. Raises OSError."""
        self._keep_bytes, self._limit_bytes, self._pass_on = keep_bytes, limit_bytes, pass_on
        self._read_end, write_end = os.pipe()
        self._size_bytes, self._line_count, self.kept = 0, 0, b""
        self.has_flooded = self.is_overdue = self.has_left_some = False
        try:
            self._program = start(argv, cwd=cwd, env=env, output=write_end)
        except OSError:
            os.close(self._read_end)
            raise
        finally:
            os.close(write_end)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def finish(self, deadline_at: float | None) -> int:
        """Its exit status, once it and all of its process group have ended.

        deadline_at  time.monotonic() at which it is killed and is_overdue set; None: never
        """
        status = self._program.wait(None if deadline_at is None else max(0.0, deadline_at - time.monotonic()))
        if status is None:
            self.is_overdue = True
            status = self._program.kill()
        self.has_left_some = self._program.end_group() and not self.is_overdue and not self.has_flooded
        self._reader.join(_LAST_WORDS_S)
        return status

    def _read(self) -> None:
        with open(self._read_end, "rb", buffering=0) as pipe:
            while data := pipe.read(_PIECE_BYTES):
                self._size_bytes += len(data)
                self._line_count += data.count(b"\n")
                if self._size_bytes > self._limit_bytes or self._line_count > MAX_LINES:
                    self.has_flooded = True
                    self._program.end_group()
                    return
                if self._pass_on is None:
                    self.kept += data[: self._keep_bytes - len(self.kept)]
                    continue
                try:
                    while data:
                        data = data[os.write(self._pass_on, data) :]
                except OSError:  # nobody listens to the build any more: its end is near
                    self._program.end_group()
                    return
