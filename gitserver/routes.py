"""The worker's side of the gateway: say that routes changed, wait until an old address is quiet."""

from __future__ import annotations

from pathlib import Path

from gitserver.errors import Problem
from gitserver.wire import ask


class GatewayRoutes:
    """Talks to the gateway over its socket. A gateway that is down routes nothing and will read the ledger anew."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path

    def reload(self) -> None:
        """Returns when new calls go where the ledger says now.

        A gateway that does not answer is being started again and reads the same ledger before its first call,
        so its absence is no reason to refuse a release.
        """
        try:
            ask(self._path, {"op": "reload"}, timeout_s=10)
        except Problem as problem:
            if problem.failure.code != "component-down":
                raise

    def drain(self, address: str, *, deadline_s: float) -> int:
        """Wait until no call to the address runs; the number of calls that still ran at the deadline."""
        try:
            answer = ask(
                self._path, {"op": "drain", "address": address, "deadline_s": deadline_s}, timeout_s=deadline_s + 5
            )
        except Problem:
            return 0  # no gateway, no calls
        in_flight = answer.get("in_flight", 0)
        return in_flight if isinstance(in_flight, int) else 0

    def last_calls(self) -> dict[str, float] | None:
        """Seconds since the last call to each address ended; None when the gateway cannot say."""
        try:
            answer = ask(self._path, {"op": "idle"}, timeout_s=5)
        except Problem:
            return None
        found = answer.get("last_call_s")
        if not isinstance(found, dict):
            return None
        return {address: float(value) for address, value in found.items() if isinstance(value, (int, float))}
