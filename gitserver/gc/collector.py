"""The collection itself: records first, then files, then the engine.

Rules of this file
1. The records of images go before their files. A crash in between leaves files that no record names, and the next
   collection takes them; the other way round, a rollback would find half an image.
2. A file goes in two steps: renamed into `trash` under the store's lease lock, deleted without any lock.
3. In the engine only images that this server's own ledger names are touched. Networks and containers are the target's.
"""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from buildpacks.image.config import hex_of
from buildpacks.image.lease import collecting
from buildpacks.order import BuildFailed
from buildpacks.stack.store import StackStore
from gitserver import explain
from gitserver.errors import Failure, Problem
from gitserver.gc.collection import Found, Kind, Needed, Report, plan_collection
from gitserver.gc.inventory import Weight, changed_at, model_files, read_inventory
from gitserver.gc.needed import Records, Retention, base_ids, diff_ids, needed_digests
from gitserver.ledger.records import Image, Release
from gitserver.ledger.store import Ledger
from gitserver.settings import Settings
from gitserver.targets.containers import Engine
from gitserver.targets.contract import Target

LEASE = timedelta(hours=6)  # longer than a build and the start of its release may take together
_LOOKED_AT = 100_000  # releases of one environment
OUR_LABEL, OUR_TAGS = "algo.image", "algo/"


class Collector:
    """Takes away what nothing needs. One collection at a time (desk.py sees to that)."""

    def __init__(
        self, settings: Settings, ledger: Ledger, target: Target, engine: Engine | None, reload: Callable[[], None]
    ) -> None:
        """engine: None where releases run as processes. reload: the gateway forgets addresses of images that went."""
        self._settings, self._ledger, self._target, self._engine = settings, ledger, target, engine
        self._reload = reload
        self._stacks = StackStore(root=settings.state / "stacks")

    def collect(self, *, dry_run: bool, lease: timedelta = LEASE) -> Report:
        """Take away what nothing needs, or only say what that would be."""
        now = datetime.now(UTC)
        records = self._records()
        retention = Retention(releases=self._settings.keep_releases, days=self._settings.keep_days, lease=lease)
        unneeded = {image.digest for image in records.images} - needed_digests(records, retention, now)
        forgotten = sorted(unneeded) if dry_run else self._forget(unneeded)
        needed = self._needed([image for image in records.images if image.digest not in forgotten])
        in_engine, trouble = self._in_engine(records.images)
        inventory = [*read_inventory(self._settings.state), *self._bases(), *in_engine]
        gone = list(plan_collection(inventory, needed, now.timestamp(), lease.total_seconds()))
        weight = Weight.of([found.path for found in gone if found.path is not None])
        gone += self._model_files(weight, now, lease, records)
        if dry_run:
            return _report(gone, dry_run=True, images=forgotten, freed_bytes=weight.freed_bytes, kept=trouble)
        return self._take_away(gone, lease, forgotten, trouble)

    # -- looking ---------------------------------------------------------------------------------------------

    def _records(self) -> Records:
        ledger = self._ledger
        snapshot = ledger.snapshot()
        releases: dict[int, Sequence[Release]] = {
            environment.id: ledger.releases(environment.app_id, environment_id=environment.id, limit=_LOOKED_AT)
            for environment in snapshot.environments
        }
        instances = self._target.instances()
        builds = {int(name[1:]) for name in instances if name[:1] == "b" and name[1:].isdigit()}
        found = [build for build in map(ledger.build, sorted(builds)) if build is not None]
        return Records(
            images=ledger.every_image(),
            apps=frozenset(app.id for app in snapshot.apps),
            releases=releases,
            serving=frozenset(snapshot.releases),
            versions=snapshot.versions,
            jobs=(*ledger.queued(), *ledger.running()),
            instances=instances,
            made_by={build.id: build.image_digest for build in found if build.image_digest is not None},
        )

    def _forget(self, digests: set[str]) -> list[str]:
        gone = self._ledger.forget_images(sorted(digests))
        if gone:
            self._reload()
        return gone

    def _needed(self, images: Sequence[Image]) -> Needed:
        docs = [image.config for image in images]
        named = (self._stacks.find(name) for name in self._stacks.names())
        stacks = [stack for stack in named if stack is not None]
        bases = {stack.run.image_id for stack in stacks} | {
            stack.build.image_id for stack in stacks if stack.build is not None
        }
        return Needed(
            images=frozenset(image.digest for image in images), layers=diff_ids(docs), bases=base_ids(docs) | bases
        )

    def _bases(self) -> list[Found]:
        """Base images with the age of their records: one that is being added belongs to no stack yet."""
        found = []
        for image in self._stacks.images():
            record = self._stacks.root / "images" / f"{hex_of(image.image_id)}.json"
            found.append(
                Found(
                    kind=Kind.BASE, name=f"{image.reference} {image.image_id[7:19]}", serves=image.image_id,
                    changed_at=changed_at(record), size_bytes=sum(layer.blob.size_bytes for layer in image.layers),
                    handle=image.image_id,
                )
            )  # fmt: skip
        return found

    def _in_engine(self, images: Sequence[Image]) -> tuple[list[Found], list[str]]:
        """What the ledger knows of in the engine, by the engine's id or by our tag; and why it could not be asked."""
        if self._engine is None:
            return [], []
        try:
            there_now = self._engine.images({OUR_LABEL: ""})
        except Problem as problem:
            return [], [f"images in the engine: {explain.sentence(problem.failure)}"]
        by_id = {image.digest: image.digest for image in images}
        by_id |= {str(image.config["engine_image"]): image.digest for image in images if "engine_image" in image.config}
        by_tag = {image.digest[7:19]: image.digest for image in images}
        found = []
        for there in there_now:
            own = [tag for tag in there.tags if tag.startswith(OUR_TAGS)]
            tagged = (by_tag.get(tag.rpartition(":")[2]) for tag in own)
            digest = by_id.get(there.id) or next(filter(None, tagged), None)
            if digest is None:
                continue
            # Names that somebody else gave stay, and so does what they name.
            found += [
                Found(kind=Kind.ENGINE_IMAGE, name=name, serves=digest, handle=name, size_bytes=there.size_bytes)
                for name in (own if there.tags else [there.id])
            ]
        return found, []

    def _model_files(self, weight: Weight, now: datetime, lease: timedelta, records: Records) -> list[Found]:
        """Only while no job is about to link one into its tree."""
        if records.jobs:
            return []
        old = now.timestamp() - lease.total_seconds()
        found = [one for one in model_files(self._settings.state / "blobs", weight.links) if one.changed_at <= old]
        for one in found:
            assert one.path is not None
            weight.add(one.path)
        return found

    # -- taking away -----------------------------------------------------------------------------------------

    def _take_away(
        self, gone: Sequence[Found], lease: timedelta, images: Sequence[str], trouble: Sequence[str]
    ) -> Report:
        trash = self._settings.state / "trash"
        went, kept = [], [*trouble]
        for found in gone:
            try:
                self._take_one(found, trash, lease)
                went.append(found)
            except (BuildFailed, Problem) as error:
                failure = error.failure if isinstance(error, Problem) else Failure(code=error.code, fields=error.fields)
                kept.append(f"{found.kind.value} {found.name}: {explain.sentence(failure)}")
        freed_bytes = Weight.of(trash.iterdir() if trash.is_dir() else ()).freed_bytes
        shutil.rmtree(trash, ignore_errors=True)
        return _report(went, dry_run=False, images=images, freed_bytes=freed_bytes, kept=kept)

    def _take_one(self, found: Found, trash: Path, lease: timedelta) -> None:
        match found.kind:
            case Kind.BASE:
                self._stacks.forget(found.handle)
            case Kind.ENGINE_IMAGE:
                assert self._engine is not None
                self._engine.remove_image(found.handle)
            case _:
                assert found.path is not None
                self._discard(found.path, trash, lease)

    def _discard(self, path: Path, trash: Path, lease: timedelta) -> None:
        """Into the trash, unless a build renewed it since we looked."""
        trash.mkdir(exist_ok=True)
        with collecting(self._settings.state):
            try:
                if time.time() - path.lstat().st_mtime < lease.total_seconds():
                    raise Problem("gc-renewed", path=path.name[:12])
                path.rename(trash / secrets.token_hex(8))
            except FileNotFoundError:
                return


def _report(
    gone: Sequence[Found], *, dry_run: bool, images: Sequence[str], freed_bytes: int, kept: Sequence[str] = ()
) -> Report:
    """freed_bytes: of files; what the stack store and the engine say of their own is added."""
    return Report(
        dry_run=dry_run, images=images, gone=gone, kept=kept,
        freed_bytes=freed_bytes + sum(found.size_bytes for found in gone if found.kind is Kind.BASE),
        engine_bytes=sum(found.size_bytes for found in gone if found.kind is Kind.ENGINE_IMAGE),
    )  # fmt: skip
