"""Branches: production, previews, failures, deletes, several refs at once (design section 2)."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.e2e.programs import answer, broken, says
from tests.services.client import Repo
from tests.services.server import Server
from tests.services.waiting import eventually

pytestmark = pytest.mark.e2e


def test_pushing_main_builds_and_serves_and_then_moves_the_branch(repo_by: Repo, server: Server) -> None:
    commit = repo_by.commit(says("one"))
    result = repo_by.push()
    assert result.line_with(f"build {result.build_id} of {commit[:7]} (alice)").startswith("-----> ")
    assert re.fullmatch(r"-----> Release 1 is serving \(\d+(\.\d+)? s\)", result.line_with("is serving"))
    assert result.line_with(f"{server.url}/alice/{repo_by.app}/predict") == (
        f"       {server.url}/alice/{repo_by.app}/predict"
    )
    assert result.verdicts == {"main": ""}
    assert repo_by.remote_refs() == {"HEAD": commit, "refs/heads/main": commit}
    assert server.answer(repo_by.app, {}) == answer("one")


def test_a_second_push_replaces_the_first_and_says_everything_up_to_date_the_third_time(
    repo_by: Repo, server: Server
) -> None:
    repo_by.commit(says("one"))
    repo_by.push()
    repo_by.commit(says("two"))
    result = repo_by.push()
    assert result.line_with("Release 2 is serving")
    assert server.answer(repo_by.app, {}) == answer("two")
    assert "Everything up-to-date" in repo_by.push().text


def test_a_broken_second_push_leaves_the_first_version_serving(repo_by: Repo, server: Server) -> None:
    first = repo_by.commit(says("one"))
    repo_by.push()
    repo_by.commit(broken())
    result = repo_by.push(check=False)
    assert result.verdicts["main"]
    assert repo_by.remote_refs()["refs/heads/main"] == first
    assert server.answer(repo_by.app, {}) == answer("one")


def test_the_same_commit_is_built_again_after_a_failed_build(repo_by: Repo, server: Server) -> None:
    repo_by.commit(says("one"))
    repo_by.push()
    repo_by.commit(broken())
    first, second = repo_by.push(check=False), repo_by.push(check=False)
    assert second.build_id > first.build_id
    assert second.verdicts == first.verdicts


def test_a_push_that_failed_for_its_surroundings_succeeds_unchanged_the_next_time(repo: Repo, server: Server) -> None:
    program = "import os\n\nNEEDED = os.environ['GREETING']\n\n\ndef predict(x=None):\n    return NEEDED\n"
    repo.commit(says("one"))
    repo.push()
    commit = repo.commit({"predict.py": program})
    assert repo.push(check=False).line_with("GREETING")
    repo.user.algo("config", "set", "GREETING=hello", "--app", f"alice/{repo.app}")
    assert repo.push().verdicts == {"main": ""}
    assert repo.remote_refs()["refs/heads/main"] == commit
    assert server.answer(repo.app, {}) == "hello"


def test_a_rewound_branch_may_be_forced_and_only_forced(repo_by: Repo, server: Server) -> None:
    first = repo_by.commit(says("one"))
    repo_by.push()
    repo_by.commit(says("two"))
    repo_by.push()
    repo_by.git("reset", "-q", "--hard", first)
    repo_by.commit(says("other two"))
    assert "non-fast-forward" in repo_by.push(check=False).text
    repo_by.push("+main")
    assert server.answer(repo_by.app, {}) == answer("other two")


def test_a_branch_is_a_preview_with_an_address_of_its_own(repo_by: Repo, server: Server) -> None:
    repo_by.commit(says("production"))
    repo_by.push()
    repo_by.git("checkout", "-q", "-b", "feature/x")
    commit = repo_by.commit(says("preview"))
    result = repo_by.push("feature/x")
    assert result.line_with(f"{server.url}/alice/{repo_by.app}@feature-x")
    assert repo_by.remote_refs()["refs/heads/feature/x"] == commit
    assert server.answer(repo_by.app, {}, ref="feature/x") == answer("preview")
    assert server.answer(repo_by.app, {}, ref="feature-x") == answer("preview")
    assert server.answer(repo_by.app, {}) == answer("production")


def test_deleting_the_branch_removes_the_preview(repo_by: Repo, server: Server) -> None:
    repo_by.commit(says("production"))
    repo_by.push()
    repo_by.push("main:feature/x")
    assert server.answer(repo_by.app, {}, ref="feature/x") == answer("production")
    result = repo_by.push(":feature/x")
    assert result.verdicts == {"feature/x": ""}
    assert "refs/heads/feature/x" not in repo_by.remote_refs()

    def is_gone() -> bool:
        return server.call(repo_by.app, {}, ref="feature/x").status_code == 404

    eventually(is_gone, within_s=10, what="the preview's address answers 404")
    assert server.answer(repo_by.app, {}) == answer("production")


def test_deleting_the_production_branch_is_refused(repo_by: Repo, server: Server) -> None:
    commit = repo_by.commit(says("one"))
    repo_by.push()
    result = repo_by.push(":main", check=False)
    assert "production" in result.verdicts["main"]
    assert repo_by.remote_refs()["refs/heads/main"] == commit
    assert server.answer(repo_by.app, {}) == answer("one")


def test_a_preview_goes_when_its_time_to_live_ends(
    fresh_server: Callable[..., Server], own: Callable[[Server, str], Repo]
) -> None:
    server = fresh_server(preview_ttl_s="4")
    repo = own(server, "iris")
    repo.commit(says("production"))
    repo.push()
    repo.push("main:feature/x")
    assert server.answer("iris", {}, ref="feature/x") == answer("production")

    def is_gone() -> bool:
        reply = server.call("iris", {}, ref="feature/x")
        return reply.status_code == 404 and "refs/heads/feature/x" not in repo.remote_refs()

    eventually(is_gone, within_s=40, what="the preview and its branch go", every_s=8)  # asking keeps it alive
    assert server.answer("iris", {}) == answer("production")


def test_several_refs_get_a_verdict_each(repo_by: Repo, server: Server) -> None:
    repo_by.commit(says("one"))
    repo_by.push()
    good = repo_by.commit(says("two"))
    repo_by.git("branch", "good")
    repo_by.git("checkout", "-q", "-b", "bad")
    repo_by.commit(broken())
    result = repo_by.push("main", "good", "bad", check=False)
    assert result.verdicts["main"] == ""
    assert result.verdicts["good"] == ""
    assert result.verdicts["bad"]
    refs = repo_by.remote_refs()
    assert refs == {"HEAD": good, "refs/heads/main": good, "refs/heads/good": good}
    assert server.answer(repo_by.app, {}) == answer("two")
    assert server.answer(repo_by.app, {}, ref="good") == answer("two")


def test_an_atomic_push_moves_all_or_none(repo_by: Repo, server: Server) -> None:
    first = repo_by.commit(says("one"))
    repo_by.push()
    repo_by.commit(says("two"))
    repo_by.git("checkout", "-q", "-b", "bad")
    repo_by.commit(broken())
    refused = repo_by.push("main", "bad", options=["--atomic"], check=False)
    assert set(refused.verdicts) == {"main", "bad"}
    assert "bad" in refused.verdicts["main"], "the culprit is named"
    assert repo_by.remote_refs() == {"HEAD": first, "refs/heads/main": first}
    assert server.answer(repo_by.app, {}) == answer("one")

    repo_by.git("branch", "-q", "-f", "fine", "main")
    moved = repo_by.push("main", "fine", options=["--atomic"])
    assert moved.verdicts == {"main": "", "fine": ""}
    assert server.answer(repo_by.app, {}) == answer("two")
    assert server.answer(repo_by.app, {}, ref="fine") == answer("two")


def test_an_unknown_push_option_is_refused_and_named(repo_by: Repo, server: Server) -> None:
    repo_by.commit(says("one"))
    result = repo_by.push("main", options=["-o", "repo.private=false"], check=False)
    assert "repo.private" in result.text
    assert not repo_by.has_app(), "a refused first push leaves no app behind"


def test_an_unchanged_commit_is_built_again_by_redeploy(repo_by: Repo, server: Server) -> None:
    commit = repo_by.commit(says("one"))
    repo_by.push()
    result = repo_by.push("main:redeploy")
    assert result.line_with("Release 2 is serving")
    assert repo_by.remote_refs() == {"HEAD": commit, "refs/heads/main": commit}


def test_a_code_only_push_installs_nothing(repo: Repo, server: Server) -> None:
    repo.commit({**says("one"), "requirements.txt": "packaging\n"})
    repo.push()
    repo.commit(says("two"))
    result = repo.push()
    assert "reused" in result.line_with("Dependencies:")
    assert "0 bytes moved" in result.line_with("Dependencies:")
