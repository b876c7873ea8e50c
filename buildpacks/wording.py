"""How one failure of a build is told. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How one code is told: a title of a few words, what happened, what to do, whose move (pusher|operator|nobody)."""

    title: str
    body: str
    next: str
    move: str = "pusher"
