"""Images, releases, versions, and the one read that the gateway routes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from gitserver.errors import Json, Problem
from gitserver.ledger import rows
from gitserver.ledger.base import Rows, now
from gitserver.ledger.records import BuildKind, BuildState, Environment, Image, Release, Snapshot, Version
from gitserver.ledger.schema import apps, builds, environments, images, principals, releases, tokens, versions


class ReleaseRows(Rows):
    """What was made and what serves."""

    def add_image(self, digest: str, app_id: int, commit: str, config: Mapping[str, Json]) -> Image:
        """Remember what a build made of a commit; saying it twice is fine."""
        same = sa.select(images).where(images.c.app_id == app_id, images.c.digest == digest, images.c.commit == commit)
        values = {"digest": digest, "app_id": app_id, "commit": commit, "config": dict(config), "created_at": now()}
        with self._write() as db:
            row = db.execute(same).mappings().first()
            if row is None:
                row = db.execute(sa.insert(images).values(values).returning(images)).mappings().one()
        return rows.image(row)

    def image(self, digest: str) -> Image | None:
        """By digest, whoever made it."""
        return self._image(images.c.digest == digest)

    def find_image(self, app_id: int, commit: str) -> Image | None:
        """The newest image of a commit (40 hex digits)."""
        return self._image(sa.and_(images.c.app_id == app_id, images.c.commit == commit))

    def images(self, app_id: int) -> list[Image]:
        """Newest first."""
        query = sa.select(images).where(images.c.app_id == app_id).order_by(images.c.id.desc())
        with self._read() as db:
            return [rows.image(row) for row in db.execute(query).mappings().all()]

    def every_image(self) -> list[Image]:
        """Of all apps, of destroyed ones too, newest first; a digest that several commits share comes several times."""
        with self._read() as db:
            return [rows.image(row) for row in db.execute(sa.select(images).order_by(images.c.id.desc())).mappings()]

    def forget_images(self, digests: Sequence[str]) -> list[str]:
        """Remove images whose files are about to go; the digests of which no row is left.

        A row stays while a queued or running job is of its commit: asked in the same transaction, so that a job which
        is claimed afterwards finds no image at all and never half of one.
        """
        live = sa.select(builds.c.id).where(
            builds.c.app_id == images.c.app_id, builds.c.commit == images.c.commit,
            builds.c.state.in_((BuildState.QUEUED.value, BuildState.RUNNING.value)),
        )  # fmt: skip
        gone = []
        with self._write() as db:
            for digest in digests:
                db.execute(sa.delete(images).where(images.c.digest == digest, ~live.exists()))
                if db.execute(sa.select(images.c.id).where(images.c.digest == digest).limit(1)).first() is None:
                    gone.append(digest)
        return gone

    def add_release(  # noqa: PLR0913 -- a row; every field is named at the call
        self, *, environment_id: int, image_digest: str, commit: str, version_tag: str | None, config_version: int,
        config: Mapping[str, str], actor: str, why: str, build_id: int, facts: Mapping[str, Json],
    ) -> Release:  # fmt: skip
        """Append the environment's next release and make the environment serve it, in one transaction.

        Raises  Problem('environment-gone') when the environment was removed meanwhile
        """
        with self._write() as db:
            live = sa.and_(environments.c.id == environment_id, environments.c.removed_at.is_(None))
            app_id = db.execute(sa.select(environments.c.app_id).where(live)).scalar()
            if app_id is None:
                raise Problem("environment-gone")
            highest = sa.select(sa.func.coalesce(sa.func.max(releases.c.number), 0))
            number = db.execute(highest.where(releases.c.environment_id == environment_id)).scalar_one() + 1
            values = {
                "app_id": app_id, "environment_id": environment_id, "number": number, "image_digest": image_digest,
                "commit": commit, "version_tag": version_tag, "config_version": config_version,
                "config": dict(config), "actor": actor, "why": why, "build_id": build_id, "facts": dict(facts),
                "created_at": now(),
            }  # fmt: skip
            release = rows.release(db.execute(sa.insert(releases).values(values).returning(releases)).mappings().one())
            db.execute(sa.update(environments).where(live).values(release_id=release.id))
        return release

    def take_back(self, build_id: int, environment: Environment) -> None:
        """A build's release does not serve after all: the environment is again as it was before, and so are its tags.

        environment  as it was read before the switch
        The release stays in the history, with the failed build that made it.
        """
        was = {"release_id": environment.release_id, "removed_at": None}
        with self._write() as db:
            db.execute(sa.update(environments).where(environments.c.id == environment.id).values(was))
            job = db.execute(sa.select(builds).where(builds.c.id == build_id)).mappings().one()
            db.execute(sa.update(builds).where(builds.c.id == build_id).values(release_id=None))
            if job["kind"] == BuildKind.PUBLISH.value:
                tag = job["git_ref"].removeprefix("refs/tags/")
                db.execute(sa.delete(versions).where(versions.c.app_id == job["app_id"], versions.c.tag == tag))

    def release(self, release_id: int) -> Release | None:
        """By id."""
        with self._read() as db:
            row = db.execute(sa.select(releases).where(releases.c.id == release_id)).mappings().first()
        return None if row is None else rows.release(row)

    def releases(self, app_id: int, *, environment_id: int | None = None, limit: int = 50) -> list[Release]:
        """Newest first."""
        query = sa.select(releases).where(releases.c.app_id == app_id)
        if environment_id is not None:
            query = query.where(releases.c.environment_id == environment_id)
        with self._read() as db:
            found = db.execute(query.order_by(releases.c.id.desc()).limit(limit)).mappings().all()
        return [rows.release(row) for row in found]

    def add_version(
        self, app_id: int, *, tag: str, object_oid: str, commit: str, image_digest: str, config_version: int, actor: str
    ) -> Version:
        """Bind a tag for ever. Raises Problem('version-exists')."""
        values = {
            "app_id": app_id, "tag": tag, "object_oid": object_oid, "commit": commit, "image_digest": image_digest,
            "config_version": config_version, "actor": actor, "created_at": now(),
        }  # fmt: skip
        try:
            with self._write() as db:
                return rows.version(db.execute(sa.insert(versions).values(values).returning(versions)).mappings().one())
        except sa.exc.IntegrityError as error:
            raise Problem("version-exists", tag=tag) from error

    def find_version(self, app_id: int, tag: str) -> Version | None:
        """By tag."""
        query = sa.select(versions).where(versions.c.app_id == app_id, versions.c.tag == tag)
        with self._read() as db:
            row = db.execute(query).mappings().first()
        return None if row is None else rows.version(row)

    def versions(self, app_id: int) -> list[Version]:
        """Newest first."""
        query = sa.select(versions).where(versions.c.app_id == app_id).order_by(versions.c.id.desc())
        with self._read() as db:
            return [rows.version(row) for row in db.execute(query).mappings().all()]

    def snapshot(self) -> Snapshot:
        """Everything that an address can lead to, read in one transaction."""
        live_apps = sa.select(apps).where(apps.c.destroyed_at.is_(None))
        live_envs = sa.select(environments).where(environments.c.removed_at.is_(None)).order_by(environments.c.id)
        serving = sa.select(releases).join(environments, environments.c.release_id == releases.c.id)
        found = sa.select(images.c.app_id, images.c.commit, images.c.digest).order_by(images.c.id.desc())
        with self._read() as db, db.begin():
            return Snapshot(
                apps=tuple(rows.app(row) for row in db.execute(live_apps).mappings()),
                environments=tuple(rows.environment(row) for row in db.execute(live_envs).mappings()),
                releases={
                    row["id"]: rows.release(row)
                    for row in db.execute(serving.where(environments.c.removed_at.is_(None))).mappings()
                },
                versions=tuple(
                    rows.version(row)
                    for row in db.execute(sa.select(versions).order_by(versions.c.id.desc())).mappings()
                ),
                images=tuple((row[0], row[1], row[2]) for row in db.execute(found)),
                tokens=tuple(
                    rows.token(row)
                    for row in db.execute(sa.select(tokens).where(tokens.c.revoked_at.is_(None))).mappings()
                ),
                principals={row["id"]: rows.principal(row) for row in db.execute(sa.select(principals)).mappings()},
            )

    def _image(self, condition: sa.ColumnElement[bool]) -> Image | None:
        with self._read() as db:
            row = (
                db.execute(sa.select(images).where(condition).order_by(images.c.id.desc()).limit(1)).mappings().first()
            )
        return None if row is None else rows.image(row)
