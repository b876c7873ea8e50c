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
from dataclasses import dataclass, replace
from enum import Enum

from gitserver.errors import Problem
from gitserver.targets.contract import Spec

_LOG = logging.getLogger("algo.keeper")
FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S = 0.1, 60.0, 60.0
_LOOK_S = 0.1


class Action(Enum):
    """What an instance needs now."""

    NOTHING = "nothing"
    NOTE_END = "note its end, and plan the next start"
    START = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarts:
    """How often in a row an instance ended.

    count       ends since it last ran steadily
    ready_at    when it was last known to be ready, seconds of the keeper's clock
    due_at      when it will be started again; None while it runs
    is_starting a thread is at it: what it looks like meanwhile means nothing
    """

    count: int = 0
    ready_at: float = 0.0
    due_at: float | None = None
    is_starting: bool = False


def next_action(restarts: Restarts, *, is_alive: bool, now: float) -> Action:
    """The whole decision, from counts and clock."""
    if restarts.is_starting:
        return Action.NOTHING
    if restarts.due_at is None:
        return Action.NOTHING if is_alive else Action.NOTE_END
    return Action.START if now >= restarts.due_at else Action.NOTHING


def after_end(before: Restarts, *, ended_at: float) -> Restarts:
    """When to start again: 0.1 s after the first end, twice as long after each further one, 60 s at most.

    An instance that ran for 60 s had recovered: its next end counts as a first one. A start that failed is an end.
    """
    count = 0 if ended_at - before.ready_at >= STEADY_S and not before.is_starting else before.count
    pause_s = min(FIRST_PAUSE_S * 2.0 ** min(count, 30), LONGEST_PAUSE_S)
    return Restarts(count=count + 1, ready_at=before.ready_at, due_at=ended_at + pause_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the keeper may do with instances; the target's own methods."""

    is_alive: Callable[[str], bool]
    start: Callable[[Spec], bool]  # False: it was not wanted any more. Raises Problem
    look: Callable[[], None]
    how_it_ended: Callable[[str], str]
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
            self._restarts[spec.instance] = Restarts(ready_at=self._clock())

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
            except Exception:  # noqa: BLE001 -- a full disk, say: keeping must not end with it
                _LOG.exception("the keeper goes on")

    def _look(self) -> None:
        with self._lock:
            specs = list(self._specs.values())
        for spec in specs:
            with self._lock:
                restarts = self._restarts.get(spec.instance)
            if restarts is None:
                continue
            now = self._clock()
            match next_action(restarts, is_alive=self._kept.is_alive(spec.instance), now=now):
                case Action.NOTE_END:
                    self._plan(spec, restarts, self._kept.how_it_ended(spec.instance))
                case Action.START:
                    self._set(spec.instance, replace(restarts, due_at=None, is_starting=True))
                    self._restart(spec)
                case Action.NOTHING:
                    pass

    def _plan(self, spec: Spec, restarts: Restarts, how: str) -> None:
        now = self._clock()
        planned = after_end(restarts, ended_at=now)
        self._kept.event(spec, f"{how}; starting again in {(planned.due_at or now) - now:.1f} s")
        self._set(spec.instance, planned)

    def _restart(self, spec: Spec) -> None:
        # In a thread: one model that takes a minute to load must not keep the others from being looked at.
        thread = threading.Thread(target=self._start, args=(spec,), name=f"restart-{spec.instance}", daemon=True)
        thread.start()

    def _start(self, spec: Spec) -> None:
        why = "the server failed to start it"
        try:
            if self._kept.start(spec):
                self._kept.event(spec, "runs again")
            with self._lock:
                restarts = self._restarts.get(spec.instance)
                if restarts is not None:
                    self._restarts[spec.instance] = Restarts(count=restarts.count, ready_at=self._clock())
            return
        except Problem as problem:
            why = f"did not start again: {problem}"
        except Exception:  # noqa: BLE001 -- the next try may find a disk that is not full
            _LOG.exception("restart of %s", spec.instance)
        with self._lock:
            restarts = self._restarts.get(spec.instance)
        if restarts is not None:
            self._plan(spec, restarts, why)

    def _set(self, instance: str, restarts: Restarts) -> None:
        with self._lock:
            if instance in self._specs:
                self._restarts[instance] = restarts
