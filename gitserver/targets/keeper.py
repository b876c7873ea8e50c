"""Keeps instances running: notices an end at once, starts again with growing pauses, moves logs, watches memory.

Rules of this file
1. What to do after an end is decided by a pure function of counts and clock; the thread only carries it out.
2. A restart takes the same name and the same address, so nobody else has to know.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gitserver.errors import Problem
from gitserver.targets.contract import Spec

_LOG = logging.getLogger("algo.keeper")
FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S = 0.1, 60.0, 60.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How often in a row an instance ended. count restarts at 0 after it ran steadily."""

    count: int = 0
    started_at: float = 0.0
    due_at: float | None = None


def after_end(before: Restarts, *, ended_at: float) -> Restarts:
    """When to start again: 0.1 s after the first end, twice as long after each further one, 60 s at most.

    An instance that ran for 60 s had recovered: its next end counts as a first one.
    """
    count = 0 if ended_at - before.started_at >= STEADY_S else before.count
    pause_s = min(FIRST_PAUSE_S * 2**count, LONGEST_PAUSE_S)
    return Restarts(count=count + 1, started_at=before.started_at, due_at=ended_at + pause_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the keeper may do with instances; the target's own methods."""

    is_alive: Callable[[str], bool]
    start: Callable[[Spec], None]
    look: Callable[[], None]
    event: Callable[[Spec, str], None]


class Keeper:
    """A thread over the instances that must run."""

    def __init__(self, kept: Kept, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept, self._clock = kept, clock
        self._lock = threading.Lock()
        self._specs: dict[str, Spec] = {}
        self._restarts: dict[str, Restarts] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def keep(self, spec: Spec) -> None:
        """From now on it must run."""
        with self._lock:
            self._specs[spec.instance] = spec
            self._restarts[spec.instance] = Restarts(started_at=self._clock())

    def forget(self, instance: str) -> None:
        """Its end is meant."""
        with self._lock:
            self._specs.pop(instance, None)
            self._restarts.pop(instance, None)

    def is_kept(self, instance: str) -> bool:
        """Whether it must run."""
        with self._lock:
            return instance in self._specs

    def stop(self) -> None:
        """No further restarts; instances stay as they are."""
        self._stopping.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            try:
                self._kept.look()
                self._look()
            except OSError:
                _LOG.exception("the keeper goes on")  # a full disk, say: keeping must not end with it

    def _look(self) -> None:
        with self._lock:
            specs = list(self._specs.values())
        now = self._clock()
        for spec in specs:
            with self._lock:
                restarts = self._restarts.get(spec.instance)
            if restarts is None:
                continue
            if restarts.due_at is None:
                if not self._kept.is_alive(spec.instance):
                    planned = after_end(restarts, ended_at=now)
                    self._kept.event(spec, f"ended; starting again in {(planned.due_at or now) - now:.1f} s")
                    self._set(spec.instance, planned)
            elif now >= restarts.due_at:
                self._set(spec.instance, Restarts(count=restarts.count, started_at=now, due_at=None))
                self._restart(spec)

    def _restart(self, spec: Spec) -> None:
        # In a thread: one model that takes a minute to load must not keep the others from being looked at.
        thread = threading.Thread(target=self._start, args=(spec,), name=f"restart-{spec.instance}", daemon=True)
        thread.start()

    def _start(self, spec: Spec) -> None:
        try:
            self._kept.start(spec)
        except Problem as problem:
            self._kept.event(spec, f"did not start again: {problem}")
            return
        self._kept.event(spec, "runs again")

    def _set(self, instance: str, restarts: Restarts) -> None:
        with self._lock:
            if instance in self._specs:
                self._restarts[instance] = restarts
