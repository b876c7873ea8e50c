"""Constant load over kept connections: counts what was lost, never tries a call twice."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(slots=True)
class Tally:
    """What one client saw. answers: JSON text of the reply -> how often."""

    answers: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    reconnects: int = 0


class Load:
    """`with Load(...) as load:` keeps n connections busy; afterwards load.lost and load.answers are final.

    A lost call is any that did not get status 200: a refused or reset connection, an error status, a cut answer.
    The one exception is the exception that HTTP makes: when the server announced `Connection: close` with an
    answer, the next call opens a new connection.
    """

    def __init__(self, url: str, token: str, body: Any, *, connections: int = 8, pause_s: float = 0.0) -> None:
        self._host, _, path = url.removeprefix("http://").partition("/")
        self._path, self._body, self._pause_s = "/" + path, json.dumps(body).encode(), pause_s
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._stop = threading.Event()
        self._tallies = [Tally() for _ in range(connections)]
        self._threads = [threading.Thread(target=self._client, args=(tally,), daemon=True) for tally in self._tallies]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a call hangs"

    def _client(self, tally: Tally) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=40)
        try:
            while not self._stop.is_set():
                was_open = connection.sock is not None
                try:
                    connection.request("POST", self._path, self._body, self._headers)
                    reply = connection.getresponse()
                    content = reply.read()
                except (OSError, http.client.HTTPException) as error:
                    tally.lost.append(f"{type(error).__name__}: {error} (kept connection: {was_open})")
                    connection.close()
                    time.sleep(0.01)
                    continue
                if reply.status == 200:
                    tally.answers[content.decode()] += 1
                else:
                    tally.lost.append(f"{reply.status} {content[:200]!r}")
                if reply.will_close:
                    tally.reconnects += 1
                if self._pause_s:
                    time.sleep(self._pause_s)
        finally:
            connection.close()

    @property
    def lost(self) -> list[str]:
        """One line for each lost call."""
        return [line for tally in self._tallies for line in tally.lost]

    @property
    def answers(self) -> Counter[str]:
        """Reply -> how many calls got it."""
        return sum((tally.answers for tally in self._tallies), Counter())

    @property
    def count(self) -> int:
        """Calls that were answered with 200."""
        return self.answers.total()
