"""The ledger's door: one object, four subjects. Thread-safe; several processes may hold one each."""

from __future__ import annotations

from gitserver.ledger.accounts import AccountRows
from gitserver.ledger.apps import AppRows
from gitserver.ledger.builds import BuildRows
from gitserver.ledger.engine import open_engine
from gitserver.ledger.releases import ReleaseRows


class Ledger(AccountRows, AppRows, BuildRows, ReleaseRows):
    """Everything that is remembered. Each method is one transaction and answers frozen records."""

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open, make or migrate the ledger at a SQLAlchemy URL. Raises Problem('ledger-too-new')."""
        return cls(open_engine(url))

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()
