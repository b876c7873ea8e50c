"""Opens the ledger's database and brings it to today's schema.

SQLite is used by several processes at once: write-ahead log, a busy wait, and every write transaction begins
IMMEDIATE, because a deferred one that upgrades from read to write fails at once instead of waiting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gitserver.errors import Problem
from gitserver.ledger.schema import HEAD


def open_engine(url: str) -> sa.Engine:
    """An engine on a ledger of today's schema; makes or migrates it when it is older.

    Raises  Problem('ledger-too-new') when a newer server wrote it: going on could lose what it knows
    """
    engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        _use_write_ahead_log(engine)
    _migrate(engine)
    return engine


def _use_write_ahead_log(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's begin event below says when a transaction starts
        cursor = connection.cursor()
        for pragma in ("busy_timeout=20000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        read_only = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _migrate(engine: sa.Engine) -> None:
    found = _revision(engine)
    if found == HEAD:
        return
    from alembic import command  # 0.2 s that only the first start pays
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        if _revision_on(connection) == HEAD:  # another process was quicker
            return
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise Problem("ledger-too-new", found=str(found), known=HEAD) from error


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect().execution_options(read_only=True) as connection:
        return _revision_on(connection)


def _revision_on(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
