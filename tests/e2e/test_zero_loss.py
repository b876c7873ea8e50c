"""No call is lost while releases change, and the test would notice if one were."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.programs import answer, says, thinking
from tests.services.client import Repo
from tests.services.load import Load
from tests.services.server import Server

pytestmark = pytest.mark.e2e

ROUNDS = 10


@pytest.mark.timeout(240)
def test_ten_deploys_and_ten_rollbacks_under_load_lose_no_call(repo: Repo, server: Server) -> None:
    repo.commit(says("v1"))
    repo.git("tag", "v1")
    repo.push("main", "v1")
    with Load(f"{server.url}/alice/{repo.app}/predict", server.token, {}, connections=8, pause_s=0.005) as load:
        for number in range(ROUNDS):
            repo.commit(says(f"deploy {number}"))
            repo.push()
            repo.push("v1")
    assert load.lost == []
    seen = set(load.answers)
    assert len(seen) == ROUNDS + 1, "the load met every release"
    assert load.count > 20 * ROUNDS
    assert server.answer(repo.app, {}) == answer("v1")


def test_without_draining_calls_are_lost_and_this_test_notices(
    fresh_server: Callable[..., Server], own: Callable[[Server, str], Repo]
) -> None:
    server = fresh_server(drain_s="0")
    repo = own(server, "iris")
    repo.commit(thinking("one", predict_s=1))
    repo.push()
    with Load(f"{server.url}/alice/iris/predict", server.token, {}, connections=3) as load:
        for number in range(3):
            repo.commit(thinking(f"deploy {number}", predict_s=1))
            repo.push()
    assert load.lost, "with the drain off, calls that were running at a switch are cut"
