"""Where collections are asked for: one at a time, in a thread, for a large store takes longer than a request may.

The last report stays until the next collection ends, so that whoever asked can fetch it over a new connection.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from buildpacks.order import BuildFailed
from gitserver import explain
from gitserver.errors import Failure, Json, Problem
from gitserver.gc.collection import Report

_LOG = logging.getLogger("algo.gc")


class CollectionDesk:
    """The worker's. Threads may call it."""

    def __init__(self, collect: Callable[[bool], Report]) -> None:
        """collect: dry run or not -> what went."""
        self._collect = collect
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._number = 0
        self._report: dict[str, Json] | None = None
        self._trouble = ""

    def begin(self, *, dry_run: bool) -> dict[str, Json]:
        """Start a collection; the state of it. Raises Problem('gc-busy') while another one is under way."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise Problem("gc-busy", collection=self._number)
            self._number += 1
            self._report, self._trouble = None, ""
            self._thread = threading.Thread(target=self._run, args=(dry_run,), name="gc", daemon=True)
            self._thread.start()
        return self.state()

    def state(self) -> dict[str, Json]:
        """{"collection": number, "running", "report": {...} or null, "trouble": a sentence or ''} of the last one."""
        with self._lock:
            is_running = self._report is None and not self._trouble and self._number > 0
            return {
                "collection": self._number, "running": is_running, "report": self._report, "trouble": self._trouble,
            }  # fmt: skip

    def _run(self, dry_run: bool) -> None:
        report: dict[str, Json] | None = None
        trouble = ""
        try:
            report = self._collect(dry_run).document()
        except (Problem, BuildFailed) as error:
            failure = error.failure if isinstance(error, Problem) else Failure(code=error.code, fields=error.fields)
            trouble = explain.sentence(failure)
        except Exception as error:  # noqa: BLE001 -- logged with its trace and told to whoever asked; the worker lives
            _LOG.exception("the collection ended early")
            trouble = str(error) or type(error).__name__
        with self._lock:
            self._report, self._trouble = report, trouble
