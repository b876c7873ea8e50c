"""`/healthz`: whether pushes and calls are accepted, asked of the other processes at most once a second."""

from __future__ import annotations

import asyncio

from gitserver.errors import Problem
from gitserver.gateway import answers
from gitserver.gateway.answers import Answer
from gitserver.gateway.rendezvous import ask
from gitserver.gateway.upstream import connect_unix
from gitserver.settings import Settings

_FRESH_S = 1.0
_TIMEOUT_S = 2.0


class HealthCheck:
    """Asks worker, control plane and SSH; concurrent callers share one round of questions."""

    def __init__(self, settings: Settings, *, ssh_host: str, ssh_port: int) -> None:
        self._worker_socket = settings.run_dir / "worker.sock"
        self._web_socket = settings.run_dir / "web.sock"
        self._ssh = (ssh_host, ssh_port)
        self._answer: Answer | None = None
        self._asked_at = 0.0
        self._lock = asyncio.Lock()

    async def answer(self) -> Answer:
        """200 or 503, at most _FRESH_S old."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._answer is None or loop.time() - self._asked_at > _FRESH_S:
                found = await asyncio.gather(self._worker(), self._web(), self._ssh_port())
                self._answer = answers.health([part for part in found if part is not None])
                self._asked_at = loop.time()
            return self._answer

    async def _worker(self) -> str | None:
        try:
            await ask(self._worker_socket, {"op": "ping"}, timeout_s=_TIMEOUT_S)
        except Problem:
            return "worker"
        return None

    async def _web(self) -> str | None:
        try:
            connect_unix(str(self._web_socket)).close()
        except OSError:
            return "web"
        return None

    async def _ssh_port(self) -> str | None:
        host, port = self._ssh
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
        except OSError:
            return "ssh"
        return None
