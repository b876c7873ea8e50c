"""The two ends that a receive session talks to: the client's wire, and the desk where builds are handed in. Pure.

Why     the session is the same over HTTP and SSH, in the server and in its tests; these Protocols are all it asks for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gitserver.accounts.audit import Audit
from gitserver.accounts.auth import Accounts
from gitserver.errors import Failure
from gitserver.ledger.records import Build, NewBuild
from gitserver.ledger.store import Ledger
from gitserver.remote.slots import PushSlots
from gitserver.settings import Settings


class Wire(Protocol):
    """A client's connection. One thread reads at a time; writes are serialised by the session."""

    def read(self, size: int) -> bytes:
        """At most so many bytes, at least one; b"" at the end. Raises TimeoutError after the idle limit, OSError."""
        ...

    def write(self, data: bytes) -> None:
        """Hand all bytes on. Raises OSError when the client is gone."""
        ...

    def close_read(self) -> None:
        """Nothing more is wanted: a read in another thread ends, and what the client still sends is thrown away."""
        ...

    def set_idle(self, seconds: float) -> None:
        """From the next read on, how long silence is borne."""
        ...


class Verdict(Protocol):
    """How a build ended, as a push reports it. title is the text of `ng`; old and new are what really moved."""

    @property
    def ok(self) -> bool:
        """It serves."""
        ...

    @property
    def title(self) -> str:
        """The cause in a few words; empty when ok."""
        ...

    @property
    def old(self) -> str:
        """Where the ref, or the production release, was before."""
        ...

    @property
    def new(self) -> str:
        """Where it is now."""
        ...

    @property
    def failure(self) -> Failure | None:
        """The cause with its fields; None when ok."""
        ...


class PushDesk(Protocol):
    """Builds from the outside (gitserver/builds.py)."""

    def submit(self, new: Sequence[NewBuild]) -> list[Build]:
        """Durable jobs, all or none."""
        ...

    def follow(self, build_id: int, *, from_start: bool = True) -> Iterator[bytes | None]:
        """Log pieces as they come, None in silence; ends when the build is final."""
        ...

    def verdict(self, build_id: int) -> Verdict:
        """The end of a final build."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteDoors:
    """Everything that the git remote reaches, made once by whoever starts the process.

    stopping  set when the process is asked to end: sessions that only watch a build say so and go
    slots     turns of those who send a pack
    """

    settings: Settings
    ledger: Ledger
    pushes: PushDesk
    accounts: Accounts
    audit: Audit
    stopping: threading.Event = field(default_factory=threading.Event)
    slots: PushSlots = field(default_factory=PushSlots)
