"""gunicorn, started by a program instead of a command line: one application object, no configuration file.

The load is in load(), which gunicorn calls in the parent before the fork (preload) or in each worker after it. In
both cases a failure ends the whole server with its reason: a model that does not load never looks like a running one.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from .board import Board, resident_bytes
from .deadline import LoadDeadline, process_age_s
from .failure import BootFailed, Json, write_json
from .front import Front
from .loading import Loaded, load_model, loaded_modules
from .service import Service
from .settings import RunSettings
from .worker import DrainingWorker, leave_at_once_when_stuck

KEEPALIVE_S = 75
BACKLOG = 2048
GRACE_S = 30
# Threads beyond those that ask the model: so many calls may wait for it, and health is still answered at once.
SPARE_THREADS = 60
# gunicorn ends a server whose application failed to load with this status.
LOAD_FAILED_STATUS = 4


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """settings and board are read by the workers; service is there once the model is loaded."""

    def __init__(self, settings: RunSettings, *, preload: bool, report: Callable[[BootFailed], None]) -> None:
        self.settings, self.preload, self._report = settings, preload, report
        self.board = Board(settings.workers)
        self.service: Service | None = None
        self._pid = os.getpid()  # that of the parent of all workers
        super().__init__()

    def load_config(self) -> None:
        """Every setting that is not gunicorn's default, and only those that this version of it knows."""
        settings = self.settings
        shared_memory = "/dev/shm"  # noqa: S108 -- gunicorn's heartbeat files: a disk would stall them
        wanted: dict[str, Any] = {
            "bind": settings.bind,
            "workers": settings.workers,
            # As text: gunicorn before 24 does not take the class itself.
            "worker_class": f"{DrainingWorker.__module__}.{DrainingWorker.__qualname__}",
            "threads": settings.threads + SPARE_THREADS,
            "worker_connections": BACKLOG,
            "preload_app": self.preload,
            "keepalive": KEEPALIVE_S,
            "backlog": BACKLOG,
            "graceful_timeout": int(GRACE_S + settings.drain_delay_s),
            # The loop answers the parent beside the model's threads; only code that holds the interpreter stops it.
            "timeout": int(settings.deadline_s) + 30,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": "warning",
            "http_parser": "python",  # the C parser lets bare LF and folded headers through
            "control_socket_disable": True,  # it would be opened below $HOME
            "worker_tmp_dir": shared_memory if os.access(shared_memory, os.W_OK) else None,
            "umask": 0o177 if settings.unix_path else 0,
            "post_fork": _post_fork,
            "post_worker_init": _post_worker_init,
            "worker_exit": _worker_exit,
        }
        for name, value in wanted.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Front:
        """Load the model once per process that loads; never returns without one."""
        settings = self.settings
        try:
            with LoadDeadline(settings.load_deadline_s, settings.app_dir, self._end_late, self._pid):
                loaded = self._loaded()
        except BootFailed as exc:
            self._report(exc)
            sys.exit(LOAD_FAILED_STATUS)
        self.service = Service(self.settings, loaded, self.board)
        return Front(self.service)

    def _end_late(self, exc: BootFailed) -> None:
        """From the deadline's thread: what hangs cannot be asked to stop, so the process ends under it."""
        self._report(exc)
        os._exit(LOAD_FAILED_STATUS)

    def _loaded(self) -> Loaded:
        # The collector would touch, and so copy, every page that workers share; what a load makes is not garbage.
        gc.disable()
        loaded = load_model(self.settings)
        gc.collect()
        gc.freeze()
        if not self.preload:
            gc.enable()
        return loaded

    def facts(self) -> dict[str, Json]:
        """What ALGO_READY_FILE says."""
        service = self.service
        if service is None:
            raise RuntimeError("facts are asked for before the load")
        loaded = service.loaded
        return {
            "load_s": round(loaded.load_s, 4),
            "import_s": round(loaded.import_s, 4),
            "predict_ms": None if loaded.predict_ms is None else round(loaded.predict_ms, 3),
            # One worker with the pages that it shares: exact shares take the kernel 10 ms to count, /metrics has them.
            "memory_mib": round(resident_bytes(os.getpid()) / 2**20, 1),
            "model": loaded.model.title,
            "sample": loaded.sample,
            "cases": loaded.cases,
            "warning": loaded.warning,
            "started_s": round(process_age_s(self._pid), 3),
            "imports": list(loaded_modules()),
        }


def _post_fork(_arbiter: Any, worker: Any) -> None:
    worker.app.board.take_slot()


def _post_worker_init(worker: Any) -> None:
    gc.enable()
    server: Server = worker.app
    if server.board.set_ready() and server.settings.ready_path is not None:
        write_json(server.settings.ready_path, server.facts())


def _worker_exit(_arbiter: Any, worker: Any) -> None:
    leave_at_once_when_stuck(worker)
