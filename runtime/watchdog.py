"""Ends calls that outlive their deadline: the caller gets a 504, the stuck worker is replaced.

Why a thread of its own: Python cannot interrupt the thread that runs the user's code, and handing every call to
another thread would cost each of them two context switches. So the watchdog answers in the stuck thread's place, on
its socket, and shuts the socket: what the thread writes later goes nowhere.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

TICK_S = 0.2
# A call that ends this soon after its deadline costs no worker.
RECYCLE_AFTER_S = 5.0
FINISH_OTHERS_S = 10.0


class Watch:
    """One call under a deadline. expired: the watchdog has answered it."""

    __slots__ = ("deadline_at", "expired", "reply", "socket")

    def __init__(self, sock: socket.socket | None, deadline_at: float, reply: bytes) -> None:
        self.socket, self.deadline_at, self.reply, self.expired = sock, deadline_at, reply, False


class Watchdog:
    """deadline_at: time.monotonic() seconds. in_flight: how many requests of this worker run now, stuck ones too."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._in_flight = in_flight
        self._watches: set[Watch] = set()
        self._stuck: dict[Watch, float] = {}
        self._lock = threading.Lock()
        self._started = False

    def begin(self, watch: Watch) -> None:
        """Watch a call from now on. The thread starts with the first one, so it is never lost by a fork."""
        with self._lock:
            self._watches.add(watch)
            if self._started:
                return
            self._started = True
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def end(self, watch: Watch) -> bool:
        """The call is over. Returns False when the watchdog has answered in the meantime."""
        with self._lock:
            self._watches.discard(watch)
            self._stuck.pop(watch, None)
            return not watch.expired

    @property
    def stuck_count(self) -> int:
        """Calls that run on after their deadline."""
        return len(self._stuck)

    def _run(self) -> None:
        while True:
            time.sleep(TICK_S)
            now = time.monotonic()
            with self._lock:
                due = [watch for watch in self._watches if watch.deadline_at <= now]
                for watch in due:
                    watch.expired = True
                    self._watches.discard(watch)
                    self._stuck[watch] = now
                hopeless = any(now - since > RECYCLE_AFTER_S for since in self._stuck.values())
            for watch in due:
                _answer(watch)
            if hopeless:
                self._recycle()

    def _recycle(self) -> None:
        """Stop accepting, let the others finish, and leave: the parent starts a fresh worker from its loaded model."""
        print("worker: a call runs on after its deadline; this worker is replaced", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        deadline_at = time.monotonic() + FINISH_OTHERS_S
        while self._in_flight() > self.stuck_count and time.monotonic() < deadline_at:
            time.sleep(TICK_S)
        os._exit(0)


def _answer(watch: Watch) -> None:
    if watch.socket is None:
        return
    try:
        watch.socket.sendall(watch.reply)
        watch.socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the caller is gone: nobody waits for this answer
