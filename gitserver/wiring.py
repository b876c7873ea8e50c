"""Makes the doors: the only place that knows which object stands behind which Protocol."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gitserver.accounts.audit import Audit
from gitserver.accounts.auth import Accounts
from gitserver.builds import Pushes
from gitserver.ledger.store import Ledger
from gitserver.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from gitserver.world import World


def make_world(settings: Settings) -> World:
    """The worker's doors, over the process target."""
    from gitserver.targets.build_runner import SandboxRunner
    from gitserver.targets.process import ProcessTarget
    from gitserver.world import World

    target = ProcessTarget(settings)
    return World(
        settings,
        Ledger.open(settings.ledger_url),
        target,
        lambda job: SandboxRunner(settings, target.isolation, job.app.id, job.cancelled),
    )


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
