"""The audit: who did what, when, one JSON object a line, on the disk before the answer goes out.

Why     an attacker's newline must not forge a row, and a crash must not lose one: the line is ASCII JSON, written
        in one append and synced. Values of configuration and secrets never come here, names of them do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from gitserver.accounts.auth import utc_now
from gitserver.errors import Json

_MAX_TEXT = 2000  # of one field: a row stays one page, whatever a client sends


class Audit:
    """An append-only file of rows. Several processes may append to the same one."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._clock = clock

    def write(self, action: str, *, actor: str, **fields: Json) -> None:
        """Append a row and return when the disk has it.

        action  noun and verb: `app.create`, `config.set`
        actor   a principal's name, or `server`
        Raises  OSError when the disk refuses: an action that leaves no trace must not be reported as done
        """
        row = {"at": self._clock().isoformat(), "action": action, "actor": actor, **fields}
        line = json.dumps({name: _bounded(value) for name, value in row.items()}, ensure_ascii=True) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            data = line.encode("ascii")
            written = os.write(descriptor, data)  # one write: rows of two processes never mix
            if written != len(data):
                raise OSError(f"audit row cut after {written} of {len(data)} bytes")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _bounded(value: Json) -> Json:
    return value[:_MAX_TEXT] + "…" if isinstance(value, str) and len(value) > _MAX_TEXT else value
