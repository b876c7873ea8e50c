"""The `algo` command as a user types it, against a real server, with real git beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.programs import answer, environment, says
from tests.services.client import Repo, User
from tests.services.server import Server, algo_command
from tests.services.waiting import eventually

pytestmark = pytest.mark.e2e


def test_create_makes_a_remote_that_asks_for_nothing(
    alice: User, server: Server, app_name: str, tmp_path: Path
) -> None:
    repo = Repo(tmp_path / "repo", alice, app_name)
    repo.git("remote", "remove", "algo")
    alice.algo("create", app_name, cwd=repo.path)
    url = repo.git("remote", "get-url", "algo")
    assert url == f"{server.url}/alice/{app_name}.git"
    assert server.token not in (repo.path / ".git" / "config").read_text(encoding="utf-8")
    repo.commit(says("one"))
    repo.push()
    assert server.answer(app_name, {}) == answer("one")
    repo.git("fetch", "-q", "algo")
    assert f"alice/{app_name}" in alice.algo("apps")


def test_the_ledger_of_a_day(repo: Repo, server: Server) -> None:
    repo.commit(says("one"))
    repo.push()
    repo.git("tag", "v1")
    repo.push("v1")
    repo.commit(says("two"))
    repo.push()
    user, app = repo.user, f"alice/{repo.app}"
    user.algo("rollback", "v1", "--app", app)
    assert server.answer(repo.app, {}) == answer("one")
    releases = user.algo_list("releases", "--app", app)
    assert [release["why"] for release in releases] == ["rollback to v1", "deploy", "publish", "deploy"]
    assert [release["number"] for release in releases] == list(range(len(releases), 0, -1))
    assert {release["actor"] for release in releases} == {"alice"}
    assert [version["tag"] for version in user.algo_list("versions", "--app", app)] == ["v1"]
    builds = user.algo_list("builds", "--app", app)
    assert {build["state"] for build in builds} == {"succeeded"}
    shown = user.algo("builds", "logs", str(builds[-1]["id"]))
    assert "Release 1 is serving" in shown
    assert "rollback" in user.algo("releases", "--app", app).lower()


def test_config_is_a_new_release_and_can_be_taken_back(repo: Repo, server: Server) -> None:
    repo.commit(environment())
    repo.push()
    user, app = repo.user, f"alice/{repo.app}"
    before = len(user.algo_list("releases", "--app", app))
    user.algo("config", "set", "GREETING=hello world", "OTHER=x=y", "--app", app)
    assert server.answer(repo.app, {"name": "GREETING"}) == "hello world"
    assert server.answer(repo.app, {"name": "OTHER"}) == "x=y"
    assert len(user.algo_list("releases", "--app", app)) == before + 1
    assert "GREETING" in user.algo("config", "list", "--app", app)
    user.algo("config", "unset", "GREETING", "--app", app)
    assert server.answer(repo.app, {"name": "GREETING"}) is None
    assert user.algo_list("releases", "--app", app)[0]["why"] == "config"


def test_a_config_that_breaks_the_program_is_refused_and_the_old_one_serves(repo: Repo, server: Server) -> None:
    program = "import os\n\nLIMIT = int(os.environ.get('LIMIT', '3'))\n\n\ndef predict(x=None):\n    return LIMIT\n"
    repo.commit({"predict.py": program})
    repo.push()
    rc, text = repo.user.status_of(
        str(algo_command()), "config", "set", "LIMIT=many", "--app", f"alice/{repo.app}", cwd=repo.path
    )
    assert rc != 0
    assert "ValueError" in text
    assert server.answer(repo.app, {}) == 3


def test_call_logs_previews_and_status(repo: Repo, server: Server) -> None:
    repo.commit({"predict.py": "def predict(word):\n    print('asked for', word)\n    return word.upper()\n"})
    repo.push()
    user, app = repo.user, f"alice/{repo.app}"
    assert "HELLO" in user.algo("call", app, '{"word": "hello"}')
    eventually(
        lambda: "asked for hello" in user.algo("logs", "--app", app), within_s=15, what="the print is in the logs"
    )
    repo.push("main:feature/x")
    assert [preview["branch"] for preview in user.algo_list("previews", "--app", app)] == ["feature/x"]
    user.algo("previews", "delete", "feature/x", "--app", app)
    assert user.algo_list("previews", "--app", app) == []


def test_tokens_are_made_used_and_revoked(alice: User, server: Server) -> None:
    made = alice.algo_json("tokens", "create", "--label", "ci")
    token = made["token"]
    assert server.request("GET", "/api/v1/apps", token=token).status_code == 200
    alice.algo("tokens", "revoke", made["details"]["id"])
    eventually(
        lambda: server.request("GET", "/api/v1/apps", token=token).status_code == 401, within_s=5, what="it is refused"
    )
    assert token not in alice.algo("tokens", "list")


def test_a_destroyed_app_is_gone_with_its_processes(repo: Repo, server: Server) -> None:
    repo.commit(says("one"))
    repo.push()
    app = f"alice/{repo.app}"
    rc, _ = repo.user.status_of(str(algo_command()), "destroy", app, "--confirm", "alice/another")
    assert rc != 0
    assert server.answer(repo.app, {}) == answer("one")
    repo.user.algo("destroy", app, "--confirm", app)
    eventually(lambda: server.call(repo.app, {}).status_code == 404, within_s=15, what="its address is gone")
    assert app not in repo.user.algo("apps")


def test_every_command_explains_itself_with_examples(alice: User) -> None:
    groups = "create login apps builds releases versions previews rollback config access logs call keys tokens destroy"
    for command in groups.split():
        text = alice.algo(command, "--help")
        assert f"algo {command}" in text, command
        assert "example" in text.lower(), command
