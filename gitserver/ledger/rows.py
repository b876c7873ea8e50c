"""Database rows to frozen records: the only code that knows both."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gitserver.errors import Failure
from gitserver.ledger import records as r
from gitserver.push import AppName

Row = sa.RowMapping


def principal(row: Row) -> r.Principal:
    """A row of principals."""
    return r.Principal(**_only(row, r.Principal))


def token(row: Row) -> r.Token:
    """A row of tokens."""
    return r.Token(**_only(row, r.Token))


def ssh_key(row: Row) -> r.SshKey:
    """A row of ssh_keys."""
    return r.SshKey(**_only(row, r.SshKey))


def app(row: Row) -> r.App:
    """A row of apps."""
    name = AppName(owner=row["owner"], app=row["name"])
    return r.App(id=row["id"], name=name, is_public=row["is_public"], created_at=row["created_at"])


def environment(row: Row) -> r.Environment:
    """A row of environments."""
    return r.Environment(**{**_only(row, r.Environment), "kind": r.EnvKind(row["kind"])})


def config(row: Row) -> r.ConfigVersion:
    """A row of configs."""
    return r.ConfigVersion(**{**_only(row, r.ConfigVersion), "scope": r.EnvKind(row["scope"])})


def build(row: Row) -> r.Build:
    """A row of builds."""
    values = _only(row, r.Build)
    values["env_kind"] = r.EnvKind(row["env_kind"])
    values["kind"] = r.BuildKind(row["kind"])
    values["state"] = r.BuildState(row["state"])
    values["failure"] = None if row["failure"] is None else Failure.from_json(row["failure"])
    return r.Build(**values)


def image(row: Row) -> r.Image:
    """A row of images."""
    return r.Image(**_only(row, r.Image))


def release(row: Row) -> r.Release:
    """A row of releases."""
    return r.Release(**_only(row, r.Release))


def version(row: Row) -> r.Version:
    """A row of versions."""
    return r.Version(**_only(row, r.Version))


def _only(row: Row, record: type) -> dict[str, Any]:
    return {name: row[name] for name in record.__dataclass_fields__}  # type: ignore[attr-defined]  # all are dataclasses
