"""The corridor's side of git: a commit's tree on disk, and refs that move with what serves."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gitserver import plan
from gitserver.errors import Problem
from gitserver.job import Job
from gitserver.ledger.store import Ledger
from gitserver.push import ZERO_OID
from gitserver.remote.quarantine import Quarantine, sweep
from gitserver.remote.refs import (
    PreparedRefs,
    RefChange,
    create_repository,
    is_ancestor,
    list_refs,
    move_refs,
    prepare_refs,
    repo_lock,
    sweep_drafts,
)
from gitserver.remote.tree import Tree, extract
from gitserver.settings import Settings


class GitSource:
    """The repositories of one state folder."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._settings, self._ledger = settings, ledger

    def extract(self, job: Job) -> Tree:
        """The commit's tree in the build's own folder.

        Raises  Problem for an empty tree, a submodule, a link that leads out and the like (remote/tree.py)
        """
        into = self._settings.state / "builds" / str(job.build.id) / "app"
        shutil.rmtree(into, ignore_errors=True)  # of an attempt before a restart
        return extract(
            self._settings.repo_path(job.app.id), job.build.commit, quarantine_id=job.build.quarantine, into=into,
            blobs_dir=self._settings.state / "blobs",
        )  # fmt: skip

    @contextmanager
    def moving_refs(self, jobs: Sequence[Job]) -> Iterator[PreparedRefs]:
        """The jobs' refs, locked and compared, the pushed objects moved in; commit() moves them.

        Raises  Problem('ref-moved', ref=, found=, expected=) when a ref is not where the push started from and
                what it has now would be lost
        """
        repo_path = self._settings.repo_path(jobs[0].app.id)
        create_repository(repo_path)
        with repo_lock(repo_path):
            for job in jobs:
                if job.build.quarantine is not None:
                    Quarantine(repo_path=repo_path, quarantine_id=job.build.quarantine).migrate()
            with prepare_refs(repo_path, self._changes(jobs)) as refs:
                yield refs

    def finish_refs(self, job: Job) -> None:
        """After a crash between "serves" and "moved": bring the ref to what serves, if it is not there yet."""
        repo_path = self._settings.repo_path(job.app.id)
        with repo_lock(repo_path):
            if job.build.quarantine is not None:
                Quarantine(repo_path=repo_path, quarantine_id=job.build.quarantine).migrate()
            move_refs(repo_path, self._changes([job]))

    def drop(self, job_app_id: int, quarantine: str) -> None:
        """Forget a push's objects, unless another of its builds still needs them."""
        live = {build.quarantine for build in (*self._ledger.queued(), *self._ledger.running())}
        if quarantine not in live:
            repo_path = self._settings.repo_path(job_app_id)
            Quarantine(repo_path=repo_path, quarantine_id=quarantine).drop()

    def sweep(self) -> None:
        """Remove the objects of pushes that ended without anybody to clean up: superseded, or cut by a crash."""
        live = {build.quarantine for build in (*self._ledger.queued(), *self._ledger.running())}
        for repo_path in sorted((self._settings.state / "git").glob("*.git")):
            sweep(repo_path, {found for found in live if found is not None})

    def sweep_drafts(self) -> None:
        """Remove what first pushes left beside the repositories when their process was killed."""
        sweep_drafts(self._settings.state / "git")

    def forget_big_files(self, layer: Path) -> None:
        """Big files that a damaged layer holds links of: the next build writes them anew from their git objects."""
        damaged = {(found.st_dev, found.st_ino) for found in map(Path.lstat, layer.rglob("*")) if found.st_nlink > 1}
        for stored in (self._settings.state / "blobs").glob("[0-9a-f][0-9a-f]/*"):
            found = stored.lstat()
            if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) in damaged:
                stored.unlink()

    def _changes(self, jobs: Sequence[Job]) -> list[RefChange]:
        """What has to move, from where the refs are now; a ref that is where it should be needs nothing."""
        repo_path = self._settings.repo_path(jobs[0].app.id)
        now = list_refs(repo_path)
        changes = []
        for job in jobs:
            wanted = plan.ref_change(job.build)
            if wanted is None:
                continue
            current = now[wanted.git_ref].oid if wanted.git_ref in now else ZERO_OID
            if current == wanted.new:
                continue
            if current != wanted.old and not self._is_ahead(job, current):
                raise Problem(
                    "ref-moved", ref=wanted.short_name, found=current[:7], expected=wanted.old[:7]
                )  # fmt: skip
            changes.append(RefChange(git_ref=wanted.git_ref, old=current, new=wanted.new))
        return changes

    def _is_ahead(self, job: Job, current: str) -> bool:
        """Whether the push contains what landed since: a queued push that another one overtook loses nothing."""
        if ZERO_OID in {current, job.build.new}:
            return True
        return is_ancestor(self._settings.repo_path(job.app.id), current, job.build.commit)
