"""One container, watched: its output moves into the instance's log, and its end is noted with its status.

Rules of this file
1. The engine's own log is the source, so that nothing is lost while no worker runs. How far it was read stands beside
   the log: the engine's time of the last line, and how many lines of just that time there were.
2. Only this thread waits for the engine: an engine that hangs or restarts holds nobody else up.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitserver.errors import Problem
from gitserver.targets.containers import ContainerState, Engine
from gitserver.targets.instance import Folder

_LOG = logging.getLogger("algo.docker")
_AGAIN_S = 0.5  # between looks at an engine that does not answer, or at a stream that ended too early
_SIGNALLED, _LAST_SIGNAL = 128, 64  # exit statuses of what a signal ended, by the convention of shells and engines


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a container ended. status: its exit status, negative for a signal; None when nobody can say any more."""

    status: int | None
    was_oom: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTo:
    """How far an engine's log was read: the time of the last line, and the lines of that very time."""

    at: datetime
    count: int

    def __str__(self) -> str:
        return f"{self.at.isoformat()} {self.count}\n"


def parse_read_to(text: str) -> ReadTo | None:
    """What str() of it made; None for anything else, which reads from the start."""
    at, _, count = text.strip().partition(" ")
    try:
        return ReadTo(at=datetime.fromisoformat(at), count=int(count))
    except ValueError:
        return None


def exit_status(code: int) -> int:
    """An engine's exit code as subprocess tells it: 137 is -9."""
    return _SIGNALLED - code if _SIGNALLED < code <= _SIGNALLED + _LAST_SIGNAL else code


def ending_of(state: ContainerState | None) -> Ending:
    """From what the engine says; a container that is gone took its status along."""
    if state is None:
        return Ending(status=None, was_oom=False)
    return Ending(status=exit_status(state.exit_status), was_oom=state.was_oom_killed)


class ContainerWatch:
    """A thread over one container, from its start or its adoption to its end."""

    def __init__(self, engine: Engine, container: str, folder: Folder) -> None:
        self._engine, self._container, self._folder = engine, container, folder
        self._closed = threading.Event()
        self._told = threading.Event()  # set while there is nothing to wait for: it ended, or the engine is silent
        self._ending: Ending | None = None
        self._read_to_path = folder.path / "log.read"
        self._thread = threading.Thread(target=self._run, name=f"watch-{folder.path.name}", daemon=True)
        self._thread.start()

    def ending(self, timeout_s: float) -> Ending | None:
        """How it ended, all of its output being in the log then; None: not known in time, or the engine is silent."""
        self._told.wait(timeout_s)
        return self._ending

    def close(self) -> None:
        """Nothing is written to its folder any more, but for the line under way."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                if self._told.is_set():
                    self._engine.inspect(self._container)
                    self._told.clear()
                self._follow()
                state = self._engine.inspect(self._container)
                if state is None or not state.is_running:
                    # An engine's stream may end before it has handed over a container's last lines (20.10, often).
                    self._follow()
                    self._ending = ending_of(state)
                    self._told.set()
                    return
            except Problem as problem:
                # The container may live on without its engine, and its log is there afterwards.
                _LOG.debug("%s: %s", self._container, problem)
                self._told.set()
            except OSError as error:  # a full disk; or the folder went while we wrote, and nobody wants the line
                if not self._closed.is_set():
                    _LOG.warning("the log of %s waits: %s", self._folder.path.name, error)
            self._closed.wait(_AGAIN_S)

    def _follow(self) -> None:
        seen = self._read()
        with _Output(self._folder.log, self._read_to_path) as output:
            skipped = 0
            for at, line in self._engine.follow(self._container, None if seen is None else seen.at):
                if self._closed.is_set():
                    return
                if seen is not None and at < seen.at:
                    continue
                if seen is not None and at == seen.at and skipped < seen.count:
                    skipped += 1
                    continue
                output.write(at, line, before=seen)

    def _read(self) -> ReadTo | None:
        try:
            return parse_read_to(self._read_to_path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


class _Output:
    """The log and the mark of how far it was read, both open while lines come."""

    def __init__(self, log: Path, mark: Path) -> None:
        self._log_path, self._mark_path = log, mark
        self._last: ReadTo | None = None

    def __enter__(self) -> _Output:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._log = os.open(self._log_path, flags | os.O_APPEND, 0o600)
        self._mark = os.open(self._mark_path, flags, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._log)
        os.close(self._mark)

    def write(self, at: datetime, line: bytes, *, before: ReadTo | None) -> None:
        last = self._last or before
        count = last.count + 1 if last is not None and last.at == at else 1
        self._last = ReadTo(at=at, count=count)
        os.write(self._log, line.rstrip(b"\r\n") + b"\n")
        # Isoformat leaves out microseconds of 0, so the text may get shorter: the end of an older one is cut off.
        text = str(self._last).encode()
        os.pwrite(self._mark, text, 0)
        os.ftruncate(self._mark, len(text))
