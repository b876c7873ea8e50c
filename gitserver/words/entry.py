"""How one failure is told."""

from __future__ import annotations

from dataclasses import dataclass

from gitserver.errors import Move

# The end of every body whose failure leaves the running release alone.
STAYS = "What served before goes on serving."


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How one code is told.

    title   a few words for `! [remote rejected] main -> main (...)`
    body    what happened; next: what to do about it; move: whose it is
    status  of the HTTP API
    """

    title: str
    body: str
    next: str
    move: Move = Move.PUSHER
    status: int = 400
