"""Whatever dies is back without a push: model processes, parts of the server, all of it (issue, The release)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.e2e.programs import answer, mortal, says, slow, thinking
from tests.services.client import Repo
from tests.services.load import Load
from tests.services.processes import parts_of
from tests.services.server import Server
from tests.services.waiting import eventually

pytestmark = pytest.mark.e2e

Own = Callable[[Server, str], Repo]
Fresh = Callable[..., Server]


def test_healthz_answers_once_pushes_and_calls_are_accepted(server: Server) -> None:
    reply = httpx.get(f"{server.url}/healthz", timeout=10, trust_env=False)
    assert reply.status_code == 200


def test_a_crashed_model_process_is_started_again(repo: Repo, server: Server) -> None:
    repo.commit(thinking("one", predict_s=5))  # a busy engine takes its time to kill
    repo.push()
    before = server.models(repo.app)
    assert len(before) == 1
    replies: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: replies.append(server.call(repo.app, {})))
    caller.start()
    time.sleep(0.5)  # the call is under way now
    server.kill_model(repo.app)
    caller.join(30)
    assert [reply.status_code in {502, 503} for reply in replies] == [True]
    server.wait_answer(repo.app, {}, answer("one"), within_s=30)
    after = server.models(repo.app)
    assert len(after) == 1
    assert not after & before, "it is another one"


def test_a_program_that_kills_itself_answers_again(repo: Repo, server: Server) -> None:
    repo.commit(mortal())
    repo.push()
    assert server.call(repo.app, {"die": True}).status_code in {502, 503}
    server.wait_answer(repo.app, {}, answer("alive"), within_s=30)


def test_after_sigterm_and_a_start_everything_serves_again(fresh_server: Fresh, own: Own) -> None:
    server = fresh_server()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    repo.git("tag", "v1")
    repo.push("v1")
    repo.commit(says("preview"))
    repo.push("main:feature/x")
    token = server.token
    assert server.stop() == 0
    assert server.left_over() == {}
    server.start()
    assert server.token == token
    server.wait_answer("iris", {}, answer("one"))
    server.wait_answer("iris", {}, answer("preview"), ref="feature/x")
    server.wait_answer("iris", {}, answer("one"), ref="v1")
    repo.commit(says("two"))
    repo.push()
    assert server.answer("iris", {}) == answer("two")


def test_after_kill_9_of_everything_and_a_start_everything_serves_again(fresh_server: Fresh, own: Own) -> None:
    server = fresh_server()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    repo.commit(says("two"))
    repo.push()
    server.kill()
    server.start()
    server.wait_answer("iris", {}, answer("two"))
    repo.commit(says("three"))
    repo.push()
    assert server.answer("iris", {}) == answer("three")


def test_a_build_that_ran_when_everything_was_killed_ends_as_if_nothing_had_been(fresh_server: Fresh, own: Own) -> None:
    server = fresh_server()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    commit = repo.commit(slow("two", load_s=4))
    push = repo.start_push("main")
    push.wait_for("build ")
    server.kill()
    assert push.wait(60).rc != 0
    server.start()
    server.wait_answer("iris", {}, answer("two"))

    def has_moved() -> bool:
        return repo.remote_refs()["refs/heads/main"] == commit

    eventually(has_moved, within_s=30, what="main moves", every_s=0.3)


def test_parts_of_the_server_die_and_no_call_is_lost(fresh_server: Fresh, own: Own) -> None:
    server = fresh_server()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    with Load(f"{server.url}/alice/iris/predict", server.token, {}, connections=2, pause_s=0.01) as load:
        for part in ("worker", "web", "ssh"):
            pids = parts_of(server.state, part)
            assert pids, f"no process of the {part} found"
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            eventually(lambda part=part: parts_of(server.state, part), within_s=20, what=f"the {part} is back")  # type: ignore[misc]  # mypy knows no lambda with a default
            eventually(server.is_healthy, within_s=30, what=f"healthz after the {part} died")
    assert load.lost == []
    assert load.count > 50
    repo.commit(says("two"))
    repo.push()
    assert server.answer("iris", {}) == answer("two")


def test_the_gateway_dies_and_the_models_go_on(fresh_server: Fresh, own: Own) -> None:
    server = fresh_server()
    repo = own(server, "iris")
    repo.commit(says("one"))
    repo.push()
    before = server.models("iris")
    assert len(before) == 1
    for pid in parts_of(server.state, "gateway"):
        os.kill(pid, signal.SIGKILL)
    server.wait_answer("iris", {}, answer("one"), within_s=20)
    assert server.models("iris") == before


def test_sigterm_lets_a_running_call_finish_and_leaves_nothing_behind(fresh_server: Fresh, own: Own) -> None:
    server = fresh_server()
    repo = own(server, "iris")
    repo.commit(thinking("late", predict_s=2))
    repo.push()
    replies: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: replies.append(server.call("iris", {})))
    caller.start()
    time.sleep(0.7)  # the call is under way now
    assert server.stop() == 0
    caller.join(30)
    assert [(reply.status_code, reply.json()) for reply in replies] == [(200, answer("late"))]
    assert server.left_over() == {}


def test_the_first_start_prints_the_token_and_the_three_lines_to_type(fresh_server: Fresh) -> None:
    server = fresh_server()
    assert server.token in server.printed
    for words in (f"algo login {server.url}", "algo create", "git push algo main"):
        assert words in server.printed
    assert server.stop() == 0
    written = len(server.printed)
    server.start()
    assert server.token not in server.printed[written:]


def test_sec_54_secrets_of_the_state_folder_are_readable_by_the_server_alone(fresh_server: Fresh) -> None:
    server = fresh_server()
    assert server.state.stat().st_mode & 0o777 == 0o700
    for path in (server.state / "owner-token", server.state / "ledger.sqlite", *server.state.glob("*host*key")):
        assert path.stat().st_mode & 0o077 == 0, path.name
