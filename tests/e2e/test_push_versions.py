"""Tags: published versions, rollback by pushing a known one, immutability (design section 2)."""

from __future__ import annotations

import pytest

from tests.e2e.programs import answer, environment, says
from tests.services.client import Repo
from tests.services.server import Server

pytestmark = pytest.mark.e2e

BUILD_STEPS = ("Detected", "Dependencies", "Smoke test")
ROLLBACK_S = 10.0  # the goal is 5 s on an idle machine; the tests share theirs


def two_versions(repo: Repo) -> None:
    """v1 answers "one", v2 answers "two" and serves."""
    for word, tag in (("one", "v1"), ("two", "v2")):
        repo.commit(says(word))
        repo.push()
        repo.git("tag", tag)
        repo.push(tag)


@pytest.mark.parametrize("kind", ["lightweight", "annotated"])
def test_a_new_tag_publishes_a_version_without_a_second_build(repo_by: Repo, server: Server, kind: str) -> None:
    repo_by.commit(says("one"))
    repo_by.push()
    repo_by.git("tag", "v1.2.0", *(["-a", "-m", "first"] if kind == "annotated" else []))
    result = repo_by.push("v1.2.0")
    assert result.verdicts == {"v1.2.0": ""}
    assert result.line_with("1.2.0")
    assert not [step for step in BUILD_STEPS[:2] if step in result.text], result.text
    assert server.answer(repo_by.app, {}, ref="v1.2.0") == answer("one")
    assert "refs/tags/v1.2.0" in repo_by.remote_refs()


def test_a_tag_of_a_commit_that_was_never_pushed_is_built_and_serves(repo_by: Repo, server: Server) -> None:
    first = repo_by.commit(says("one"))
    repo_by.push()
    repo_by.commit(says("two"))
    repo_by.git("tag", "v2")
    result = repo_by.push("v2")
    assert result.line_with("is serving")
    assert server.answer(repo_by.app, {}) == answer("two")
    assert repo_by.remote_refs()["refs/heads/main"] == first


def test_pushing_a_known_tag_rolls_back_without_a_build(repo_by: Repo, server: Server) -> None:
    two_versions(repo_by)
    assert server.answer(repo_by.app, {}) == answer("two")
    result = repo_by.push("v1")
    assert result.line_with("is serving")
    assert not [step for step in BUILD_STEPS[:2] if step in result.text], result.text
    assert result.seconds < ROLLBACK_S
    assert server.answer(repo_by.app, {}) == answer("one")
    repo_by.push("v2")
    assert server.answer(repo_by.app, {}) == answer("two")


def test_a_rollback_is_a_new_release_and_says_what_moved(repo_by: Repo, server: Server) -> None:
    two_versions(repo_by)
    before = repo_by.user.algo_list("releases", "--app", f"alice/{repo_by.app}")
    result = repo_by.push("v1")
    after = repo_by.user.algo_list("releases", "--app", f"alice/{repo_by.app}")
    assert len(after) == len(before) + 1
    assert after[0]["number"] == before[0]["number"] + 1
    assert after[0]["why"] == "rollback to v1"
    assert after[0]["image_digest"] == before[-1]["image_digest"]
    assert result.line_with(f"Release {after[0]['number']} is serving")


def test_the_unambiguous_forms_roll_back_too(repo_by: Repo, server: Server) -> None:
    two_versions(repo_by)
    repo_by.push("v1:rollback")
    assert server.answer(repo_by.app, {}) == answer("one")
    repo_by.push("v2", options=["-o", "rollback"])
    assert server.answer(repo_by.app, {}) == answer("two")
    assert "refs/tags/rollback" not in repo_by.remote_refs()


@pytest.mark.parametrize("force", [False, True], ids=["plain", "forced"])
def test_a_moved_tag_is_refused(repo_by: Repo, server: Server, force: bool) -> None:
    two_versions(repo_by)
    before = repo_by.remote_refs()
    repo_by.git("tag", "-f", "v1", "HEAD")
    result = repo_by.push("v1", options=["-f"] if force else [], check=False)
    assert "immutable" in result.verdicts["v1"]
    assert repo_by.remote_refs() == before
    assert server.answer(repo_by.app, {}) == answer("two")
    assert server.answer(repo_by.app, {}, ref="v1") == answer("one")


def test_a_version_cannot_be_deleted(repo_by: Repo, server: Server) -> None:
    two_versions(repo_by)
    result = repo_by.push(":refs/tags/v1", check=False)
    assert "immutable" in result.text
    assert server.answer(repo_by.app, {}, ref="v1") == answer("one")


def test_a_push_of_all_tags_beside_a_branch_rolls_nothing_back(repo_by: Repo, server: Server) -> None:
    two_versions(repo_by)
    repo_by.commit(says("three"))
    result = repo_by.push("main", options=["--tags"])
    assert result.verdicts == {"main": "", "v1": "", "v2": ""}
    assert server.answer(repo_by.app, {}) == answer("three")


def test_a_rollback_keeps_todays_config_unless_it_is_told_to_take_the_recorded_one(
    repo_by: Repo, server: Server
) -> None:
    app = f"alice/{repo_by.app}"
    repo_by.commit(environment())
    repo_by.push()
    repo_by.user.algo("config", "set", "GREETING=old", "--app", app)
    repo_by.git("tag", "v1")
    repo_by.push("v1")
    repo_by.user.algo("config", "set", "GREETING=new", "--app", app)
    repo_by.commit({"README.md": "another commit\n"})
    repo_by.push()
    repo_by.push("v1")
    assert server.answer(repo_by.app, {"name": "GREETING"}) == "new"
    repo_by.push("v1", options=["-o", "with-config"])
    assert server.answer(repo_by.app, {"name": "GREETING"}) == "old"


def test_versions_branches_and_commits_are_reached_by_their_names(repo: Repo, server: Server) -> None:
    first = repo.commit(says("one"))
    repo.push()
    repo.git("tag", "v1.2.0")
    repo.push("v1.2.0")
    repo.commit(says("two"))
    repo.push()
    repo.git("tag", "v1.3.0")
    repo.push("v1.3.0")
    for ref, word in {
        "v1.2.0": "one",
        "v1.3.0": "two",
        first: "one",
        first[:7]: "one",
        repo.head[:10]: "two",
        "main": "two",
        "latest": "two",
    }.items():
        assert server.answer(repo.app, {}, ref=ref) == answer(word), ref


def test_an_unknown_version_is_404_with_what_exists(repo: Repo, server: Server) -> None:
    two_versions(repo)
    repo.push("main:feature/x")
    reply = server.call(repo.app, {}, ref="v9")
    assert reply.status_code == 404
    for name in ("v9", "main", "v1", "v2", "feature/x"):
        assert name in reply.json()["error"]


def test_the_algorithmia_call_reaches_versions(repo: Repo, server: Server) -> None:
    two = {"v1.2.0": "one", "v1.3.1": "two"}
    for tag, word in two.items():
        repo.commit(says(word))
        repo.git("tag", tag)
        repo.push(tag)
    for version, word in {
        "": "two",
        "/1.2.0": "one",
        "/1.2": "one",
        "/1.3.1": "two",
        "/1": "two",
        "/latest": "two",
    }.items():
        reply = server.request("POST", f"/v1/algo/alice/{repo.app}{version}", json={})
        assert reply.status_code == 200, f"{version}: {reply.text}"
        assert reply.json()["result"] == answer(word), version
        assert reply.json()["metadata"]["content_type"] == "json"
        assert reply.json()["metadata"]["duration"] >= 0
