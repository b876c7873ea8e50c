"""Makes the doors: the only place that knows which object stands behind which Protocol."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from gitserver.accounts.audit import Audit
from gitserver.accounts.auth import Accounts
from gitserver.builds import Pushes
from gitserver.ledger.store import Ledger
from gitserver.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from buildpacks.order import BuiltImage, Child, Runner
    from gitserver.gc.desk import CollectionDesk
    from gitserver.job import Job
    from gitserver.ledger.records import Image
    from gitserver.remote.tree import Tree
    from gitserver.targets.containers import Engine
    from gitserver.targets.ready import ReadyLauncher
    from gitserver.world import World


def make_world(settings: Settings) -> World:
    """The worker's doors, over the target that the operator chose."""
    return _docker_world(settings) if settings.target == "docker" else _process_world(settings)


def _process_world(settings: Settings) -> World:
    from buildpacks.ground import HOST
    from gitserver.kitchen import PackKitchen
    from gitserver.targets.build_runner import SandboxRunner
    from gitserver.targets.process import ProcessTarget
    from gitserver.world import World

    target, ledger = ProcessTarget(settings), Ledger.open(settings.ledger_url)

    ready = _ready_launcher()

    def runner(job: Job) -> Runner:
        return SandboxRunner(settings, target.isolation, job.app.id, job.cancelled, ready=ready)

    return World(settings, ledger, target, PackKitchen(settings, ledger, runner, ground=lambda: HOST))


def _docker_world(settings: Settings) -> World:
    from buildpacks.image.launching import command_of
    from buildpacks.image.settle import sendable
    from buildpacks.image.store import LayerStore
    from buildpacks.stack.store import StackStore
    from gitserver.kitchen import PackKitchen, StackGround
    from gitserver.targets.build_runner import SandboxRunner
    from gitserver.targets.build_sites import BuildSites
    from gitserver.targets.docker import DockerTarget
    from gitserver.targets.engine import DockerEngine
    from gitserver.targets.probe import probe_isolation
    from gitserver.world import World

    ledger, engine = Ledger.open(settings.ledger_url), DockerEngine(settings.docker_host)
    layers, stacks = LayerStore(root=settings.state), StackStore(root=settings.state / "stacks")
    target = DockerTarget(
        settings, engine, lambda doc: sendable(doc, layers, stacks),
        lambda doc, process, env: command_of(layers, doc, process, env),
    )  # fmt: skip
    isolation = probe_isolation(settings.state, required=settings.isolation)
    sites = BuildSites(settings, engine, stacks)
    sites.sweep()
    ready = _ready_launcher()

    def runner(job: Job) -> Runner:
        sandbox = SandboxRunner(settings, isolation, job.app.id, job.cancelled, ready=ready)

        def run(child: Child, log: Callable[[str], None]) -> int:
            if child.contained:
                return sites.runner(job.app.id, job.cancelled, log)(child, log)
            return sandbox(child, log)

        return run

    kitchen = PackKitchen(
        settings, ledger, runner, ground=StackGround(stacks), dockerfile=_dockerfile_builder(settings),
        publish=_publisher(settings),
    )  # fmt: skip
    return World(settings, ledger, target, kitchen)


def _ready_launcher() -> ReadyLauncher:
    """For the next build's lifecycle."""
    from buildpacks.kitchen import LIFECYCLE
    from buildpacks.toolchain import find_toolchain
    from gitserver.targets.ready import ReadyLauncher, Script

    return ReadyLauncher(Script(python=find_toolchain().python, path=LIFECYCLE))


def _publisher(settings: Settings) -> Callable[[Job, Image], None] | None:
    """None without a registry."""
    from gitserver.publish import Publisher, settings_from

    if not settings.registry:
        return None
    place = settings_from(
        registry=settings.registry, plain_http=settings.registry_plain_http, docker_config=settings.docker_config,
        environment=settings.build_env,
    )  # fmt: skip
    return Publisher(place, settings.state).publish


def _dockerfile_builder(settings: Settings) -> Callable[[Job, Tree], BuiltImage] | None:
    """None where the operator does not allow it: a Dockerfile is then a file like any other."""
    from buildpacks.order import BuiltImage
    from gitserver.targets.build_network import BuildNetwork
    from gitserver.targets.dockerfile import DockerfileOrder, build_dockerfile

    def build(job: Job, tree: Tree) -> BuiltImage:
        work_dir = settings.state / "builds" / str(job.build.id) / "dockerfile"
        shutil.rmtree(work_dir, ignore_errors=True)
        work_dir.mkdir(parents=True)
        order = DockerfileOrder(
            tree_root=tree.root, work_dir=work_dir, app=job.app.name, app_id=job.app.id, commit=job.build.commit,
            host=settings.docker_host, network=BuildNetwork(settings.build_network), timeout_s=settings.build_timeout_s,
        )  # fmt: skip
        made = build_dockerfile(order, job.log.line, job.cancelled)
        return BuiltImage(digest=made.image_id, config=made.document)

    return build if settings.allow_dockerfile else None


def make_desk(settings: Settings, world: World) -> CollectionDesk:
    """Where collections of what nothing needs are asked for."""
    from gitserver.gc.collector import Collector
    from gitserver.gc.desk import CollectionDesk
    from gitserver.targets.engine import DockerEngine

    engine: Engine | None = DockerEngine(settings.docker_host) if settings.target == "docker" else None
    collector = Collector(settings, world.ledger, world.target, engine, world.routes.reload)
    return CollectionDesk(lambda dry_run: collector.collect(dry_run=dry_run))


def make_web(settings: Settings, stopping: threading.Event) -> Flask:
    """The control plane: git over HTTP and the management API. stopping: watchers say goodbye when it is set."""
    from gitserver.remote.channel import RemoteDoors
    from gitserver.remote.http import git_blueprint
    from gitserver.web.app import create_app

    ledger = Ledger.open(settings.ledger_url)
    pushes, accounts, audit = Pushes(settings, ledger), Accounts(ledger), make_audit(settings)
    git = git_blueprint(
        RemoteDoors(settings=settings, ledger=ledger, pushes=pushes, accounts=accounts, audit=audit, stopping=stopping)
    )
    return create_app(settings, ledger, pushes, accounts, audit, blueprints=[git])


def run_ssh(settings: Settings) -> None:
    """Git over SSH, until SIGTERM."""
    from gitserver.remote.channel import RemoteDoors
    from gitserver.remote.ssh import serve_ssh

    ledger = Ledger.open(settings.ledger_url)
    doors = RemoteDoors(
        settings=settings, ledger=ledger, pushes=Pushes(settings, ledger), accounts=Accounts(ledger),
        audit=make_audit(settings),
    )  # fmt: skip
    serve_ssh(doors, lambda _port: None)
    ledger.close()


def make_audit(settings: Settings) -> Audit:
    """The append-only trace of who did what."""
    return Audit(settings.state / "logs" / "audit.jsonl")
