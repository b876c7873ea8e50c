"""Versions and commits that nothing serves yet: the worker starts them for a call, once for all who wait.

Rules of this file
1. Concurrent calls of one image share one wake; a client that leaves does not end the start for the others.
2. A start that failed is not tried again for RETRY_S: calls in a loop must not become starts in a loop.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from gitserver.errors import Failure, Problem
from gitserver.explain import title
from gitserver.gateway.entries import OnDemand
from gitserver.gateway.rendezvous import ask
from gitserver.ledger.records import EnvKind

RETRY_S = 5.0
_Key = tuple[int, str, EnvKind]


class OnDemandStarts:
    """Which images run on demand, and where. For one event loop."""

    def __init__(self, worker_socket: Path, *, timeout_s: float) -> None:
        self._worker_socket = worker_socket
        self._timeout_s = timeout_s
        self._awake: dict[_Key, str] = {}
        self._starting: dict[_Key, asyncio.Task[str | Failure]] = {}
        self._failed: dict[_Key, tuple[float, Failure]] = {}

    def find(self, place: OnDemand) -> str | None:
        """Its address, if it is known to run."""
        return self._awake.get(_key(place))

    async def wake(self, place: OnDemand) -> str:
        """Its address, after starting it where needed. Raises Problem with the cause why it does not run."""
        key = _key(place)
        address = self._awake.get(key)
        if address is not None:
            return address
        now = asyncio.get_running_loop().time()
        failed = self._failed.get(key)
        if failed is not None and failed[0] > now:
            raise _problem(failed[1])
        task = self._starting.get(key)
        if task is None:
            task = self._starting[key] = asyncio.create_task(self._start(place))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Failure):
            raise _problem(outcome)
        return outcome

    async def _start(self, place: OnDemand) -> str | Failure:
        key = _key(place)
        loop = asyncio.get_running_loop()
        try:
            answer = await ask(
                self._worker_socket,
                {
                    "op": "wake",
                    "app_id": place.app_id,
                    "image": place.image,
                    "scope": place.scope.value,
                    "label": place.label,
                },
                timeout_s=self._timeout_s,
            )
            address, failure = answer.get("address"), answer.get("failure")
            if isinstance(address, str):
                self._failed.pop(key, None)
                self._awake[key] = address
                return address
            if not isinstance(failure, dict):
                raise Problem("component-down", component="worker", detail="neither address nor failure")
            outcome = Failure.from_json(failure)
        except Problem as problem:
            outcome = problem.failure
        except (KeyError, TypeError) as error:
            outcome = Failure(code="component-down", fields={"component": "worker", "detail": str(error)})
        finally:
            del self._starting[key]
        self._failed[key] = (loop.time() + RETRY_S, outcome)
        return outcome

    def forget(self, address: str) -> None:
        """The address is going or gone: the next call asks the worker again."""
        for key in [key for key, known in self._awake.items() if known == address]:
            del self._awake[key]

    def tidy(self, now: float) -> None:
        """Forget failures that no longer hold. now: loop seconds."""
        for key in [key for key, (until, _) in self._failed.items() if until <= now]:
            del self._failed[key]

    async def close(self) -> None:
        """End the waits that are left."""
        tasks = list(self._starting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _key(place: OnDemand) -> _Key:
    return place.app_id, place.image, place.scope


def _problem(failure: Failure) -> Problem:
    return Problem(failure.code, log=failure.log, **failure.fields)


def explain_failure(problem: Problem) -> str:
    """The few words for a caller."""
    return title(problem.failure)
