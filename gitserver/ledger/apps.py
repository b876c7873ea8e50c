"""Apps, their configuration, their environments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from gitserver.errors import Problem
from gitserver.ledger import rows
from gitserver.ledger.base import Rows, now
from gitserver.ledger.records import App, ConfigVersion, Environment, EnvKind
from gitserver.ledger.schema import apps, configs, environments
from gitserver.push import AppName


class AppRows(Rows):
    """What exists."""

    def create_app(self, name: AppName) -> App:
        """A new app. Raises Problem('app-exists')."""
        values = {"owner": name.owner, "name": name.app, "is_public": False, "created_at": now(), "destroyed_at": None}
        try:
            with self._write() as db:
                return rows.app(db.execute(sa.insert(apps).values(values).returning(apps)).mappings().one())
        except sa.exc.IntegrityError as error:
            raise Problem("app-exists", app=str(name)) from error

    def find_app(self, name: AppName) -> App | None:
        """The living app of that name."""
        query = sa.select(apps).where(
            apps.c.owner == name.owner, apps.c.name == name.app, apps.c.destroyed_at.is_(None)
        )
        with self._read() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else rows.app(row)

    def app(self, app_id: int) -> App | None:
        """The living app of that id."""
        query = sa.select(apps).where(apps.c.id == app_id, apps.c.destroyed_at.is_(None))
        with self._read() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else rows.app(row)

    def apps(self, owner: str) -> list[App]:
        """An owner's apps by name."""
        query = sa.select(apps).where(apps.c.owner == owner, apps.c.destroyed_at.is_(None)).order_by(apps.c.name)
        with self._read() as db:
            return [rows.app(row) for row in db.execute(query).mappings().all()]

    def set_public(self, app_id: int, is_public: bool) -> None:
        """Whether calls need a token."""
        with self._write() as db:
            db.execute(sa.update(apps).where(apps.c.id == app_id).values(is_public=is_public))

    def destroy_app(self, app_id: int) -> None:
        """The name is free again and nothing is routed to it; its rows stay as history."""
        with self._write() as db:
            live = sa.and_(environments.c.app_id == app_id, environments.c.removed_at.is_(None))
            db.execute(sa.update(environments).where(live).values(removed_at=now()))
            db.execute(sa.update(apps).where(apps.c.id == app_id).values(destroyed_at=now()))

    def destroyed_apps(self) -> list[int]:
        """Ids of apps that are gone, whose folders may still be there after a crash."""
        with self._read() as db:
            return list(db.execute(sa.select(apps.c.id).where(apps.c.destroyed_at.is_not(None))).scalars())

    def config(self, app_id: int, scope: EnvKind) -> ConfigVersion:
        """Today's configuration; number 0 and no values when it was never set."""
        query = sa.select(configs).where(configs.c.app_id == app_id, configs.c.scope == scope.value)
        with self._read() as db:
            row = db.execute(query.order_by(configs.c.number.desc()).limit(1)).mappings().first()
        if row is not None:
            return rows.config(row)
        return ConfigVersion(app_id=app_id, scope=scope, number=0, values={}, actor="", why="", created_at=now())

    def config_version(self, app_id: int, scope: EnvKind, number: int) -> ConfigVersion | None:
        """The configuration as it was at that number."""
        query = sa.select(configs).where(
            configs.c.app_id == app_id, configs.c.scope == scope.value, configs.c.number == number
        )
        with self._read() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else rows.config(row)

    def add_config(
        self, app_id: int, scope: EnvKind, values: Mapping[str, str], *, actor: str, why: str
    ) -> ConfigVersion:
        """The complete new configuration (not a delta) under the next number."""
        with self._write() as db:
            highest = sa.select(sa.func.coalesce(sa.func.max(configs.c.number), 0)).where(
                configs.c.app_id == app_id, configs.c.scope == scope.value
            )
            number = db.execute(highest).scalar_one() + 1
            row = {
                "app_id": app_id, "scope": scope.value, "number": number, "values": dict(values),
                "actor": actor, "why": why, "created_at": now(),
            }  # fmt: skip
            return rows.config(db.execute(sa.insert(configs).values(row).returning(configs)).mappings().one())

    def environment(self, app_id: int, kind: EnvKind, branch: str, *, create: bool = False) -> Environment | None:
        """The living environment of a branch; made when create says so."""
        query = sa.select(environments).where(
            environments.c.app_id == app_id, environments.c.kind == kind.value,
            environments.c.branch == branch, environments.c.removed_at.is_(None),
        )  # fmt: skip
        with self._read() as db:
            row = db.execute(query).mappings().first()
        if row is None and create:
            values = {"app_id": app_id, "kind": kind.value, "branch": branch, "created_at": now()}
            with self._write() as db:
                row = db.execute(query).mappings().first()
                if row is None:
                    row = db.execute(sa.insert(environments).values(values).returning(environments)).mappings().one()
        return None if row is None else rows.environment(row)

    def environment_by_id(self, environment_id: int) -> Environment | None:
        """The living environment of that id."""
        query = sa.select(environments).where(environments.c.id == environment_id, environments.c.removed_at.is_(None))
        with self._read() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else rows.environment(row)

    def environments(self, app_id: int) -> list[Environment]:
        """An app's living environments, oldest first."""
        return self._environments(environments.c.app_id == app_id)

    def all_environments(self) -> list[Environment]:
        """Every living environment: what must serve after a restart."""
        return self._environments(sa.true())

    def touch_environment(self, environment_id: int, expires_at: datetime | None) -> None:
        """Move the end of a preview's life."""
        query = sa.update(environments).where(environments.c.id == environment_id)
        with self._write() as db:
            db.execute(query.values(expires_at=expires_at))

    def remove_environment(self, environment_id: int) -> None:
        """Nothing is routed there any more; its releases stay as history."""
        query = sa.update(environments).where(environments.c.id == environment_id, environments.c.removed_at.is_(None))
        with self._write() as db:
            db.execute(query.values(removed_at=now()))

    def _environments(self, condition: sa.ColumnElement[bool]) -> list[Environment]:
        query = sa.select(environments).where(condition, environments.c.removed_at.is_(None))
        with self._read() as db:
            return [rows.environment(row) for row in db.execute(query.order_by(environments.c.id)).mappings().all()]
