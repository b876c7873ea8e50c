"""Code that never comes back from its import or its load is named by its line, just before it would be stopped.

Why a thread: what hangs may be in C, where no signal handler of Python runs. The thread is gone before the fork, for
the kernel too: a process with two threads would be started a second time (boot.py).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from .failure import BootFailed

# What is left to whoever waits: to read why. A fifth of a short limit, a second of a long one.
SHARE, LONGEST_MARGIN_S = 0.2, 1.0
_GONE_S = 0.5


class LoadDeadline:
    """A context around the load: late(BootFailed) is called from another thread when the time is up.

    limit_s  counted from the start of the process server_pid, as whoever waits for it counts; 0: no limit
    """

    def __init__(self, limit_s: float, app_dir: Path, late: Callable[[BootFailed], None], server_pid: int) -> None:
        self._limit_s, self._app_dir, self._late, self._server_pid = limit_s, app_dir, late, server_pid
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._watched = threading.get_ident()

    def __enter__(self) -> None:
        if self._limit_s > 0:
            self._thread = threading.Thread(target=self._watch, name="load deadline", daemon=True)
            self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        thread = self._thread
        if thread is None:
            return
        self._over.set()
        thread.join()
        # join() returns a moment before the kernel's thread ends, and that one is what boot.py counts.
        gone_at = time.monotonic() + _GONE_S
        while Path(f"/proc/self/task/{thread.native_id}").exists() and time.monotonic() < gone_at:
            time.sleep(0.0005)

    def _watch(self) -> None:
        margin_s = min(LONGEST_MARGIN_S, self._limit_s * SHARE)
        if not self._over.wait(max(0.0, self._limit_s - margin_s - process_age_s(self._server_pid))):
            frames = sys._current_frames()  # underscored, and documented: the only way to see another thread's stack
            self._late(describe_hang(frames.get(self._watched), self._app_dir, self._limit_s))


def describe_hang(frame: FrameType | None, app_dir: Path, limit_s: float) -> BootFailed:
    """load-timeout with the user's innermost line, or the library that runs when no line of the user's is below it."""
    places: list[tuple[str, int, str]] = []
    innermost = frame
    while frame is not None:
        file = os.path.realpath(frame.f_code.co_filename)
        if Path(file).is_relative_to(app_dir):
            places.append((str(Path(file).relative_to(app_dir)), frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    if places:
        file, line, _ = places[0]
        log = [f'  File "{name}", line {number}, in {function}' for name, number, function in reversed(places)]
        return BootFailed(
            "load-timeout", log=("Still running (your own lines):", *log), at=f"{file} line {line}", file=file,
            line=line, seconds=round(limit_s),
        )  # fmt: skip
    module = str(innermost.f_globals.get("__name__", "")).partition(".")[0] if innermost is not None else ""
    return BootFailed(
        "load-timeout", at=f"the package {module}" if module else "the load", file="", line=0, seconds=round(limit_s)
    )


def process_age_s(pid: int) -> float:
    """Seconds since the kernel started (or forked) that process. Source: proc(5), stat field 22."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    ticks = int(stat.rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
