"""What all workers share: who is ready, and the counters of /metrics, in one piece of memory made before the fork.

Why: files per process pile up with every restart (prometheus/client_python#275). A slot here belongs to a place, not
to a process: a replaced worker goes on counting where the old one stopped, so counters never fall.

Layout  slots x WORDS unsigned 64-bit words; only the worker that holds a slot writes into it, anyone reads.
        word 0 pid, 1 ready, 2 draining, 3 calls in flight, then requests[route][status], then per route a histogram
        of seconds (buckets, sum in nanoseconds), then one histogram of the model's own seconds.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from bisect import bisect_left

ROUTES = ("predict", "v1", "v2", "algo", "health", "metrics", "page", "none")
STATUSES = (200, 202, 400, 404, 405, 406, 411, 413, 415, 422, 429, 500, 501, 503, 504)
OTHER_STATUS = len(STATUSES)
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)

_PID, _READY, _DRAINING, _IN_FLIGHT = range(4)
_REQUESTS = 4
_HISTOGRAM_WORDS = len(BUCKETS_S) + 2
_HISTOGRAMS = _REQUESTS + len(ROUTES) * (len(STATUSES) + 1)
_PREDICT = _HISTOGRAMS + len(ROUTES) * _HISTOGRAM_WORDS
_WORDS = _PREDICT + _HISTOGRAM_WORDS
_BUCKETS_NS = tuple(int(bound * 1e9) for bound in BUCKETS_S)
_STATUS_INDEX = {status: index for index, status in enumerate(STATUSES)}
_ROUTE_INDEX = {route: index for index, route in enumerate(ROUTES)}


class Board:
    """Made by the parent; each worker takes a slot after its fork."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        # Twice as many slots as workers: an old worker may still drain while its replacement serves.
        self.slot_count = 2 * workers
        size = self.slot_count * _WORDS * 8
        # A file without a name, so that it can also be locked; the lock is a process's own, the memory everybody's.
        self._file = os.memfd_create("board")
        os.ftruncate(self._file, size)
        self._memory = mmap.mmap(self._file, size)
        self._words = memoryview(self._memory).cast("Q")
        self._base = 0
        self._lock = threading.Lock()

    def take_slot(self) -> None:
        """In the worker: hold the first slot whose process is gone, so that two never write to one.

        The lowest free slot: a place that is used again keeps the sums of the one before.
        """
        self._lock = threading.Lock()  # the parent's may be held at the instant of the fork
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            free = [base for base in self._bases() if not _is_alive(self._words[base + _PID])]
            if not free:
                raise RuntimeError("no free slot: more workers than were planned")
            self._base = free[0]
            self._words[self._base + _READY : self._base + _REQUESTS] = memoryview(bytes(24)).cast("Q")
            self._words[self._base + _PID] = os.getpid()
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def set_ready(self) -> bool:
        """This worker is loaded and warm. Returns True when with it every worker is."""
        self._words[self._base + _READY] = 1
        return self.is_ready

    def set_draining(self) -> None:
        """This worker has been told to stop: readiness says no from now on."""
        self._words[self._base + _DRAINING] = 1

    @property
    def is_draining(self) -> bool:
        """True once this worker drains."""
        return bool(self._words[self._base + _DRAINING])

    @property
    def is_ready(self) -> bool:
        """Every planned worker is loaded, and this one does not stop. Zero workers are never ready."""
        return 0 < self.workers <= self.ready_count and not self.is_draining

    @property
    def ready_count(self) -> int:
        """Workers that are loaded, warm, alive, and not stopping."""
        return sum(
            1
            for base in self._bases()
            if self._words[base + _READY] and not self._words[base + _DRAINING] and _is_alive(self._words[base + _PID])
        )

    def pids(self) -> list[int]:
        """Workers that live now."""
        return [pid for base in self._bases() if _is_alive(pid := self._words[base + _PID])]

    def enter(self) -> None:
        """A request begins."""
        with self._lock:
            self._words[self._base + _IN_FLIGHT] += 1

    def leave(self, route: str, status: int, total_ns: int, predict_ns: int | None) -> None:
        """A request ends. Times in nanoseconds; predict_ns None when the model was not asked."""
        index = _ROUTE_INDEX.get(route, len(ROUTES) - 1)
        counter = self._base + _REQUESTS + index * (len(STATUSES) + 1) + _STATUS_INDEX.get(status, OTHER_STATUS)
        with self._lock:
            self._words[self._base + _IN_FLIGHT] -= 1
            self._words[counter] += 1
            self._observe(self._base + _HISTOGRAMS + index * _HISTOGRAM_WORDS, total_ns)
            if predict_ns is not None:
                self._observe(self._base + _PREDICT, predict_ns)

    def _observe(self, at: int, value_ns: int) -> None:
        self._words[at + bisect_left(_BUCKETS_NS, value_ns)] += 1
        self._words[at + _HISTOGRAM_WORDS - 1] += value_ns

    @property
    def in_flight(self) -> int:
        """Requests of this worker that run now."""
        return self._words[self._base + _IN_FLIGHT]

    def requests(self) -> dict[tuple[str, str], int]:
        """(route, status) to the number of answers, over all workers; statuses beyond the table are 'other'."""
        names = [*map(str, STATUSES), "other"]
        counted = {}
        for route_index, route in enumerate(ROUTES):
            for status_index, name in enumerate(names):
                offset = _REQUESTS + route_index * len(names) + status_index
                total = self._sum(offset)
                if total:
                    counted[route, name] = total
        return counted

    def request_seconds(self, route: str) -> tuple[list[int], float]:
        """Counts per bucket (the last one is above all bounds), and the sum in seconds."""
        return self._histogram(_HISTOGRAMS + _ROUTE_INDEX[route] * _HISTOGRAM_WORDS)

    def predict_seconds(self) -> tuple[list[int], float]:
        """The same of the model's own time."""
        return self._histogram(_PREDICT)

    def all_in_flight(self) -> int:
        """Requests that run now, over all living workers."""
        return sum(self._words[base + _IN_FLIGHT] for base in self._bases() if _is_alive(self._words[base + _PID]))

    def _histogram(self, offset: int) -> tuple[list[int], float]:
        counts = [self._sum(offset + index) for index in range(_HISTOGRAM_WORDS - 1)]
        return counts, self._sum(offset + _HISTOGRAM_WORDS - 1) / 1e9

    def _sum(self, offset: int) -> int:
        return sum(self._words[base + offset] for base in self._bases())

    def _bases(self) -> range:
        return range(0, self.slot_count * _WORDS, _WORDS)


def _is_alive(pid: int) -> bool:
    if pid == 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def proportional_bytes(pid: int) -> int:
    """Memory of a process, pages that it shares divided among their users; resident_bytes where that is not told."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
            return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
    except (OSError, StopIteration, ValueError):
        return resident_bytes(pid)  # another user's process, or an old kernel


def resident_bytes(pid: int) -> int:
    """Memory of a process with all pages that it shares; 0: it is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
