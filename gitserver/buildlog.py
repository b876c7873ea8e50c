"""The log of one build: a file that grows, which pushes, `algo builds logs` and the dashboard all tail.

Grammar (what users of git-push platforms know): `-----> step`, seven spaces of detail, ` !     ` errors.
"""

from __future__ import annotations

import threading
from pathlib import Path

from gitserver.explain import clean
from gitserver.mask import Mask, make_mask

MAX_LOG_BYTES = 10 * 1024 * 1024
MAX_LINE = 16 * 1024


class BuildLog:
    """Appends lines; threads may share one. Beyond 10 MiB only steps and errors are kept, and it says so.

    mask    what must not be read in it: a crashing model may print its configuration
    """

    def __init__(self, path: Path, mask: Mask | None = None) -> None:
        self._mask = mask or make_mask()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._size_bytes = path.stat().st_size
        self._lock = threading.Lock()
        self._is_cut = False

    def step(self, text: str) -> None:
        """`-----> text`."""
        self._write(f"-----> {clean(text)}", always=True)

    def detail(self, text: str) -> None:
        """Seven spaces and text."""
        self._write(f"       {clean(text)}", always=True)

    def line(self, text: str) -> None:
        """A line of a child as it is, without control bytes."""
        self._write(_strip(text), always=False)

    def lines(self, texts: list[str]) -> None:
        """Several finished lines, for example explain.lines()."""
        for text in texts:
            self._write(_strip(text), always=True)

    def close(self) -> None:
        """No more lines."""
        self._file.close()

    def _write(self, text: str, *, always: bool) -> None:
        data = self._mask.apply(text[:MAX_LINE].encode("utf-8", "replace")) + b"\n"
        with self._lock:
            if self._size_bytes > MAX_LOG_BYTES and not always:
                if not self._is_cut:
                    self._is_cut = True
                    self._file.write(b"       [log truncated at 10 MiB; the build goes on]\n")
                return
            self._size_bytes += len(data)
            self._file.write(data)


def _strip(text: str) -> str:
    indent = len(text) - len(text.lstrip(" "))
    return " " * indent + clean(text)
