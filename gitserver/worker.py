"""Carries durable builds from the queue to their end, one at a time in each environment.

Rules of this file
1. A build's end is written exactly once, in the ledger; `.done` beside its log only wakes followers.
2. A build that a dead worker had: its release was written -> finish the rest; else -> do it again from the record.
3. Members of an atomic group are claimed together, prepared one after the other, and switched together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from buildpacks.order import BuildFailed
from gitserver import deploy, errands, explain
from gitserver.buildlog import BuildLog
from gitserver.errors import Failure, Problem
from gitserver.job import Job
from gitserver.ledger.records import Build, BuildKind, BuildState, EnvKind
from gitserver.mask import Mask, make_mask
from gitserver.plan import BUILDS_ANEW
from gitserver.world import World

_LOG = logging.getLogger("algo.worker")
_LOOK_S = 0.5
_CANCEL_LOOK_S = 0.25
_QUEUE_LOOK_S = 30.0

EnvKey = tuple[int, EnvKind, str]


@dataclass(slots=True)
class _Running:
    """A unit (one build, or an atomic group) in a thread. Mutable: only the scheduler's lock holder touches it."""

    builds: tuple[Build, ...]
    cancelled: threading.Event = field(default_factory=threading.Event)


class Worker:
    """The scheduler. run() returns after stop(); builds that still run then stay records and are done again."""

    def __init__(self, world: World) -> None:
        self._world, self._ledger = world, world.ledger
        self._kicked, self._stopping = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._running: list[_Running] = []
        self._announced: set[int] = set()
        # Rollbacks and configuration changes are quick and never wait for somebody's build: the limit below is theirs.
        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="build")

    def kick(self) -> None:
        """Look at the queue now."""
        self._kicked.set()

    def stop(self) -> None:
        """Take nothing new; run() returns."""
        self._stopping.set()
        self._kicked.set()

    def run(self) -> None:
        """Until stop()."""
        self._recover()
        looked_at = 0.0
        while not self._stopping.is_set():
            self._start_what_can()
            if time.monotonic() - looked_at > _CANCEL_LOOK_S:
                looked_at = time.monotonic()
                self._pass_on_cancellations()
            self._kicked.wait(_CANCEL_LOOK_S if self._running else _LOOK_S)
            self._kicked.clear()
        with self._lock:
            for unit in self._running:
                unit.cancelled.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # -- the queue ---------------------------------------------------------------------------------------------

    def _start_what_can(self) -> None:
        blocked: set[EnvKey] = set()
        for unit in _units(self._ledger.queued()):
            keys = {_key(build) for build in unit}
            with self._lock:
                busy = {_key(build): running for running in self._running for build in running.builds}
                heavy = sum(1 for running in self._running if _is_heavy(running.builds))
            waits_for = next((busy[key] for key in keys if key in busy), None)
            is_full = _is_heavy(unit) and heavy >= self._world.settings.builds_at_once
            if waits_for is not None or is_full or keys & blocked:
                blocked |= keys
                self._announce_wait(unit, waits_for)
                continue
            if self._ledger.claim([build.id for build in unit]):
                self._begin(unit)

    def _begin(self, unit: Sequence[Build]) -> None:
        running = _Running(builds=tuple(unit))
        with self._lock:
            self._running.append(running)
        self._pool.submit(self._carry_out, running)

    def _announce_wait(self, unit: Sequence[Build], waits_for: _Running | None) -> None:
        for build in unit:
            if build.id in self._announced:
                continue
            self._announced.add(build.id)
            log = BuildLog(self._world.settings.build_log(build.id))
            if waits_for is not None:
                other = waits_for.builds[0]
                log.step(f"Build {build.id} queued behind {other.id} ({other.actor})")
            else:
                log.step(f"Build {build.id} queued: {self._world.settings.builds_at_once} builds run at once here")
            log.close()

    def _pass_on_cancellations(self) -> None:
        with self._lock:
            units = list(self._running)
        for unit in units:
            for build in unit.builds:
                found = self._ledger.build(build.id)
                if found is not None and found.cancelled_by and not unit.cancelled.is_set():
                    unit.cancelled.set()
                    self._world.abort(build)

    def _recover(self) -> None:
        """Take up what a worker before us left running."""
        for unit in _units(self._ledger.running()):
            if all(build.release_id is not None for build in unit):
                self._roll_forward(unit)
            else:
                for build in unit:
                    log = BuildLog(self._world.settings.build_log(build.id))
                    log.step("The server was restarted; this build begins again")
                    log.close()
                self._begin(unit)

    def _roll_forward(self, unit: Sequence[Build]) -> None:
        """The releases were written and may have been called: bring the refs after them."""
        for build in unit:
            app = self._ledger.app(build.app_id)
            log = BuildLog(self._world.settings.build_log(build.id))
            if app is not None:
                job = Job(build=build, app=app, log=log, cancelled=threading.Event())
                self._world.source.finish_refs(job)
            log.close()
            self._end(build, BuildState.SUCCEEDED)

    # -- one unit ----------------------------------------------------------------------------------------------

    def _carry_out(self, unit: _Running) -> None:
        jobs: list[Job] = []
        try:
            jobs = [self._open(build, unit) for build in unit.builds]
            self._deploy(jobs)
        except Exception as error:  # noqa: BLE001 -- logged with its trace, told to the pusher, and the worker lives
            # The last net: whatever it was, the record ends and the people who wait hear of it.
            _LOG.exception("build %s", unit.builds[0].id)
            for build in unit.builds:
                self._fail(build, Failure(code="internal", fields={"build": build.id, "detail": str(error)}), jobs)
        finally:
            for job in jobs:
                job.log.close()
            with self._lock:
                self._running.remove(unit)
            self._kicked.set()

    def _deploy(self, jobs: Sequence[Job]) -> None:
        if jobs[0].build.kind in errands.ERRANDS:
            self._run_errand(jobs[0])
            return
        candidates: list[deploy.Candidate] = []
        for job in jobs:
            started_at = time.monotonic()
            try:
                candidates.append(deploy.prepare(job, self._world))
            except (Problem, BuildFailed) as error:
                self._give_up(jobs, candidates, culprit=job, failure=_failure(error))
                return
            self._world.started_at[job.build.id] = started_at
        if jobs[0].cancelled.is_set():
            stopped = Failure(code="cancelled", fields={"actor": "the server", "build": jobs[0].build.id})
            self._give_up(jobs, candidates, culprit=jobs[0], failure=stopped)
            return
        try:
            served = deploy.switch(candidates, self._world)
        except Problem as problem:
            self._give_up(jobs, candidates, culprit=jobs[0], failure=problem.failure)
            return
        except BaseException:
            for candidate in candidates:
                self._world.discard(candidate)
            raise
        for one in served:
            self._world.announce(one)
            release = one.release
            self._end(
                one.job.build, BuildState.SUCCEEDED,
                image_digest=None if release is None else release.image_digest,
                release_id=None if release is None else release.id,
            )  # fmt: skip
            self._world.retire(one)

    def _run_errand(self, job: Job) -> None:
        try:
            image = errands.run_errand(job, self._world, self._world.settings.state)
        except (Problem, BuildFailed) as error:
            self._give_up([job], [], culprit=job, failure=_failure(error))
            return
        self._end(job.build, BuildState.SUCCEEDED, image_digest=image.digest)

    def _open(self, build: Build, unit: _Running) -> Job:
        log = BuildLog(self._world.settings.build_log(build.id), self._mask(build))
        app = self._ledger.app(build.app_id)
        if app is None:
            log.close()
            raise Problem("app-gone")
        log.step(f"{app.name.app}: build {build.id} of {build.commit[:7]} ({build.actor})")
        return Job(build=build, app=app, log=log, cancelled=unit.cancelled)

    def _give_up(
        self, jobs: Sequence[Job], candidates: Sequence[deploy.Candidate], *, culprit: Job, failure: Failure
    ) -> None:
        """Nothing of the unit happens: stop what was started, tell each member why."""
        for candidate in candidates:
            self._world.discard(candidate)
        self._world.drop_damaged(failure)
        if self._stopping.is_set():
            return  # not the user's failure: the record stays RUNNING and the next worker begins it again
        for job in jobs:
            found = self._ledger.build(job.build.id)
            told = failure
            if found is not None and found.cancelled_by:
                told = Failure(code="cancelled", fields={"actor": found.cancelled_by, "build": job.build.id})
            elif job is not culprit:
                fields = {"culprit": culprit.build.git_ref.split("/", 2)[2], "cause": explain.title(failure)}
                told = Failure(code="group-failed", fields=fields)
            self._fail(job.build, told, jobs)

    def _fail(self, build: Build, failure: Failure, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job.build.id == build.id:
                job.log.lines(explain.lines(failure))
        state = BuildState.CANCELLED if failure.code == "cancelled" else BuildState.FAILED
        mask = self._mask(build)
        fields = {name: mask.text(value) if isinstance(value, str) else value for name, value in failure.fields.items()}
        masked = Failure(code=failure.code, fields=fields, log=tuple(mask.text(line) for line in failure.log))
        self._end(build, state, failure=masked)

    def _mask(self, build: Build) -> Mask:
        """No value of the app's configuration, of either scope, is ever told in a push, a log or a verdict."""
        return make_mask(*(self._ledger.config(build.app_id, scope).values for scope in EnvKind))

    def _end(
        self, build: Build, state: BuildState, *, failure: Failure | None = None, image_digest: str | None = None,
        release_id: int | None = None,
    ) -> None:  # fmt: skip
        self._ledger.finish(build.id, state, failure=failure, image_digest=image_digest, release_id=release_id)
        self._world.clean_up(build)
        done = self._world.settings.build_done(build.id)
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()


def _units(builds: Sequence[Build]) -> list[list[Build]]:
    """Builds as they are carried out: alone, or with the rest of their atomic push; oldest first."""
    units: dict[str, list[Build]] = {}
    for build in builds:
        units.setdefault(build.group or f"#{build.id}", []).append(build)
    return list(units.values())


def _key(build: Build) -> EnvKey:
    return (build.app_id, build.env_kind, build.branch)


def _is_heavy(builds: Sequence[Build]) -> bool:
    # A move to another stack builds nothing, but a model that starts beside the one that serves needs its memory twice.
    return any(build.kind in BUILDS_ANEW or build.kind in {BuildKind.PUBLISH, BuildKind.REBASE} for build in builds)


def _failure(error: Problem | BuildFailed) -> Failure:
    if isinstance(error, Problem):
        return error.failure
    return Failure(code=error.code, fields=error.fields, log=error.log)
