"""Durable jobs: queue, supersede, claim, finish. Every step is one transaction, so a crash leaves a true record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from gitserver.errors import Failure
from gitserver.ledger import rows
from gitserver.ledger.base import Rows, now
from gitserver.ledger.records import Build, BuildState, NewBuild
from gitserver.ledger.schema import builds

_LIVE = (BuildState.QUEUED.value, BuildState.RUNNING.value)


class BuildRows(Rows):
    """What is to be done and what became of it."""

    def enqueue(self, new: Sequence[NewBuild]) -> list[Build]:
        """Add jobs, all or none. A queued (not running) lone job of the same environment is superseded by the newer.

        Members of an atomic group are never superseded singly: the group finishes together or fails together.
        """
        made = []
        with self._write() as db:
            for order in new:
                values = {
                    "app_id": order.app_id, "env_kind": order.env_kind.value, "branch": order.branch,
                    "kind": order.kind.value, "git_ref": order.git_ref, "old": order.old, "new": order.new,
                    "commit": order.commit, "actor": order.actor, "group": order.group,
                    "quarantine": order.quarantine, "options": dict(order.options or {}),
                    "state": BuildState.QUEUED.value, "created_at": now(),
                }  # fmt: skip
                build = rows.build(db.execute(sa.insert(builds).values(values).returning(builds)).mappings().one())
                if order.group is None:
                    self._supersede(db, build)
                made.append(build)
        return made

    @staticmethod
    def _supersede(db: sa.Connection, build: Build) -> None:
        older = sa.update(builds).where(
            builds.c.app_id == build.app_id, builds.c.env_kind == build.env_kind.value,
            builds.c.branch == build.branch, builds.c.git_ref == build.git_ref, builds.c.group.is_(None),
            builds.c.state == BuildState.QUEUED.value, builds.c.id < build.id,
        )  # fmt: skip
        failure = Failure(code="superseded", fields={"build": build.id, "actor": build.actor}).as_json()
        db.execute(
            older.values(state=BuildState.SUPERSEDED.value, superseded_by=build.id, ended_at=now(), failure=failure)
        )

    def build(self, build_id: int) -> Build | None:
        """By id."""
        with self._read() as db:
            row = db.execute(sa.select(builds).where(builds.c.id == build_id)).mappings().first()
        return None if row is None else rows.build(row)

    def builds(self, app_id: int, *, limit: int = 50) -> list[Build]:
        """An app's jobs, newest first."""
        return self._builds(builds.c.app_id == app_id, builds.c.id.desc(), limit)

    def queued(self) -> list[Build]:
        """Waiting jobs, oldest first."""
        return self._builds(builds.c.state == BuildState.QUEUED.value, builds.c.id, None)

    def running(self) -> list[Build]:
        """Jobs that a worker has, or had when it was killed."""
        return self._builds(builds.c.state == BuildState.RUNNING.value, builds.c.id, None)

    def group(self, name: str) -> list[Build]:
        """The jobs of one atomic push, in the order of its refs."""
        return self._builds(builds.c.group == name, builds.c.id, None)

    def ended_since(self, build_id: int) -> list[Build]:
        """Final jobs from that id on."""
        return self._builds(sa.and_(builds.c.id >= build_id, builds.c.state.not_in(_LIVE)), builds.c.id, None)

    def claim(self, build_ids: Sequence[int]) -> bool:
        """QUEUED -> RUNNING for all of them, or for none."""
        query = sa.update(builds).where(builds.c.id.in_(build_ids), builds.c.state == BuildState.QUEUED.value)
        with self._engine.connect() as db, db.begin() as transaction:
            done = db.execute(query.values(state=BuildState.RUNNING.value, started_at=now())).rowcount
            if done != len(build_ids):
                transaction.rollback()
                return False
        return True

    def finish(
        self, build_id: int, state: BuildState, *, failure: Failure | None = None, image_digest: str | None = None,
        release_id: int | None = None,
    ) -> bool:  # fmt: skip
        """Write a job's end, once. False when it was final already."""
        values: dict[str, Any] = {"state": state.value, "ended_at": now()}
        if failure is not None:
            values["failure"] = failure.as_json()
        if image_digest is not None:
            values["image_digest"] = image_digest
        if release_id is not None:
            values["release_id"] = release_id
        query = sa.update(builds).where(builds.c.id == build_id, builds.c.state.in_(_LIVE))
        with self._write() as db:
            return db.execute(query.values(values)).rowcount == 1

    def note_release(self, build_id: int, *, image_digest: str, release_id: int) -> None:
        """The job's release serves; from here on a crashed worker rolls forward, never back."""
        query = sa.update(builds).where(builds.c.id == build_id)
        with self._write() as db:
            db.execute(query.values(image_digest=image_digest, release_id=release_id))

    def request_cancel(self, build_id: int, actor: str) -> bool:
        """Ask for a job's end. A queued one ends now, a running one when its worker sees it; False: it was final."""
        failure = Failure(code="cancelled", fields={"actor": actor, "build": build_id}).as_json()
        waiting = sa.update(builds).where(builds.c.id == build_id, builds.c.state == BuildState.QUEUED.value)
        running = sa.update(builds).where(builds.c.id == build_id, builds.c.state == BuildState.RUNNING.value)
        ended = {"state": BuildState.CANCELLED.value, "ended_at": now(), "cancelled_by": actor, "failure": failure}
        with self._write() as db:
            if db.execute(waiting.values(ended)).rowcount == 1:
                return True
            return db.execute(running.values(cancelled_by=actor)).rowcount == 1

    def find_active(self, app_id: int, git_ref: str, new: str) -> Build | None:
        """The same push, still queued or running: a second pusher watches it instead of starting another."""
        condition = sa.and_(
            builds.c.app_id == app_id, builds.c.git_ref == git_ref, builds.c.new == new, builds.c.state.in_(_LIVE)
        )
        found = self._builds(condition, builds.c.id.desc(), 1)
        return found[0] if found else None

    def _builds(self, condition: sa.ColumnElement[bool], order: Any, limit: int | None) -> list[Build]:
        with self._read() as db:
            found = db.execute(sa.select(builds).where(condition).order_by(order).limit(limit)).mappings().all()
        return [rows.build(row) for row in found]
