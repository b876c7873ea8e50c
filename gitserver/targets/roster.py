"""Who is here: live instances by name, a lock a name, and ports that stay what they were over restarts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from gitserver.errors import Json
from gitserver.targets.contract import Running
from gitserver.targets.instance import Life


class Resident(Protocol):
    """What a target knows of an instance that it started or adopted. facts: None until it is ready."""

    @property
    def address(self) -> str:
        """Where it is called."""
        ...

    @property
    def facts(self) -> Mapping[str, Json] | None:
        """What it said of itself."""
        ...

    @property
    def life(self) -> Life:
        """Its first process."""
        ...


R = TypeVar("R", bound=Resident)


class Roster(Generic[R]):
    """Threads may use it; nothing in it waits but gate()'s lock, which belongs to the caller."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[str, threading.Lock] = {}
        self._live: dict[str, R] = {}
        self._ports: dict[str, int] = {}
        self._starting: set[str] = set()
        self._unwanted: set[str] = set()

    def gate(self, instance: str) -> threading.Lock:
        """Held while an instance is started or stopped, so that the two never overlap."""
        with self._lock:
            return self._gates.setdefault(instance, threading.Lock())

    def put(self, instance: str, live: R) -> None:
        """It is here."""
        with self._lock:
            self._live[instance] = live

    def get(self, instance: str) -> R | None:
        """None: it is not here."""
        with self._lock:
            return self._live.get(instance)

    def pop(self, instance: str) -> R | None:
        """It is not here any more; its port stays its own."""
        with self._lock:
            return self._live.pop(instance, None)

    def names(self) -> tuple[str, ...]:
        """All that are here or about to be: whoever ends everything must not miss one that is just being started."""
        with self._lock:
            return tuple(sorted({*self._live, *self._starting}))

    def all(self) -> list[R]:
        """The same as values."""
        with self._lock:
            return list(self._live.values())

    @contextmanager
    def starting(self, instance: str) -> Iterator[None]:
        """While it is being started, and put() may still be to come."""
        with self._lock:
            self._starting.add(instance)
        try:
            yield
        finally:
            with self._lock:
                self._starting.discard(instance)

    @contextmanager
    def stopping(self, instance: str) -> Iterator[None]:
        """gate() for one who ends it: a start that is under way sees is_unwanted(), and lets go."""
        with self._lock:
            self._unwanted.add(instance)
        with self.gate(instance):
            with self._lock:
                self._unwanted.discard(instance)
            yield

    def is_unwanted(self, instance: str) -> bool:
        """Somebody waits to end it."""
        with self._lock:
            return instance in self._unwanted

    def is_alive(self, instance: str) -> bool:
        """Its first process runs."""
        live = self.get(instance)
        return live is not None and live.life.is_alive()

    def find(self, instance: str) -> Running | None:
        """The instance if it is ready now."""
        live = self.get(instance)
        if live is None or live.facts is None or not live.life.is_alive():
            return None
        return Running(instance=instance, address=live.address, facts=live.facts)

    def port(self, instance: str) -> int:
        """The instance's port on 127.0.0.1: chosen once, the same until forget_port()."""
        with self._lock:
            if instance not in self._ports:
                taken = set(self._ports.values())
                self._ports[instance] = next(port for port in iter(free_port, None) if port not in taken)
            return self._ports[instance]

    def adopt_port(self, instance: str, address: str) -> None:
        """One that an earlier worker chose, by its address; others than `tcp:` have none."""
        if address.startswith("tcp:"):
            with self._lock:
                self._ports[instance] = int(address.rpartition(":")[2])

    def forget_port(self, instance: str) -> None:
        """The next start may choose another."""
        with self._lock:
            self._ports.pop(instance, None)


def free_port() -> int:
    """A port that was free a moment ago; a web process is told to take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
