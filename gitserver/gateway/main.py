"""The gateway process: listens, routes, and stops without losing a call."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Callable

from gitserver.gateway.client import Client
from gitserver.gateway.control import make_answerer
from gitserver.gateway.front import Front
from gitserver.gateway.health import HealthCheck
from gitserver.gateway.ondemand import OnDemandStarts
from gitserver.gateway.plan import Rules
from gitserver.gateway.reload import Reloader
from gitserver.gateway.rendezvous import answer_at
from gitserver.ledger.records import Snapshot
from gitserver.ledger.store import Ledger
from gitserver.settings import Address, Settings

_BACKLOG = 2048
_IDLE_GRACE_S = 0.5  # a request may be under way on a connection that looks idle
_WAKE_MARGIN_S = 30.0  # the worker's own deadline ends first and has the better words


class Gateway:
    """A running gateway."""

    def __init__(self, settings: Settings, read_snapshot: Callable[[], Snapshot]) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self.starts = OnDemandStarts(
            settings.run_dir / "worker.sock", timeout_s=settings.ready_timeout_s + _WAKE_MARGIN_S
        )
        self.front = Front(
            rules=Rules(
                max_body_bytes=settings.max_body_bytes,
                scheme=b"https" if settings.url.startswith("https:") else b"http",
            ),
            run_dir=settings.run_dir,
            health_check=HealthCheck(settings, ssh_host=settings.ssh.host, ssh_port=settings.ssh.port),
            starts=self.starts,
            loop=loop,
        )
        self.reloader = Reloader(self.front, read_snapshot, run_dir=settings.run_dir, domain=settings.domain)
        self._servers: list[asyncio.Server] = []
        self._poll: asyncio.Task[None] | None = None

    async def start(self) -> Address:
        """Read the ledger, then listen; the address that clients reach (its port, when 0 was asked for)."""
        await self.reloader.reload()
        self.front.start_sweeping()
        self._poll = asyncio.create_task(self.reloader.poll())
        self._servers.append(
            await answer_at(self._settings.run_dir / "gateway.sock", make_answerer(self.front, self.reloader))
        )
        wanted = self._settings.http
        public = await self.front.loop.create_server(
            lambda: Client(self.front), wanted.host, wanted.port, backlog=_BACKLOG
        )
        self._servers.append(public)
        return Address(host=wanted.host, port=public.sockets[0].getsockname()[1])

    async def stop(self) -> int:
        """Stop accepting, let running calls finish for drain_s; the number that did not."""
        self.front.is_closing = True
        for server in reversed(self._servers):
            server.close()
        loop = self.front.loop
        deadline_at = loop.time() + self._settings.drain_s
        await asyncio.sleep(_IDLE_GRACE_S)
        for client in list(self.front.clients):
            client.close_idle()
        while self.front.clients and loop.time() < deadline_at:
            await asyncio.sleep(0.05)
        left = len(self.front.clients)
        for client in list(self.front.clients):
            client.transport.abort()
        if self._poll is not None:
            self._poll.cancel()
            await asyncio.gather(self._poll, return_exceptions=True)
        self.front.stop_sweeping()
        self.front.pools.tidy(older_than_s=0.0)
        await self.starts.close()
        await asyncio.sleep(0)  # closed transports say goodbye in the loop's next round
        return left


async def run_gateway(settings: Settings, ledger: Ledger) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gateway = Gateway(settings, ledger.snapshot)
    await gateway.start()
    await stop.wait()
    await gateway.stop()


def run(settings: Settings) -> None:
    """The process's whole life: opens the ledger, serves, returns after a clean stop."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:  # every call holds two descriptors, and 1024 is the usual soft limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ledger = Ledger.open(settings.ledger_url)
    try:
        asyncio.run(run_gateway(settings, ledger))
    finally:
        ledger.close()
