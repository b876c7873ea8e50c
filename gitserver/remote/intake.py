"""From a request to durable builds: the pack read and proven, each ref judged, the accepted ones handed in.

Rules of this file
1. The pack is read to its end before any verdict is told (F17).
2. Whatever is refused leaves nothing behind: no app, no repository, no object.
3. From the moment that a build is handed in, its quarantine belongs to it.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gitserver.errors import Problem
from gitserver.ledger.records import App, Build, BuildKind, EnvKind, NewBuild, Principal
from gitserver.ledger.store import Ledger
from gitserver.push import AppName
from gitserver.remote.channel import RemoteDoors, Wire
from gitserver.remote.ingest import Ingested, check_space, ingest
from gitserver.remote.judge import Accepted, Facts, Judgement, judge
from gitserver.remote.quarantine import Quarantine
from gitserver.remote.refs import STAGING_PREFIX, Ref, create_repository, is_ancestor, list_refs, peel
from gitserver.remote.request import PushRequest, parse_options
from gitserver.remote.sideband import Sideband

_WITH_OBJECTS = frozenset({BuildKind.DEPLOY, BuildKind.PUBLISH})  # the others are about commits that we have


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One ref's judgement, and its build when there is one. is_attached: somebody pushed the same before."""

    judgement: Judgement
    build: Build | None
    is_attached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """One push on its way in."""

    doors: RemoteDoors
    principal: Principal
    app_name: AppName
    wire: Wire
    sideband: Sideband

    def take(self, request: PushRequest) -> list[Taken]:
        """Everything up to the durable record (P4 to P8), one answer per command, in their order.

        Raises  Problem for what refuses the whole push: the pack, a limit, an option
        """
        app = self.doors.ledger.find_app(self.app_name)
        with self._repository(app) as repo_path, self._received(request, repo_path) as (quarantine, ingested):
            if request.problem is not None:
                raise request.problem
            options = parse_options(request.options)
            refs = list_refs(repo_path)
            new_oids = sorted({command.new for command in request.commands if not command.is_delete})
            if ingested.object_count or not _all_known(new_oids, refs):
                quarantine.check_connected(new_oids, request.shallow)
            judgements = judge(
                request.commands,
                self._facts(app, repo_path, quarantine, refs, new_oids, options),
                is_atomic=request.wants(b"atomic"),
            )
            if not any(isinstance(judgement, Accepted) for judgement in judgements):
                return [Taken(judgement=judgement, build=None, is_attached=False) for judgement in judgements]
            app = app or self._create_app()
            return self._hand_in(app, judgements, quarantine, ingested, options, request)

    @contextmanager
    def _repository(self, app: App | None) -> Iterator[Path]:
        """The app's repository, or one without a name that goes again: a refused first push makes no app."""
        if app is not None:
            repo_path = self.doors.settings.repo_path(app.id)
            create_repository(repo_path)
            yield repo_path
            return
        staging = self.doors.settings.repo_path(0).parent / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
        create_repository(staging)
        try:
            yield staging
        finally:
            shutil.rmtree(staging)

    @contextmanager
    def _received(self, request: PushRequest, repo_path: Path) -> Iterator[tuple[Quarantine, Ingested]]:
        """The pack in a quarantine, which is dropped unless a build took it over (its folder has moved or is owned)."""
        quarantine = Quarantine.create(repo_path)
        try:
            ingested = Ingested(object_count=0, size_bytes=0)
            if request.expects_pack:
                check_space(repo_path, 0)
                # git asks for quiet whenever its output is no terminal: it silences progress, never the build's log.
                show = _silent if request.wants(b"quiet") else self.sideband.progress
                with self.doors.slots.hold(self.principal.id):
                    ingested = ingest(
                        quarantine, self.wire, max_bytes=self.doors.settings.max_pack_bytes,
                        shallow=request.shallow, on_progress=show,
                    )  # fmt: skip
            else:
                self.wire.close_read()
            yield quarantine, ingested
        finally:
            if not self._is_owned(quarantine):
                quarantine.drop()

    def _is_owned(self, quarantine: Quarantine) -> bool:
        """Asked of the ledger, not remembered: an error after the hand-in must not take a build's objects away."""
        if not quarantine.path.exists():
            return False
        live = (*self.doors.ledger.queued(), *self.doors.ledger.running())
        return any(build.quarantine == quarantine.quarantine_id for build in live)

    def _facts(
        self,
        app: App | None,
        repo_path: Path,
        quarantine: Quarantine,
        refs: Mapping[str, Ref],
        new_oids: Sequence[str],
        options: Mapping[str, str],
    ) -> Facts:
        ledger, env = self.doors.ledger, quarantine.env()
        previews: set[str] = set()
        if app is not None:
            previews = {one.branch for one in ledger.environments(app.id) if one.kind is EnvKind.PREVIEW}
            live = (build for build in (*ledger.queued(), *ledger.running()) if build.app_id == app.id)
            previews |= {build.branch for build in live if build.env_kind is EnvKind.PREVIEW}
        return Facts(
            refs=refs,
            versions=ledger.versions(app.id) if app else (),
            previews=previews,
            preview_limit=self.doors.settings.preview_limit,
            built=_built(ledger, app.id) if app else (),
            commits=peel(repo_path, new_oids, env),
            options=options,
            is_ancestor=lambda ancestor, descendant: is_ancestor(repo_path, ancestor, descendant, env),
        )

    def _create_app(self) -> App:
        try:
            app = self.doors.ledger.create_app(self.app_name)
        except Problem as problem:
            found = self.doors.ledger.find_app(self.app_name)
            if found is None:  # not a race of two first pushes: the name is refused for another reason
                raise problem from None
            app = found
        else:
            self.doors.audit.write("app.create", actor=self.principal.name, app=str(self.app_name), by="push")
        create_repository(self.doors.settings.repo_path(app.id))
        return app

    def _hand_in(
        self,
        app: App,
        judgements: Sequence[Judgement],
        quarantine: Quarantine,
        ingested: Ingested,
        options: Mapping[str, str],
        request: PushRequest,
    ) -> list[Taken]:
        accepted = [judgement for judgement in judgements if isinstance(judgement, Accepted)]
        is_atomic = request.wants(b"atomic") and len(accepted) > 1
        active: dict[str, Build] = {}
        for judgement in accepted if not is_atomic else ():
            found = self.doors.ledger.find_active(app.id, judgement.git_ref, judgement.command.new)
            if found is not None:
                active[judgement.git_ref] = found
        fresh = [judgement for judgement in accepted if judgement.git_ref not in active]
        repo_path = self.doors.settings.repo_path(app.id)
        if fresh and ingested.object_count and quarantine.repo_path != repo_path:
            quarantine = quarantine.adopt_into(repo_path)
        group = uuid.uuid4().hex if is_atomic else None
        held = quarantine.quarantine_id if ingested.object_count else None
        orders = [self._order(app, judgement, group, held, options) for judgement in fresh]
        try:
            made = self.doors.pushes.submit(orders) if orders else []
        except BaseException:
            if not self._is_owned(quarantine):
                quarantine.drop()
            raise
        builds = active | {judgement.git_ref: build for judgement, build in zip(fresh, made, strict=True)}
        return [
            Taken(
                judgement=judgement,
                build=builds[judgement.git_ref] if isinstance(judgement, Accepted) else None,
                is_attached=isinstance(judgement, Accepted) and judgement.git_ref in active,
            )
            for judgement in judgements
        ]

    def _order(
        self, app: App, judgement: Accepted, group: str | None, quarantine_id: str | None, options: Mapping[str, str]
    ) -> NewBuild:
        return NewBuild(
            app_id=app.id,
            env_kind=judgement.env_kind,
            branch=judgement.branch,
            kind=judgement.kind,
            git_ref=judgement.git_ref,
            old=judgement.old,
            new=judgement.command.new,
            commit=judgement.commit,
            actor=self.principal.name,
            group=group,
            quarantine=quarantine_id if judgement.kind in _WITH_OBJECTS else None,
            options=options,
        )


def _all_known(oids: Sequence[str], refs: Mapping[str, Ref]) -> bool:
    known = {oid for ref in refs.values() for oid in (ref.oid, ref.peeled)}
    return known.issuperset(oids)


def _silent(_: bytes) -> None:
    """The client asked for quiet."""


def _built(ledger: Ledger, app_id: int) -> set[str]:
    """Commits that were built once, whether their images are still kept or not."""
    released = (release.commit for release in ledger.releases(app_id, limit=1000))
    return {*(image.commit for image in ledger.images(app_id)), *released}
