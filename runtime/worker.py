"""gunicorn's threaded worker, taught to stop without losing a call.

1. After SIGTERM the worker says "not ready" and goes on accepting: for drain_delay seconds on TCP, so that whoever
   routes to it can notice; on a Unix socket until the parent has removed the socket's file, which is exact: after
   that nobody can connect any more, so one last look at the queue of connections finds them all.
2. Only then it stops accepting, and gunicorn's own drain ends running calls and kept connections.
3. A body over the limit is refused by its head, before gunicorn invites it with `100 Continue`.
"""

from __future__ import annotations

import os
import select
import socket
import time
from pathlib import Path
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

# The parent unlinks the socket before it signals its workers; a group signal reaches them first by milliseconds.
UNLINK_WAIT_S = 1.0
LINGER_S = 2.0


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Settings come through gunicorn's configuration object: cfg.env carries none, so the application object does."""

    alive: bool
    _drain_from: float | None = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: begin to drain; a second one changes nothing."""
        del sig, frame
        if self._drain_from is None:
            self._drain_from = time.monotonic()
            self.app.board.set_draining()
            self._wake()

    def notify(self) -> None:
        """Called by gunicorn's loop at least once a second, in every version: the place to end the drain delay."""
        super().notify()
        if self._drain_from is not None and self.alive and self._may_stop_accepting():
            self._accept_waiting()
            self.alive = False

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Refuse by the head what is too large; close after the answer while draining."""
        if self._drain_from is not None:
            req.force_close()
        limit = self.app.settings.max_body_bytes
        for name, value in req.headers:
            if name == "CONTENT-LENGTH" and value.isdigit() and int(value) > limit:
                _refuse_unread(conn.sock, limit)
                return False
        return super().handle_request(req, conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> Any:
        """Wait shorter while a drain delay runs, so that it ends on time."""
        return super().wait_for_and_dispatch_events(timeout if self._drain_from is None else min(timeout, 0.02))

    def _may_stop_accepting(self) -> bool:
        elapsed = time.monotonic() - (self._drain_from or 0.0)
        path: str | None = self.app.settings.unix_path
        delay_s: float = self.app.settings.drain_delay_s
        if path is not None:
            gone = not Path(path).exists()
            return elapsed >= delay_s and (gone or elapsed > UNLINK_WAIT_S)
        return elapsed >= delay_s

    def _accept_waiting(self) -> None:
        for listener in self.sockets:
            while select.select([listener], [], [], 0)[0]:
                # The poller's own callback: its signature differs between versions of gunicorn, its use does not.
                self.poller.get_key(listener).data(listener)

    def _wake(self) -> None:
        queue = getattr(self, "method_queue", None)
        if queue is not None:
            queue.defer(_nothing)


def _nothing() -> None:
    """Only wakes the loop."""


def _refuse_unread(sock: socket.socket, limit_bytes: int) -> None:
    """Answer 413 and close, reading on briefly: a close with unread bytes would reset the answer away."""
    body = b'{"error":"the body is larger than %d bytes, the limit of this server"}' % limit_bytes
    head = b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n"
    sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    sock.shutdown(socket.SHUT_WR)
    deadline_at = time.monotonic() + LINGER_S
    sock.settimeout(0.2)
    while time.monotonic() < deadline_at:
        try:
            if not sock.recv(65536):
                return
        except OSError:
            return


def leave_at_once_when_stuck(worker: Any) -> None:
    """gunicorn's worker_exit hook: the interpreter would wait for ever for a thread whose call never ends."""
    service = worker.app.service
    if service is not None and service.watchdog.stuck_count:
        os._exit(0)
