"""Keeps the route table true to the ledger: read in a thread, swapped in one step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from gitserver.gateway.front import Front, read_endpoint
from gitserver.gateway.table import RouteTable
from gitserver.ledger.records import Snapshot

POLL_S = 2.0
_LOG = logging.getLogger(__name__)


class Reloader:
    """Reads snapshots. A reload() that returns has read the ledger after it was called."""

    def __init__(self, front: Front, read_snapshot: Callable[[], Snapshot], *, run_dir: Path, domain: str) -> None:
        self._front = front
        self._read_snapshot = read_snapshot
        self._run_dir = run_dir
        self._domain = domain
        self._lock = asyncio.Lock()
        self._started = 0  # reads begun so far
        self._snapshot: Snapshot | None = None
        self._addresses: dict[str, str] = {}

    async def reload(self) -> None:
        """Route new calls by the ledger as it is now. Raises what reading the ledger raises."""
        needed = self._started + 1
        async with self._lock:
            if self._started >= needed:
                return  # somebody else's read began after this call
            self._started += 1
            snapshot, table, addresses = await asyncio.to_thread(self._read)
            if table is not None:
                self._snapshot, self._addresses = snapshot, addresses
                self._front.use(table, addresses)

    def _read(self) -> tuple[Snapshot, RouteTable | None, dict[str, str]]:
        snapshot = self._read_snapshot()
        table = self._front.table if snapshot == self._snapshot else RouteTable.from_snapshot(snapshot, self._domain)
        addresses: dict[str, str] = {}
        for instance in table.instances():
            try:
                addresses[instance] = read_endpoint(self._run_dir, instance)
            except OSError:
                continue  # not ready: the first call looks again and waits for it
        if snapshot == self._snapshot and addresses == self._addresses:
            return snapshot, None, addresses
        return snapshot, table, addresses

    async def poll(self) -> None:
        """Reload for ever: nobody's message is relied on to arrive."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.reload()
            except Exception as error:  # noqa: BLE001 -- the ledger may be locked or moving; the old table serves on
                _LOG.warning("the ledger cannot be read, the routes stay as they are: %s", error)
