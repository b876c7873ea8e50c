"""The corridor's doors, and what happens around a release: announced, retired, swept, woken.

The only place where target, buildpacks, git and gateway are put together for the worker.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from buildpacks.image.store import LayerStore
from gitserver import explain
from gitserver.deploy import Candidate, Served
from gitserver.errors import Failure, Json, Problem
from gitserver.job import Job, Kitchen
from gitserver.ledger.records import (
    App,
    Build,
    BuildKind,
    Environment,
    EnvKind,
    Image,
    NewBuild,
    Release,
)
from gitserver.ledger.store import Ledger
from gitserver.push import ZERO_OID, branch_slug
from gitserver.routes import GatewayRoutes
from gitserver.settings import Settings
from gitserver.source import GitSource
from gitserver.targets.clash import explained
from gitserver.targets.contract import Running, Spec, Target
from gitserver.targets.environment import find_process

_LOG = logging.getLogger("algo.world")
_RESTORE_S = 15.0
RELEASE = "release"  # process type. Source: https://devcenter.heroku.com/articles/release-phase


class World:
    """Doors of the corridor (job.Doors) over any target."""

    def __init__(self, settings: Settings, ledger: Ledger, target: Target, kitchen: Kitchen) -> None:
        self.settings, self.ledger, self.target, self.kitchen = settings, ledger, target, kitchen
        self.source = GitSource(settings, ledger)
        self.routes = GatewayRoutes(settings.run_dir / "gateway.sock")
        self.started_at: dict[int, float] = {}  # build id -> monotonic seconds, for "is serving (0.6 s)"
        self._on_demand: dict[str, str] = {}  # instance -> address
        self._lock = threading.Lock()
        self._swept_to = 0  # builds below it are final and swept
        self._waking: dict[str, threading.Lock] = {}

    # -- doors -------------------------------------------------------------------------------------------------

    def environment(self, job: Job) -> Environment:
        """The job's environment; the first job makes it. It has no address before it has a release."""
        build = job.build
        found = self.ledger.environment(
            build.app_id, build.env_kind, build.branch, create=build.kind is not BuildKind.DELETE
        )
        if found is None:
            raise Problem("environment-gone")
        return found

    def run_release(self, job: Job, environment: Environment, image: Image, config: Mapping[str, str]) -> None:
        """The image's `release` process, to its end and before anything is switched. Raises Problem."""
        if find_process(image.config, RELEASE) is None:
            return
        _check_cancelled(job)
        job.log.step("Release phase: running the process type 'release'")
        spec = self._spec_of_job(job, environment, image, config)
        one_off = replace(
            spec, instance=f"{spec.instance}-{RELEASE}", label=f"{spec.label} {RELEASE}", process=RELEASE,
            ready_timeout_s=self.settings.build_timeout_s,
        )  # fmt: skip
        with _explaining(image):
            self.target.run(one_off, lambda line: job.log.line(f"       {line}"))
        _check_cancelled(job)

    def start(self, job: Job, environment: Environment, image: Image, config: Mapping[str, str]) -> Running:
        """A ready instance of the image: the smoke test of a release is the release itself, before its first call."""
        with _explaining(image):
            running = self.target.start(self._spec_of_job(job, environment, image, config), job.log.step)
        if job.cancelled.is_set():
            self.target.stop(running.instance, grace_s=1)
        _check_cancelled(job)
        # The names of a thousand modules are for the target's own use, not for the ledger.
        facts = {name: value for name, value in running.facts.items() if name != "imports"}
        for line in _smoke_test(facts):
            job.log.step(line)
        return replace(running, facts=facts)

    def _spec_of_job(self, job: Job, environment: Environment, image: Image, config: Mapping[str, str]) -> Spec:
        label = f"{environment.branch} {job.build.commit[:7]}"
        return self._spec(job.app, f"b{job.build.id}", label, image, config)

    def _spec(self, app: App, instance: str, label: str, image: Image, config: Mapping[str, str]) -> Spec:
        return Spec(
            instance=instance, app_id=app.id, app_name=app.name, label=label, image_digest=image.digest,
            image=image.config, env=config, memory_mib=self.settings.memory_mib,
            ready_timeout_s=self.settings.ready_timeout_s,
        )  # fmt: skip

    # -- around a release --------------------------------------------------------------------------------------

    def announce(self, served: Served) -> None:
        """The last lines of a push: what serves, how long it took, where it answers."""
        job, release = served.job, served.release
        if release is None:
            job.log.step(f"Preview {job.build.branch} removed")
            return
        self.target.keep(self._spec_of(job.app, release))
        environment = self.ledger.environment_by_id(release.environment_id)
        if environment is not None and environment.kind is EnvKind.PREVIEW:
            self.ledger.touch_environment(environment.id, _in(self.settings.preview_ttl_s))
        seconds = time.monotonic() - self.started_at.pop(job.build.id, time.monotonic())
        back = f" ({release.why})" if release.why.startswith("rollback") else ""
        job.log.step(f"Release {release.number} is serving{back} ({seconds:.1f} s)")
        job.log.detail(self.address(job.app, job.build.env_kind, job.build.branch, release))
        if release.why.startswith("rollback") and served.replaced is not None:
            undo = served.replaced.version_tag or str(served.replaced.number)
            job.log.detail(f"Production was at {served.replaced.commit[:7]}; to undo: algo rollback {undo}")
        if job.build.env_kind is EnvKind.PREVIEW and self._has_no_production(job.app):
            job.log.detail(f"This is a preview. To put it into production: git push algo {job.build.branch}:main")

    def address(self, app: App, kind: EnvKind, branch: str, release: Release) -> str:
        """Where a release answers; the path of its prediction when our runtime serves it."""
        image = self.ledger.image(release.image_digest)
        path = "predict" if image is not None and _is_shim(image.config) else ""
        at = "" if kind is EnvKind.PRODUCTION else f"@{branch_slug(branch)}"
        return f"{self.settings.url}/{app.name}{at}/{path}"

    def retire(self, served: Served) -> None:
        """The replaced release: no call is lost, so it ends only when the gateway has nothing left for it."""
        if served.replaced is not None:
            old = served.replaced
            threading.Thread(target=self._drain, args=(old.instance,), name=f"drain-{old.instance}").start()

    def _drain(self, instance: str) -> None:
        running = self.target.find(instance)
        if running is not None and self.settings.drain_s > 0:
            left = self.routes.drain(running.address, deadline_s=self.settings.drain_s)
            if left:
                _LOG.warning("%s calls still ran in %s after %s s", left, instance, self.settings.drain_s)
        self.target.stop(instance, grace_s=self.settings.drain_s)

    def discard(self, candidate: Candidate) -> None:
        """A candidate that nobody will ever call."""
        if candidate.running is not None:
            self.target.stop(candidate.running.instance, grace_s=2)

    def drop_damaged(self, failure: Failure) -> None:
        """A layer that is not what its name says is made again by the next build, instead of found again.

        Only where the engine has a copy of its own: a process of this machine runs from the very files.
        """
        diff_id = failure.fields.get("diff_id")
        if failure.code == "layer-damaged" and isinstance(diff_id, str) and self.settings.target == "docker":
            store = LayerStore(root=self.settings.state)
            self.source.forget_big_files(store.layer_path(diff_id))
            store.discard(diff_id)

    def abort(self, build: Build) -> None:
        """A person asked for the end of a build whose instance may be starting."""
        self.target.stop(f"b{build.id}-{RELEASE}", grace_s=1)
        self.target.stop(f"b{build.id}", grace_s=1)

    def clean_up(self, build: Build) -> None:
        """What a finished build leaves behind: its workspace, and its objects if nobody shares them."""
        shutil.rmtree(self.settings.state / "builds" / str(build.id), ignore_errors=True)
        if build.quarantine is not None:
            self.source.drop(build.app_id, build.quarantine)

    # -- what must serve ---------------------------------------------------------------------------------------

    def restore(self) -> None:
        """After a start: every environment serves its last good release again, in parallel; strays end.

        Waits for them, but not for ever: one that takes long, or does not come up again, goes on in the background
        (the target keeps trying, and the server's log says why), and pushes are taken meanwhile.
        """
        wanted: dict[str, tuple[App, Release]] = {}
        for environment in self.ledger.all_environments():
            app = self.ledger.app(environment.app_id)
            release = None if environment.release_id is None else self.ledger.release(environment.release_id)
            if app is not None and release is not None:
                wanted[release.instance] = (app, release)
        self.source.sweep_drafts()
        unfinished = {f"b{build.id}" for build in self.ledger.running()}
        for instance in self.target.instances():
            if instance not in wanted and instance not in unfinished:
                self.target.stop(instance, grace_s=5)
        threads = [
            threading.Thread(target=self._restore_one, args=pair, name=f"restore-{pair[1].instance}", daemon=True)
            for pair in wanted.values()
        ]
        for thread in threads:
            thread.start()
        deadline_at = time.monotonic() + _RESTORE_S
        for thread in threads:
            thread.join(max(0.0, deadline_at - time.monotonic()))

    def _restore_one(self, app: App, release: Release) -> None:
        spec = self._spec_of(app, release)
        try:
            self.target.start(spec, lambda line: _LOG.info("%s: %s", release.instance, line))
        except Problem as problem:
            _LOG.error("%s release %s did not come up: %s", app.name, release.number, explain.sentence(problem.failure))
        self.target.keep(spec)

    def _spec_of(self, app: App, release: Release) -> Spec:
        image = self.ledger.image(release.image_digest)
        if image is None:
            raise Problem("image-gone", digest=release.image_digest)
        environment = self.ledger.environment_by_id(release.environment_id)
        branch = environment.branch if environment is not None else "removed"
        return self._spec(app, release.instance, f"{branch} {release.commit[:7]}", image, release.config)

    # -- versions and commits on demand ------------------------------------------------------------------------

    def wake(self, app_id: int, digest: str, scope: EnvKind, label: str) -> Running:
        """An instance of an image that no environment serves now, started by the first call to it.

        Raises  Problem with the cause when it does not come up
        """
        app, image = self.ledger.app(app_id), self.ledger.image(digest)
        if app is None or image is None or image.app_id != app_id:
            raise Problem("image-gone", digest=digest)
        config = self.ledger.config(app_id, scope)
        instance = f"i{app_id}-{digest.removeprefix('sha256:')[:16]}-{scope.value}-c{config.number}"
        with self._lock:
            gate = self._waking.setdefault(instance, threading.Lock())
        with gate:
            running = self.target.start(
                self._spec(app, instance, label, image, config.values),
                lambda line: _LOG.info("%s: %s", instance, line),
            )
            with self._lock:
                self._on_demand[instance] = running.address
        return running

    # -- housekeeping ------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """End what nobody needs: idle versions, previews past their time, quarantines without a build."""
        calls = self.routes.last_calls()
        if calls is not None:
            self._sweep_on_demand(calls)
            self.sweep_previews(calls)
        self._sweep_quarantines()
        self.source.sweep()

    def _sweep_quarantines(self) -> None:
        """Objects of builds that ended without a worker: superseded or cancelled while they waited."""
        live = [build.id for build in (*self.ledger.queued(), *self.ledger.running())]
        ended = self.ledger.ended_since(self._swept_to)
        for build in ended:
            if build.quarantine is not None and build.started_at is None:
                self.source.drop(build.app_id, build.quarantine)
        newest = max((build.id for build in ended), default=self._swept_to - 1) + 1
        self._swept_to = min([*live, newest])

    def _sweep_on_demand(self, calls: Mapping[str, float]) -> None:
        with self._lock:
            idle = [
                instance
                for instance, address in self._on_demand.items()
                if calls.get(address, float("inf")) > self.settings.idle_s
            ]
            for instance in idle:
                del self._on_demand[instance]
        for instance in idle:
            self.routes.reload()
            self._drain(instance)

    def sweep_previews(self, calls: Mapping[str, float]) -> None:
        for environment in self.ledger.all_environments():
            if environment.kind is not EnvKind.PREVIEW or environment.expires_at is None:
                continue
            called_at = self._called_at(environment, calls)
            ends_at = environment.expires_at
            if called_at is not None:
                ends_at = max(ends_at, called_at + timedelta(seconds=self.settings.preview_ttl_s))
            if datetime.now(UTC) < ends_at:
                if ends_at > environment.expires_at:
                    self.ledger.touch_environment(environment.id, ends_at)
                continue
            self.ledger.touch_environment(environment.id, None)  # asked once
            self.ledger.enqueue([_deletion(environment, actor="time-to-live")])

    def _called_at(self, environment: Environment, calls: Mapping[str, float]) -> datetime | None:
        release = None if environment.release_id is None else self.ledger.release(environment.release_id)
        running = None if release is None else self.target.find(release.instance)
        seconds = None if running is None else calls.get(running.address)
        return None if seconds is None else datetime.now(UTC) - timedelta(seconds=seconds)

    def destroy(self, app_id: int) -> None:
        """An app is gone from the ledger: stop all of it, then remove its folders.

        Raises  Problem('app-exists') for one that is not: whoever asks, the ledger decides
        """
        living = self.ledger.app(app_id)
        if living is not None:
            raise Problem("app-exists", app=str(living.name))
        self.routes.reload()
        for build in (*self.ledger.queued(), *self.ledger.running()):
            if build.app_id == app_id:
                self.ledger.request_cancel(build.id, "destroy")
        prefix = f"i{app_id}-"
        mine = {f"b{build.id}" for build in self.ledger.builds(app_id, limit=1_000_000)}
        for instance in self.target.instances():
            if instance.removesuffix(f"-{RELEASE}") in mine or instance.startswith(prefix):
                self._drain(instance)
        for path in (
            self.settings.repo_path(app_id), self.settings.state / "cache" / "apps" / str(app_id),
        ):  # fmt: skip
            shutil.rmtree(path, ignore_errors=True)
        self.settings.app_log(app_id).unlink(missing_ok=True)

    def close(self) -> None:
        """The server stops: every instance ends, in parallel, and nothing of it is left."""
        threads = [
            threading.Thread(target=self.target.stop, args=(instance,), kwargs={"grace_s": 10.0})
            for instance in self.target.instances()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.target.close()
        self.ledger.close()

    def _has_no_production(self, app: App) -> bool:
        production = self.ledger.environment(app.id, EnvKind.PRODUCTION, "main")
        return production is None or production.release_id is None


@contextmanager
def _explaining(image: Image) -> Iterator[None]:
    """A crash inside, of two packages that are known to clash, is told as that."""
    try:
        yield
    except Problem as problem:
        told = explained(problem, image.config)
        if told is problem:
            raise
        raise told from problem


def _check_cancelled(job: Job) -> None:
    if job.cancelled.is_set():
        raise Problem("cancelled", actor="the server", build=job.build.id)


def _deletion(environment: Environment, *, actor: str) -> NewBuild:
    return NewBuild(
        app_id=environment.app_id, env_kind=environment.kind, branch=environment.branch, kind=BuildKind.DELETE,
        git_ref=f"refs/heads/{environment.branch}", old=ZERO_OID, new=ZERO_OID, commit=ZERO_OID, actor=actor,
    )  # fmt: skip


def _is_shim(image: Mapping[str, Json]) -> bool:
    return image.get("model") is not None


def _smoke_test(facts: Mapping[str, Json]) -> list[str]:
    """What the instance said of itself when it got ready."""
    lines = []
    memory = facts.get("memory_mib")
    size = f", {memory:.0f} MB" if isinstance(memory, (int, float)) else ""
    load = facts.get("load_s")
    loaded = f", loaded in {load:.1f} s" if isinstance(load, (int, float)) else ""
    predict = facts.get("predict_ms")
    if isinstance(predict, (int, float)):
        sample = facts.get("sample")
        with_what = f" with {sample}" if isinstance(sample, str) and sample != "zeros" else ""
        lines.append(f"Smoke test: 1 prediction{with_what} in {predict:.1f} ms{loaded}{size}")
    elif facts and not facts.get("cases"):
        lines.append(f"Smoke test: ready{loaded}{size}; no example input is known (add example.json to have one tried)")
    cases = facts.get("cases")
    if isinstance(cases, str) and cases:
        lines.append(f"Smoke test: {cases} answered as expected")
    warning = facts.get("warning")
    if isinstance(warning, str) and warning:
        lines.append(f"Warning: {warning}")
    return lines


def _in(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
