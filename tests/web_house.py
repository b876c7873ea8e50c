"""A control plane in one process, with a real ledger, two people and a clock that tests can turn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from gitserver.accounts.audit import Audit
from gitserver.accounts.auth import Accounts
from gitserver.accounts.tokens import hash_secret, make_token
from gitserver.builds import Pushes
from gitserver.ledger.records import App, BuildKind, BuildState, EnvKind, NewBuild, Principal, Release
from gitserver.ledger.store import Ledger
from gitserver.push import AppName
from gitserver.settings import Address, Settings
from gitserver.web.app import create_app

COMMIT_1, COMMIT_2 = "1" * 40, "2" * 40
DIGEST_1, DIGEST_2 = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def make_settings(state: Path, *, port: int = 8080, owner: str = "alice") -> Settings:
    """Defaults with a state folder of the test's."""
    (state / "run").mkdir(parents=True, exist_ok=True)
    return Settings(
        state=state,
        http=Address(host="127.0.0.1", port=port),
        ssh=Address(host="127.0.0.1", port=2222),
        owner=owner,
        build_env={},
    )


@dataclass
class Clock:
    """Stands still until it is turned."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **amount: float) -> None:
        self.now += timedelta(**amount)


class House:
    """alice and bob, a token each, and the WSGI application."""

    def __init__(self, state: Path, *, port: int = 8080) -> None:
        self.clock = Clock()
        self.settings = make_settings(state, port=port)
        self.ledger = Ledger.open(self.settings.ledger_url)
        self.audit_path = state / "audit.jsonl"
        self.pushes = Pushes(self.settings, self.ledger)
        self.accounts = Accounts(self.ledger, self.clock)
        self.wsgi: Flask = create_app(
            self.settings, self.ledger, self.pushes, self.accounts, Audit(self.audit_path, self.clock), clock=self.clock
        )
        self.alice, self.bob = self.ledger.add_principal("alice"), self.ledger.add_principal("bob")
        self.alices, self.bobs = self.token(self.alice, 1), self.token(self.bob, 2)

    def __enter__(self) -> House:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ledger.close()

    def token(self, principal: Principal, seed: int, *, expires_at: datetime | None = None) -> str:
        """The text of a new token."""
        new = make_token(bytes([seed]) * 40)
        self.ledger.add_token(
            principal.id,
            token_id=new.id,
            secret_sha256=hash_secret(new.text.rpartition("_")[2]),
            label="test",
            last4=new.last4,
            expires_at=expires_at,
        )
        return new.text

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        """One request of the API."""
        sent = dict(headers or {})
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {token}")
        data = None if body is None else json.dumps(body)
        with self.wsgi.test_client() as client:
            return client.open(
                path, method=method, data=data, content_type=None if body is None else "application/json", headers=sent
            )

    def app(self, name: str = "alice/iris") -> App:
        """A new app."""
        owner, _, app = name.partition("/")
        return self.ledger.create_app(AppName(owner=owner, app=app))

    def serve(
        self,
        app: App,
        *,
        commit: str = COMMIT_1,
        digest: str = DIGEST_1,
        tag: str | None = None,
        why: str = "deploy",
        kind: EnvKind = EnvKind.PRODUCTION,
        branch: str = "main",
    ) -> Release:
        """A release as the worker writes it."""
        environment = self.ledger.environment(app.id, kind, branch, create=True)
        assert environment is not None
        config = self.ledger.config(app.id, kind)
        build = self.build(app, commit=commit, kind=kind, branch=branch)
        self.ledger.add_image(digest, app.id, commit, {})
        release = self.ledger.add_release(
            environment_id=environment.id,
            image_digest=digest,
            commit=commit,
            version_tag=tag,
            config_version=config.number,
            config=config.values,
            actor="alice",
            why=why,
            build_id=build,
            facts={},
        )
        self.ledger.finish(build, BuildState.SUCCEEDED, image_digest=digest, release_id=release.id)
        return release

    def build(
        self, app: App, *, commit: str = COMMIT_1, kind: EnvKind = EnvKind.PRODUCTION, branch: str = "main"
    ) -> int:
        """The id of a queued build."""
        new = NewBuild(
            app_id=app.id,
            env_kind=kind,
            branch=branch,
            kind=BuildKind.DEPLOY,
            git_ref=f"refs/heads/{branch}",
            old="0" * 40,
            new=commit,
            commit=commit,
            actor="alice",
        )
        return self.ledger.enqueue([new])[0].id

    def audit_rows(self) -> list[dict[str, Any]]:
        """The audit, parsed."""
        text = self.audit_path.read_text(encoding="ascii") if self.audit_path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]
