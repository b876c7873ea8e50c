"""A small house for tests of the remote: a real ledger, real repositories, and a desk whose builds are scripts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gitserver import explain
from gitserver.accounts.audit import Audit
from gitserver.accounts.auth import Accounts
from gitserver.accounts.tokens import RANDOM_BYTES, make_token
from gitserver.errors import Failure
from gitserver.ledger.records import Build, BuildKind, BuildState, EnvKind, NewBuild, Principal
from gitserver.ledger.store import Ledger
from gitserver.push import AppName
from gitserver.remote.channel import RemoteDoors
from gitserver.remote.quarantine import Quarantine
from gitserver.remote.refs import RefChange, move_refs, repo_lock
from gitserver.settings import Address, Settings

IMAGE = "sha256:" + "a" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOfBuild:
    """What PushDesk.verdict answers."""

    ok: bool
    title: str
    old: str
    new: str
    failure: Failure | None


@dataclass(slots=True)
class FakeDesk:
    """Builds that say what the test wrote down, and end as it says. Refs and versions move for real.

    fail_with  the failure of every further build, None: they serve
    hold       while set, builds stay running
    """

    settings: Settings
    ledger: Ledger
    lines: list[bytes] = field(default_factory=lambda: [b"-----> built by a script\n"])
    fail_with: Failure | None = None
    hold: threading.Event = field(default_factory=threading.Event)
    orders: list[NewBuild] = field(default_factory=list)

    def submit(self, new: Sequence[NewBuild]) -> list[Build]:
        made = self.ledger.enqueue(new)
        self.orders += new
        if not self.hold.is_set():
            for build in made:
                self.finish(build)
        return made

    def follow(self, build_id: int, *, from_start: bool = True) -> Iterator[bytes | None]:
        yield from self.lines
        while True:
            build = self.ledger.build(build_id)
            if build is None or build.state.is_final:
                return
            yield None
            time.sleep(0.02)

    def verdict(self, build_id: int) -> EndOfBuild:
        build = self.ledger.build(build_id)
        assert build is not None
        failure = build.failure
        title = explain.title(failure) if failure is not None else ""
        return EndOfBuild(ok=failure is None, title=title, old=build.old, new=build.new, failure=failure)

    def finish(self, build: Build) -> None:
        """What the worker does at the end of a build."""
        if self.fail_with is not None:
            self.ledger.finish(build.id, BuildState.FAILED, failure=self.fail_with)
            return
        repo_path = self.settings.repo_path(build.app_id)
        with repo_lock(repo_path):
            if build.quarantine is not None:
                Quarantine(repo_path=repo_path, quarantine_id=build.quarantine).migrate()
            if build.kind in {BuildKind.DEPLOY, BuildKind.PUBLISH, BuildKind.DELETE}:
                change = RefChange(git_ref=build.git_ref, old=build.old, new=build.new)
                assert move_refs(repo_path, [change]) is None
        release_id = None
        if build.kind is not BuildKind.DELETE:
            release_id = self._release(build)
        self.ledger.finish(build.id, BuildState.SUCCEEDED, release_id=release_id)

    def _release(self, build: Build) -> int:
        environment = self.ledger.environment(build.app_id, build.env_kind, build.branch, create=True)
        assert environment is not None
        self.ledger.add_image(IMAGE, build.app_id, build.commit, {})
        tag = build.git_ref.removeprefix("refs/tags/")
        if build.kind is BuildKind.PUBLISH:
            self.ledger.add_version(
                build.app_id, tag=tag, object_oid=build.new, commit=build.commit, image_digest=IMAGE,
                config_version=0, actor=build.actor,
            )  # fmt: skip
        release = self.ledger.add_release(
            environment_id=environment.id, image_digest=IMAGE, commit=build.commit, version_tag=None, config_version=0,
            config={}, actor=build.actor, why=build.kind.value, build_id=build.id, facts={},
        )  # fmt: skip
        return release.id


@dataclass(slots=True, kw_only=True)
class House:
    """Alice, her token, and the doors."""

    settings: Settings
    ledger: Ledger
    desk: FakeDesk
    doors: RemoteDoors
    alice: Principal
    bob: Principal
    token: str
    bobs_token: str

    def refs(self, name: str = "alice/iris") -> dict[str, str]:
        """The refs of an app as git sees them."""
        owner, app_name = name.split("/")
        app = self.ledger.find_app(AppName(owner=owner, app=app_name))
        assert app is not None
        repo_path = self.settings.repo_path(app.id)
        output = git(["for-each-ref", "--format=%(refname) %(objectname)"], GIT_DIR=str(repo_path))
        return dict(line.split(" ") for line in output.splitlines())


def build_house(state: Path, **changes: object) -> House:
    """A house in an empty folder; close house.ledger at the end."""
    values: dict[str, object] = {
        "state": state, "http": Address(host="127.0.0.1", port=0), "ssh": Address(host="127.0.0.1", port=0),
        "owner": "alice", "build_env": {}, "drain_s": 2.0,
    }  # fmt: skip
    settings = Settings(**{**values, **changes})  # type: ignore[arg-type]  # a test's own few fields
    state.mkdir(parents=True, exist_ok=True)
    (state / "git").mkdir(exist_ok=True)
    ledger = Ledger.open(settings.ledger_url)
    desk = FakeDesk(settings, ledger)
    doors = RemoteDoors(
        settings=settings, ledger=ledger, pushes=desk, accounts=Accounts(ledger), audit=Audit(state / "audit.jsonl")
    )
    alice, bob = ledger.add_principal("alice"), ledger.add_principal("bob")
    return House(
        settings=settings, ledger=ledger, desk=desk, doors=doors, alice=alice, bob=bob,
        token=_token(ledger, alice, 1), bobs_token=_token(ledger, bob, 2),
    )  # fmt: skip


def _token(ledger: Ledger, principal: Principal, seed: int) -> str:
    token = make_token(bytes([seed]) * RANDOM_BYTES)
    ledger.add_token(
        principal.id, token_id=token.id, secret_sha256=token.secret_sha256, label="test", last4=token.last4,
        expires_at=datetime(2099, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return token.text


CLIENT_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Alice",
    "GIT_AUTHOR_EMAIL": "alice@example.com",
    "GIT_COMMITTER_NAME": "Alice",
    "GIT_COMMITTER_EMAIL": "alice@example.com",
}


def git(arguments: Sequence[str], cwd: Path | None = None, **env: str) -> str:
    """A git command that has to succeed; its output."""
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *arguments], cwd=cwd, env={**CLIENT_ENV, **env}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(repo: Path, files: Mapping[str, str | bytes], message: str = "change") -> str:
    """Write files and commit them; the commit."""
    if not (repo / ".git").exists():
        repo.mkdir(parents=True, exist_ok=True)
        git(["init", "-q"], repo)
    for name, content in files.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(["add", "-A"], repo)
    git(["commit", "-q", "--allow-empty", "-m", message], repo)
    return git(["rev-parse", "HEAD"], repo)


def push(
    repo: Path, url: str, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A real push, its status unread; trailing blanks of git's own padding are stripped (F10)."""
    done = subprocess.run(
        ["git", "push", url, *arguments], cwd=repo, env={**CLIENT_ENV, **(env or {})}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    done.stderr = "\n".join(line.rstrip() for line in done.stderr.splitlines())
    return done


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Until it is true; a test that waits longer has failed."""
    deadline_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_at, "waited in vain"
        time.sleep(0.02)


PRODUCTION = EnvKind.PRODUCTION
