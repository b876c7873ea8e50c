"""A worker over a real ledger and real repositories, with a target and a kitchen that only pretend.

The fakes are small and stateful: what they say happened can be asked. test_targets_* hold the real target to the same
Protocol; everything else here is the real thing.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from buildpacks.order import BuildFailed, Child
from gitserver.errors import Json, Problem
from gitserver.job import Job
from gitserver.ledger.records import (
    App,
    Build,
    BuildKind,
    BuildState,
    ConfigVersion,
    Environment,
    EnvKind,
    Image,
    NewBuild,
)
from gitserver.ledger.store import Ledger
from gitserver.push import ZERO_OID, AppName
from gitserver.remote.refs import create_repository, list_refs
from gitserver.remote.tree import Tree
from gitserver.settings import Settings, read_settings
from gitserver.targets.contract import Running, Spec
from gitserver.worker import Worker
from gitserver.world import World


class FakeTarget:
    """Instances are entries of a dictionary. refuse: instance -> the Problem that its start ends with."""

    def __init__(self) -> None:
        self.running: dict[str, Spec] = {}
        self.kept: set[str] = set()
        self.refuse: Callable[[Spec], Problem | None] = lambda _spec: None

    def start(self, spec: Spec, log: Callable[[str], None]) -> Running:
        problem = self.refuse(spec)
        if problem is not None:
            raise problem
        self.running.setdefault(spec.instance, spec)
        return Running(instance=spec.instance, address=f"unix:/{spec.instance}", facts={"load_s": 0.1, "imports": "x"})

    def run(self, spec: Spec, log: Callable[[str], None]) -> None:
        problem = self.refuse(spec)
        if problem is not None:
            raise problem
        log(f"{spec.process} ran")

    def keep(self, spec: Spec) -> None:
        self.kept.add(spec.instance)

    def stop(self, instance: str, *, grace_s: float) -> None:
        self.running.pop(instance, None)
        self.kept.discard(instance)

    def find(self, instance: str) -> Running | None:
        if instance not in self.running:
            return None
        return Running(instance=instance, address=f"unix:/{instance}", facts={})

    def instances(self) -> tuple[str, ...]:
        return tuple(sorted(self.running))

    def close(self) -> None:
        self.kept.clear()


class FakeKitchen:
    """An image is named by its commit. gate: builds wait in it; fail: what the next build ends with."""

    def __init__(self) -> None:
        self.built: list[str] = []
        self.named: list[str] = []
        self.published: list[str] = []
        self.processes: list[Json] = []
        self.again: dict[str, Json] = {}  # what a second build makes different
        self.gate = threading.Event()
        self.gate.set()
        self.at_work = 0
        self.most_at_work = 0
        self.fail: BuildFailed | None = None
        self._lock = threading.Lock()

    def name_version(self, job: Job, image: Image) -> None:
        self.named.append(job.build.git_ref)

    def build(self, job: Job, environment: Environment, tree: Tree, config: ConfigVersion) -> Image:
        with self._lock:
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            while not self.gate.wait(0.01):
                if job.cancelled.is_set():
                    raise BuildFailed("cancelled")
            failed, self.fail = self.fail, None
            if failed is not None:
                raise failed
        finally:
            with self._lock:
                self.at_work -= 1
        self.built.append(job.build.commit)
        return self.make(job, tree)

    def make(self, job: Job, tree: Tree) -> Image:
        """The image of a commit."""
        digest = f"sha256:{job.build.commit}"
        document: Mapping[str, Json] = {"processes": [*self.processes], "model": {}}
        return Image(
            digest=digest, app_id=job.app.id, commit=job.build.commit, config=document, created_at=job.build.created_at
        )

    def build_again(self, job: Job, tree: Tree, config: ConfigVersion, scratch: Path) -> Image:
        again = self.make(job, tree)
        return replace(again, config={**again.config, **self.again})

    def publish(self, job: Job, image: Image) -> None:
        self.published.append(image.digest)

    def rebase(self, job: Job, image: Image, stack_name: str) -> Image:
        return replace(image, digest=f"{image.digest}-on-{stack_name}", config={**image.config, "base": stack_name})


class Corridor:
    """One app, its repository, and a worker that can be thrown away and made anew."""

    def __init__(self, state: Path, **settings: str) -> None:
        options = {"state": str(state), "owner": "alice", **settings}
        self.settings: Settings = replace(read_settings(options, {}), drain_s=0.0)
        self.settings.run_dir.mkdir(parents=True)
        self.ledger = Ledger.open(self.settings.ledger_url)
        self.ledger.add_principal("alice")
        self.app: App = self.ledger.create_app(AppName(owner="alice", app="iris"))
        self.repo = self.settings.repo_path(self.app.id)
        create_repository(self.repo)
        self.target, self.kitchen = FakeTarget(), FakeKitchen()
        self.world = self._world()

    def _world(self) -> World:
        return World(self.settings, self.ledger, self.target, self.kitchen)

    def commit(self, text: str, parent: str | None = None) -> str:
        """A commit with one file, already in the repository (a push's quarantine is tested with the remote)."""
        blob = self.git("hash-object", "-w", "--stdin", stdin=text)
        tree = self.git("mktree", stdin=f"100644 blob {blob}\tpredict.py\n")
        parents = ["-p", parent] if parent else []
        return self.git("commit-tree", tree, *parents, "-m", text)

    def git(self, *arguments: str, stdin: str = "") -> str:
        """git in the bare repository; what it printed."""
        env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.settings.state), "GIT_DIR": str(self.repo),
            "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.com", "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.com",
        }  # fmt: skip
        done = subprocess.run(
            ["git", *arguments], env=env, input=stdin, capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.strip()

    def order(self, commit: str, **changes: object) -> NewBuild:
        """A push of a commit to main, unless changes say otherwise."""
        new = NewBuild(
            app_id=self.app.id, env_kind=EnvKind.PRODUCTION, branch="main", kind=BuildKind.DEPLOY,
            git_ref="refs/heads/main", old=self.ref("refs/heads/main"), new=commit, commit=commit, actor="alice",
        )  # fmt: skip
        return replace(new, **changes)  # type: ignore[arg-type]  # the tests name fields that exist

    def ref(self, name: str) -> str:
        """Where a ref is; zeros when it is not."""
        refs = list_refs(self.repo)
        return refs[name].oid if name in refs else ZERO_OID

    def carry_out(self, *orders: NewBuild) -> list[Build]:
        """Hand in, let a worker work until all of it is final, and read the records again."""
        made = self.ledger.enqueue(orders)
        with self.working():
            return [self.wait(build.id) for build in made]

    def wait(self, build_id: int, until: Sequence[BuildState] = ()) -> Build:
        """The build once it is final, or in one of these states."""
        deadline_at = time.monotonic() + 20
        while time.monotonic() < deadline_at:
            build = self.ledger.build(build_id)
            assert build is not None
            done = self.settings.build_done(build_id).exists() or build.state in {
                BuildState.SUPERSEDED, BuildState.CANCELLED,
            }  # fmt: skip
            if build.state in until or (build.state.is_final and done and not until):
                return build
            time.sleep(0.01)
        raise AssertionError(f"build {build_id} did not end: {self.log(build_id)}")

    def log(self, build_id: int) -> str:
        """Everything that was said of a build."""
        path = self.settings.build_log(build_id)
        return path.read_text() if path.exists() else ""

    def serving(self, branch: str = "main", kind: EnvKind = EnvKind.PRODUCTION) -> str | None:
        """The commit that an environment serves."""
        environment = self.ledger.environment(self.app.id, kind, branch)
        release = None
        if environment is not None and environment.release_id is not None:
            release = self.ledger.release(environment.release_id)
        return None if release is None else release.commit

    @contextmanager
    def working(self) -> Iterator[Worker]:
        """A worker in a thread."""
        worker = Worker(self.world)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join(20)
            assert not thread.is_alive()

    def close(self) -> None:
        """Give the ledger's file back."""
        for thread in threading.enumerate():
            if thread.name.startswith("drain-"):
                thread.join(10)
        self.ledger.close()


def _no_child(child: Child, log: Callable[[str], None]) -> int:
    raise AssertionError("the fake kitchen starts nothing")
