"""What the four subjects of the ledger share: an engine and two ways to use it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime

import sqlalchemy as sa


class Rows:
    """One subject's queries."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def _write(self) -> AbstractContextManager[sa.Connection]:
        return self._engine.begin()

    def _read(self) -> AbstractContextManager[sa.Connection]:
        return self._engine.connect().execution_options(read_only=True)


def now() -> datetime:
    """This moment; rows are stamped by the server that writes them."""
    return datetime.now(UTC)
