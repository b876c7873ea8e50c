"""A launcher that waits for the next build: its interpreter runs, and our lifecycle's modules are loaded.

Rules of this file
1. It holds nothing of any app, and serves one build: what it becomes ends with that build.
2. It is started by a thread that lives as long as the worker: a build's children get a signal when the thread that
   started them ends (PR_SET_PDEATHSIG).
3. A build never waits for one: where none is ready, an interpreter is started as ever.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from gitserver.targets.spawn import LAUNCHER, Waiting

_LOG = logging.getLogger("algo.ready")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script of ours, and the interpreter that runs it: `python -I -S path ARGUMENT`."""

    python: Path
    path: Path

    def is_run_by(self, argv: list[str]) -> bool:
        """Whether a command runs it, with one argument."""
        return argv[:-1] == [str(self.python), "-I", "-S", str(self.path)]


class ReadyLauncher:
    """At most one at a time. Threads may call it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._waiting: Waiting | None = None
        self._thread = threading.Thread(target=self._keep, name="ready-launcher", daemon=True)
        self._thread.start()
        self.refill()

    def take(self) -> Waiting | None:
        """The one that waits, for its only build; None: none is ready."""
        with self._lock:
            taken, self._waiting = self._waiting, None
        if taken is not None and taken.process.poll() is not None:
            taken.close()
            return None
        return taken

    def refill(self) -> None:
        """Start the next, in the background: called when a build has ended, so that it takes no time from one."""
        self._wanted.set()

    def _keep(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._waiting is not None:
                continue
            try:
                started = start_waiting(self.script)
            except OSError as error:
                _LOG.warning("no interpreter waits for the next build: %s", error)
                continue
            with self._lock:
                self._waiting = started


def start_waiting(script: Script) -> Waiting:
    """A launcher without a plan. It ends by itself when this process does."""
    plan_read, plan_write = os.pipe()
    report_read, report_write = os.pipe()
    try:
        process = subprocess.Popen(
            [str(script.python), "-I", "-S", str(LAUNCHER), str(plan_read), str(report_write), str(script.path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=(plan_read, report_write), env={"LC_ALL": "C.UTF-8"}, cwd="/", start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(plan_read)
        os.close(report_write)
    return Waiting(process=process, plan_end=plan_write, report_end=report_read)
