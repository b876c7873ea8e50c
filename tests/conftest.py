"""Fixtures of the tests that drive a real server. Importing this costs nothing: the parts come in when first used."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.services.client import Repo, User
    from tests.services.server import Server
    from tests.services.targets import Ground


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make golden` writes the golden files anew; nothing else uses it."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/files anew")


def pytest_sessionstart(session: pytest.Session) -> None:
    """On containers, a machine without an engine is told so once instead of by every test."""
    if os.environ.get("ALGO_TEST_TARGET", "process") == "process":
        return
    from tests.services.targets import why_not

    reason = why_not()
    if reason is not None:
        pytest.exit(f"The tests on containers are left out: {reason}", returncode=0)


def pytest_collection_finish(session: pytest.Session) -> None:
    """In CI what the selected tests need of this machine is installed and made now, outside any test's time limit."""
    needs_parts = any({"contract", "e2e"} & set(item.path.parts) for item in session.items)
    if os.environ.get("CI") and needs_parts and not session.config.option.collectonly:
        from tests.services.parts import prepare

        prepare()


FAST = {"ready_timeout_s": "60", "preview_limit": "20"}  # a busy machine imports scikit-learn in 10 s


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that most tests share; each test has an app of its own on it."""
    from tests.services.server import Server

    shared = Server(tmp_path_factory.mktemp("shared") / "state", FAST)
    try:
        yield shared.start()
    finally:
        shared.close()


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`new_server(preview_ttl_s="3")` is a server of this test alone, not started; ground: where it runs models."""
    from tests.services.server import Server

    made: list[Server] = []

    def make(*, ground: Ground | None = None, **settings: str) -> Server:
        one = Server(tmp_path / f"server{len(made)}" / "state", {**FAST, **settings}, ground=ground)
        one.state.parent.mkdir()
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture
def fresh_server(new_server: Callable[..., Server]) -> Callable[..., Server]:
    """As new_server, started: one that may be killed."""

    def start(**settings: Any) -> Server:
        return new_server(**settings).start()

    return start


@pytest.fixture(scope="session")
def alice(server: Server, tmp_path_factory: pytest.TempPathFactory) -> User:
    """The owner of the shared server, logged in, with an SSH key."""
    from tests.services.client import User
    from tests.services.waiting import need_tool

    need_tool("ssh", "apt-get install openssh-client")
    user = User(tmp_path_factory.mktemp("alice"), server)
    user.login()
    user.add_key()
    return user


@pytest.fixture(params=["http", "ssh"])
def transport(request: pytest.FixtureRequest) -> str:
    """Both ways in: what git says and what happens must be the same."""
    return str(request.param)


@pytest.fixture
def app_name(request: pytest.FixtureRequest) -> str:
    """A valid app name made of the test's own."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_")).strip("-")
    number = abs(hash(request.node.nodeid)) % 100_000_000
    return f"{words[:30].strip('-')}-{number}"


@pytest.fixture
def repo(alice: User, app_name: str, tmp_path: Path) -> Iterator[Repo]:
    """An empty repository whose remote `algo` is an app that does not exist yet, over HTTP."""
    from tests.services.client import Repo

    made = Repo(tmp_path / "repo", alice, app_name)
    yield made
    made.close()


@pytest.fixture
def repo_by(alice: User, app_name: str, tmp_path: Path, transport: str) -> Iterator[Repo]:
    """As `repo`, once over each transport."""
    from tests.services.client import Repo

    made = Repo(tmp_path / "repo", alice, app_name, transport=transport)
    yield made
    made.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[[Server, str], Repo]]:
    """`own(server, "iris")`: a repository on a server of the test's own, its user logged in."""
    from tests.services.client import Repo, User

    made: list[Repo] = []

    def make(server: Server, app: str) -> Repo:
        user = User(tmp_path / "home", server)
        user.login()
        made.append(Repo(tmp_path / f"repo-{app}", user, app))
        return made[-1]

    yield make
    for one in made:
        one.close()
