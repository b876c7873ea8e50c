"""What must go from an engine, once it answers: containers that nobody wants, networks that nobody is in.

Why  an engine that is down must not make stop() fail or wait; what could not be removed then is removed later
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Collection

from gitserver.errors import Problem
from gitserver.targets.containers import Engine
from gitserver.targets.docker_plan import INSTANCE_LABEL, Naming

_LOG = logging.getLogger("algo.docker")
_AGAIN_S = 1.0


class Leftovers:
    """Removes containers now, or as soon as the engine lets it."""

    def __init__(self, engine: Engine, naming: Naming) -> None:
        self._engine, self._naming = engine, naming
        self._lock = threading.Lock()
        self._doomed: set[str] = set()
        self._spared: frozenset[str] | None = None
        self._made: set[str] = set()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def spare(self, name: str) -> None:
        """A container of that name is this worker's own, made now: a sweep that comes late leaves it alone."""
        with self._lock:
            self._made.add(name)

    def remove(self, container: str) -> None:
        """Killed and gone; later, when the engine does not answer now. container: an id, for names come back."""
        with self._lock:
            self._doomed.add(container)
        self._try_or_wait()

    def sweep(self, adopted: Collection[str]) -> None:
        """Remove what an earlier worker of this server left, but for these instances. Others' containers stay."""
        with self._lock:
            self._spared = frozenset(adopted)
        self._try_or_wait()

    def close(self) -> None:
        """No further tries."""
        self._closed.set()

    def _try_or_wait(self) -> None:
        try:
            self._carry_out()
        except Problem as problem:
            _LOG.warning("containers are removed later: %s", problem)
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="leftovers", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(_AGAIN_S):
            try:
                self._carry_out()
            except Problem as problem:
                _LOG.debug("not yet: %s", problem)
                continue
            with self._lock:
                if not self._doomed and self._spared is None:
                    self._thread = None
                    return

    def _carry_out(self) -> None:
        with self._lock:
            doomed, spared = set(self._doomed), self._spared
        for container in doomed:
            self._engine.remove(container)
            with self._lock:
                self._doomed.discard(container)
        if spared is None:
            return
        for state in self._engine.containers(self._naming.all_instances()):
            with self._lock:
                is_ours_now = state.name in self._made
            if not is_ours_now and state.labels.get(INSTANCE_LABEL) not in spared:
                self._engine.remove(state.id)
        with self._lock:
            if self._spared is spared:
                self._spared = None


class Networks:
    """An app's network is there while an instance of the app is."""

    def __init__(self, engine: Engine, naming: Naming) -> None:
        self._engine, self._naming = engine, naming
        self._lock = threading.Lock()
        self._gates: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
        self._apps: dict[str, int] = {}  # instance -> the app whose network it is in

    def adopt(self, app_id: int, instance: str) -> None:
        """It is in already."""
        with self._lock:
            self._apps[instance] = app_id

    def join(self, app_id: int, instance: str) -> None:
        """The network exists and stays until leave(). Raises Problem of the engine."""
        with self._gate(app_id):
            self.adopt(app_id, instance)
            self._engine.ensure_network(self._naming.network(app_id), self._naming.network_labels(app_id))

    def leave(self, instance: str) -> None:
        """The last one out takes the network along; one that the engine still holds on to stays for the next."""
        with self._lock:
            app_id = self._apps.get(instance)
        if app_id is None:
            return
        with self._gate(app_id):
            with self._lock:
                self._apps.pop(instance, None)
                is_last = app_id not in self._apps.values()
            if not is_last:
                return
            try:
                self._engine.remove_network(self._naming.network(app_id))
            except Problem as problem:
                _LOG.info("the network of app %s stays: %s", app_id, problem)

    def _gate(self, app_id: int) -> threading.Lock:
        # Held over two calls to the engine: a network must not go between somebody's look at it and their joining.
        with self._lock:
            return self._gates[app_id]
