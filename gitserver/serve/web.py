"""The control plane's process: gunicorn and Flask on a Unix socket; only the gateway talks to it."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

from gunicorn.app.base import BaseApplication

from gitserver.serve.component import begin
from gitserver.settings import Settings
from gitserver.wiring import make_web

_THREADS = 64  # a push holds one for as long as its build takes; the rest are short


class Web(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn, configured by us and by nobody's environment or file."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        super().__init__()

    def load_config(self) -> None:
        """One process, many threads: the state that matters is in the ledger."""
        options = {
            "bind": f"unix:{self._settings.run_dir / 'web.sock'}",
            "worker_class": "gthread",
            "threads": _THREADS,
            "workers": 1,
            "umask": 0o177,
            "timeout": 120,  # of the worker's heartbeat, not of a request
            "graceful_timeout": max(1, int(self._settings.drain_s)),
            "keepalive": 75,
            "limit_request_line": 8190,
            "loglevel": "warning",
            "post_worker_init": self._say_goodbye,
            "control_socket_disable": True,
        }
        for name, value in options.items():
            if name in self.cfg.settings:  # control_socket_disable came with gunicorn 25
                self.cfg.set(name, value)

    def load(self) -> object:
        """In the worker, after the fork: no connection of the ledger is shared between processes."""
        return make_web(self._settings, self._stopping)

    def _say_goodbye(self, worker: object) -> None:  # noqa: ARG002 -- gunicorn calls it with one
        """gunicorn's hook in the worker: its SIGTERM handler is set by now, and ours goes first."""
        before = signal.getsignal(signal.SIGTERM)

        def stop(number: int, frame: FrameType | None) -> None:
            self._stopping.set()
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, stop)


if __name__ == "__main__":
    Web(begin("web", sys.argv)).run()
