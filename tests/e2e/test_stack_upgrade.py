"""`algo stack upgrade`: releases move to another stack without a build, or stay where they serve and say why."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from buildpacks.stack.store import StackStore
from tests.services.client import Repo
from tests.services.second_stack import add_second_stack
from tests.services.server import Server, algo_command
from tests.services.targets import on_docker

pytestmark = [pytest.mark.e2e, on_docker]

Own = Callable[[Server, str], Repo]
Moving = tuple[Server, Repo]
TELLS = (
    "from pathlib import Path\n\n\n"
    "def predict(x=None):\n"
    "    path = Path('/etc/stack-name')\n"
    "    return {'stack': path.read_text() if path.exists() else 'the first'}\n"
)
FRAGILE = TELLS.replace(
    "\n\n\n", "\n\nif Path('/etc/stack-name').exists():\n    raise RuntimeError('libfoo is gone')\n\n\n", 1
)


@pytest.fixture
def moving(fresh_server: Callable[..., Server], own: Own) -> Moving:
    """A server with a second stack, and an app that runs on both; beside it, `fragile` runs on the first alone."""
    server = fresh_server()
    sturdy, fragile = own(server, "sturdy"), own(server, "fragile")
    for repo, code in ((sturdy, TELLS), (fragile, FRAGILE)):
        repo.commit({"predict.py": code})
        repo.push()
    add_second_stack(StackStore(root=server.state / "stacks"), "second")
    return server, sturdy


def test_what_comes_up_moves_and_what_does_not_stays_and_says_why(moving: Moving) -> None:
    server, sturdy = moving
    user = sturdy.user
    assert server.answer("sturdy", {}) == {"stack": "the first"}
    status, said = user.status_of(str(algo_command()), "stack", "upgrade", "--all", "--to", "second")
    assert status == 1
    assert "alice/sturdy production: serves on second\n" in said
    assert "alice/fragile production: stays where it was (failed)\n" in said
    assert "libfoo is gone" in said
    assert server.answer("sturdy", {}) == {"stack": "second"}
    assert server.answer("fragile", {}) == {"stack": "the first"}
    releases = user.algo_list("releases", "--app", "alice/sturdy")
    assert [release["why"] for release in releases] == ["stack upgrade", "deploy"]
    builds = user.algo_list("builds", "--app", "alice/sturdy")
    assert [build["kind"] for build in builds] == ["rebase", "deploy"]


def test_a_rollback_goes_back_to_the_old_stack_and_the_next_push_builds_on_the_current_one(
    moving: Moving,
) -> None:
    server, sturdy = moving
    user = sturdy.user
    assert user.algo("stack", "upgrade", "sturdy", "--to", "second") == "alice/sturdy production: serves on second\n"
    again = json.loads(user.algo("stack", "upgrade", "sturdy", "--to", "second", "--json"))
    assert [move["state"] for move in again["moves"]] == ["there"]
    user.algo("gc")
    user.algo("rollback", "--app", "alice/sturdy")
    assert server.answer("sturdy", {}) == {"stack": "the first"}
    user.algo("stack", "upgrade", "sturdy", "--to", "second")
    sturdy.commit({"predict.py": TELLS + "# changed\n"})
    sturdy.push()
    assert server.answer("sturdy", {}) == {"stack": "the first"}
