"""How many pushes of one principal are received at once: the rest wait their turn, kept alive, their pack unread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gitserver.errors import Problem

RECEIVING_AT_ONCE = 2  # contracts/security.md, limits: per key
_WAIT_S = 30 * 60.0


class PushSlots:
    """Turns by principal id. One for a process."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken: dict[int, int] = {}

    @contextmanager
    def hold(self, principal_id: int) -> Iterator[None]:
        """A turn while a pack is read. Raises Problem('too-many-pushes', limit=) after half an hour of waiting."""
        with self._free:
            if not self._free.wait_for(lambda: self._taken.get(principal_id, 0) < RECEIVING_AT_ONCE, _WAIT_S):
                raise Problem("too-many-pushes", limit=RECEIVING_AT_ONCE)
            self._taken[principal_id] = self._taken.get(principal_id, 0) + 1
        try:
            yield
        finally:
            with self._free:
                self._taken[principal_id] -= 1
                if self._taken[principal_id] == 0:
                    del self._taken[principal_id]
                self._free.notify_all()
