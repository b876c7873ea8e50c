"""What all client connections share: the route table, the plans made of it, pools, addresses, deadlines."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from gitserver.errors import Problem
from gitserver.gateway import answers
from gitserver.gateway.answers import Answer
from gitserver.gateway.client import Client
from gitserver.gateway.entries import OnDemand, Serving
from gitserver.gateway.exchange import NotReachable
from gitserver.gateway.health import HealthCheck
from gitserver.gateway.ondemand import OnDemandStarts, explain_failure
from gitserver.gateway.plan import Call, CallPlace, Plan, Rules, Web, make_plan
from gitserver.gateway.table import RouteTable
from gitserver.gateway.upstream import Pool, Pools

BUFFER_BYTES = 128 * 1024  # of one read; with the transports' high water this bounds what a connection holds
SWEEP_S = 1.0
_MAX_KEPT_PLANS = 2048
_MAX_KEPT_HEAD_BYTES = 2048
_TIDY_EVERY = 10  # sweeps


class Front:
    """One per gateway; lives on its event loop's thread."""

    def __init__(
        self,
        *,
        rules: Rules,
        run_dir: Path,
        health_check: HealthCheck,
        starts: OnDemandStarts,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.loop = loop
        self.view = memoryview(bytearray(BUFFER_BYTES))
        self.pools = Pools(loop)
        self.starts = starts
        self.clients: set[Client] = set()
        self.is_closing = False
        self.table = RouteTable()
        self._rules = rules
        self._run_dir = run_dir
        self._web_address = f"unix:{run_dir / 'web.sock'}"
        self._health_check = health_check
        self._plans: dict[bytes, Call] = {}
        self._addresses: dict[str, str] = {}
        self._id_prefix = secrets.token_hex(6).encode()
        self._ids = itertools.count(1)
        self._sweeps = 0
        self._timer: asyncio.TimerHandle | None = None

    def use(self, table: RouteTable, addresses: Mapping[str, str]) -> None:
        """From now on new calls are routed by this table. addresses: instance -> address, where known."""
        self.table = table
        self._plans = {}
        self._addresses = dict(addresses)

    def plan(self, raw: bytes) -> Plan:
        """What is done about a request's head, remembered for the same bytes while the table holds."""
        known = self._plans.get(raw)
        now = time.time()
        if known is not None and now < known.valid_until:
            return known
        plan = make_plan(raw, self.table, self._rules, now)
        if isinstance(plan, Call) and len(raw) <= _MAX_KEPT_HEAD_BYTES:
            if len(self._plans) >= _MAX_KEPT_PLANS:
                self._plans.clear()  # heads that never repeat must not grow the memory; the hot ones are back at once
            self._plans[raw] = plan
        return plan

    def make_request_id(self) -> bytes:
        """An id that no other request of this machine's has."""
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def find_pool(self, place: CallPlace) -> Pool | None:
        """The pool of a place whose address is known."""
        if isinstance(place, Serving):
            address = self._addresses.get(place.instance)
        elif isinstance(place, Web):
            address = self._web_address
        else:
            address = self.starts.find(place)
        return self.pools.of(address) if address is not None else None

    async def locate(self, place: CallPlace, app: str, *, is_algorithmia: bool) -> str:
        """The address of a place, which may have to be started first.

        Raises  OSError when it is not there now, NotReachable when waiting is of no use
        """
        if isinstance(place, Web):
            return self._web_address
        if isinstance(place, Serving):
            # a restarted process may listen elsewhere; the target writes this file whenever it is ready
            address = read_endpoint(self._run_dir, place.instance)
            self._addresses[place.instance] = address
            return address
        try:
            return await self.starts.wake(place)
        except Problem as problem:
            named = f"{app}@{place.label}"
            why = explain_failure(problem)
            raise NotReachable(answers.not_started(named, why, is_algorithmia=is_algorithmia)) from problem

    def doubt(self, place: CallPlace, address: str) -> None:
        """Nobody listens there: look again before the next try."""
        if isinstance(place, Serving) and self._addresses.get(place.instance) == address:
            del self._addresses[place.instance]
        elif isinstance(place, OnDemand):
            self.starts.forget(address)

    async def health(self) -> Answer:
        """The answer to `/healthz`."""
        return await self._health_check.answer()

    def start_sweeping(self) -> None:
        """Begin to look after deadlines."""
        self._timer = self.loop.call_later(SWEEP_S, self._sweep)

    def stop_sweeping(self) -> None:
        """No deadline fires any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _sweep(self) -> None:
        self._timer = self.loop.call_later(SWEEP_S, self._sweep)
        now = self.loop.time()
        for client in [client for client in self.clients if client.deadline_at < now]:
            client.expire()
        self._sweeps += 1
        if self._sweeps % _TIDY_EVERY == 0:
            self.pools.tidy()
            self.starts.tidy(now)


def read_endpoint(run_dir: Path, instance: str) -> str:
    """The address that the target wrote when the instance got ready. Raises OSError."""
    text = (run_dir / "instances" / instance / "endpoint").read_text(encoding="utf-8").strip()
    if not text.startswith(("unix:/", "tcp:")):
        raise FileNotFoundError(f"no address in the endpoint file of {instance}")
    return text
