"""Tables of the ledger. A change here needs a migration beside it (migrations/versions); a test compares the two.

Rules of this file
1. Releases, versions and config versions are only ever added.
2. Times are UTC. Names of constraints are fixed, so that a migration can name them on every database.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

HEAD = "0001"  # the migration that this schema is


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A point in time, aware and UTC on both sides, on databases that know no time zones too."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Refuse naive times: they would be read back as another moment."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("naive time")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _at(name: str = "created_at", *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UtcTime, nullable=nullable)


def _ref(name: str, table: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, sa.ForeignKey(f"{table}.id"), nullable=nullable, index=True)


principals = sa.Table(
    "principals", metadata, _id(), sa.Column("name", sa.String(40), nullable=False, unique=True), _at()
)

tokens = sa.Table(
    "tokens", metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    _ref("principal_id", "principals"),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("label", sa.String(200), nullable=False),
    sa.Column("last4", sa.String(4), nullable=False),
    _at(), _at("expires_at", nullable=True), _at("revoked_at", nullable=True),
)  # fmt: skip

ssh_keys = sa.Table(
    "ssh_keys", metadata, _id(), _ref("principal_id", "principals"),
    sa.Column("fingerprint", sa.String(100), nullable=False, unique=True),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("label", sa.String(200), nullable=False),
    _at(),
)  # fmt: skip

# AUTOINCREMENT: an app's id is its user id and its folders; one that was destroyed is never given again.
apps = sa.Table(
    "apps", metadata, _id(),
    sa.Column("owner", sa.String(40), nullable=False),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("is_public", sa.Boolean, nullable=False),
    _at(), _at("destroyed_at", nullable=True),
    sa.Index("uq_apps_live", "owner", "name", unique=True,
             sqlite_where=sa.text("destroyed_at IS NULL"), postgresql_where=sa.text("destroyed_at IS NULL")),
    sqlite_autoincrement=True,
)  # fmt: skip

configs = sa.Table(
    "configs", metadata, _id(), _ref("app_id", "apps"),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("values", sa.JSON, nullable=False),
    sa.Column("actor", sa.String(80), nullable=False),
    sa.Column("why", sa.String(400), nullable=False),
    _at(),
    sa.UniqueConstraint("app_id", "scope", "number"),
)  # fmt: skip

environments = sa.Table(
    "environments", metadata, _id(), _ref("app_id", "apps"),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("branch", sa.String(200), nullable=False),
    sa.Column("release_id", sa.Integer, nullable=True),
    _at(), _at("expires_at", nullable=True), _at("removed_at", nullable=True),
    sa.Index("uq_environments_live", "app_id", "kind", "branch", unique=True,
             sqlite_where=sa.text("removed_at IS NULL"), postgresql_where=sa.text("removed_at IS NULL")),
)  # fmt: skip

builds = sa.Table(
    "builds", metadata, _id(), _ref("app_id", "apps"),
    sa.Column("env_kind", sa.String(16), nullable=False),
    sa.Column("branch", sa.String(200), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("git_ref", sa.String(250), nullable=False),
    sa.Column("old", sa.String(40), nullable=False),
    sa.Column("new", sa.String(40), nullable=False),
    sa.Column("commit", sa.String(40), nullable=False),
    sa.Column("actor", sa.String(80), nullable=False),
    sa.Column("group", sa.String(64), nullable=True, index=True),
    sa.Column("quarantine", sa.String(64), nullable=True),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("image_digest", sa.String(80), nullable=True),
    sa.Column("release_id", sa.Integer, nullable=True),
    sa.Column("failure", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("superseded_by", sa.Integer, nullable=True),
    sa.Column("cancelled_by", sa.String(80), nullable=True),
    _at(), _at("started_at", nullable=True), _at("ended_at", nullable=True),
)  # fmt: skip

images = sa.Table(
    "images", metadata, _id(), _ref("app_id", "apps"),
    sa.Column("digest", sa.String(80), nullable=False, index=True),
    sa.Column("commit", sa.String(40), nullable=False, index=True),
    sa.Column("config", sa.JSON, nullable=False),
    _at(),
    sa.UniqueConstraint("app_id", "digest", "commit"),
)  # fmt: skip

releases = sa.Table(
    "releases", metadata, _id(), _ref("app_id", "apps"), _ref("environment_id", "environments"),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("image_digest", sa.String(80), nullable=False),
    sa.Column("commit", sa.String(40), nullable=False),
    sa.Column("version_tag", sa.String(200), nullable=True),
    sa.Column("config_version", sa.Integer, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("actor", sa.String(80), nullable=False),
    sa.Column("why", sa.String(40), nullable=False),
    sa.Column("build_id", sa.Integer, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    _at(),
    sa.UniqueConstraint("environment_id", "number"),
)  # fmt: skip

versions = sa.Table(
    "versions", metadata, _id(), _ref("app_id", "apps"),
    sa.Column("tag", sa.String(200), nullable=False),
    sa.Column("object_oid", sa.String(40), nullable=False),
    sa.Column("commit", sa.String(40), nullable=False),
    sa.Column("image_digest", sa.String(80), nullable=False),
    sa.Column("config_version", sa.Integer, nullable=False),
    sa.Column("actor", sa.String(80), nullable=False),
    _at(),
    sa.UniqueConstraint("app_id", "tag"),
)  # fmt: skip
