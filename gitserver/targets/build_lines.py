"""What a build's processes write, made fit for a terminal: whole lines, no control bytes, none endless."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
from collections.abc import Callable

MAX_LINE_BYTES = 16 * 1024
_LOOK_S = 0.1
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Lines:
    """Bytes become lines without control bytes, none longer than MAX_LINE_BYTES: a longer one is several."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log, self._pending = log, b""

    def feed(self, data: bytes) -> None:
        """Pass on what is whole."""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._say(line)
        while len(self._pending) > MAX_LINE_BYTES:
            self._say(self._pending[:MAX_LINE_BYTES])
            self._pending = self._pending[MAX_LINE_BYTES:]

    def end(self) -> None:
        """A last line may have no end."""
        if self._pending:
            self._say(self._pending)
            self._pending = b""

    def _say(self, line: bytes) -> None:
        line = line.rstrip(b"\r")
        for start in range(0, max(len(line), 1), MAX_LINE_BYTES):
            self._log(_CONTROL.sub("", line[start : start + MAX_LINE_BYTES].decode("utf-8", "replace")))


def pass_on(process: subprocess.Popen[bytes], log: Callable[[str], None], has_time: Callable[[], bool]) -> None:
    """Pass on what a process writes until it has ended or has no time left.

    has_time  asked several times a second; False ends the reading, what it raises goes up
    """
    assert process.stdout is not None
    lines = Lines(log)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while has_time():
            if selector.select(_LOOK_S):
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                lines.feed(data)
            elif process.poll() is not None:
                # A daemon of the build's may hold the pipe open; the build itself is over when its process is.
                break
    lines.end()
