"""What clients do: clone back, shallow clones, cut connections, queues, cancelled builds (contracts/git.md 3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.programs import answer, says, slow
from tests.services.client import Repo, clean
from tests.services.server import Server
from tests.services.waiting import eventually

pytestmark = pytest.mark.e2e


def test_a_clone_gives_the_pushed_commit_and_its_tags_back(repo_by: Repo, server: Server, tmp_path: Path) -> None:
    repo_by.commit(says("one"))
    repo_by.push()
    repo_by.git("tag", "-a", "-m", "first", "v1")
    repo_by.push("v1")
    url = repo_by.git("remote", "get-url", "algo")
    repo_by.user.run("git", "clone", "-q", url, str(tmp_path / "copy"))
    copy = tmp_path / "copy"
    run = repo_by.user.run
    assert run("git", "rev-parse", "HEAD", cwd=copy).strip() == repo_by.head
    assert run("git", "symbolic-ref", "HEAD", cwd=copy).strip() == "refs/heads/main"
    assert run("git", "tag", cwd=copy).split() == ["v1"]
    run("git", "fsck", "--strict", cwd=copy)

    commit = repo_by.commit(says("two"))
    repo_by.push()
    run("git", "pull", "-q", "--ff-only", cwd=copy)
    assert run("git", "rev-parse", "HEAD", cwd=copy).strip() == commit


def test_a_shallow_clone_can_be_pushed(repo_by: Repo, server: Server, tmp_path: Path) -> None:
    upstream = Repo(tmp_path / "upstream", repo_by.user, repo_by.app)
    for number in range(3):
        upstream.commit(says(f"step {number}"))
    run = repo_by.user.run
    shallow = tmp_path / "shallow"
    run("git", "clone", "-q", "--depth", "1", f"file://{upstream.path}", str(shallow))
    run("git", "push", "-q", repo_by.user.url_of(repo_by.app, repo_by.transport), "main", cwd=shallow)
    assert server.answer(repo_by.app, {}) == answer("step 2")
    assert repo_by.remote_refs()["refs/heads/main"] == upstream.head

    upstream.commit(says("step 3"))
    upstream.push()
    assert server.answer(repo_by.app, {}) == answer("step 3")


def test_a_cut_client_changes_nothing_of_the_outcome(repo_by: Repo, server: Server) -> None:
    repo_by.commit(says("one"))
    repo_by.push()
    commit = repo_by.commit(slow("two", load_s=4))
    push = repo_by.start_push("main")
    push.wait_for("build ")
    push.cut()

    def has_moved() -> bool:
        return repo_by.remote_refs()["refs/heads/main"] == commit

    eventually(has_moved, within_s=60, what="main moves without the client", every_s=0.3)
    assert server.answer(repo_by.app, {}) == answer("two")
    assert "Everything up-to-date" in repo_by.push().text


def test_a_cut_client_follows_its_build_with_algo(repo: Repo, server: Server) -> None:
    repo.commit(says("one"))
    repo.push()
    repo.commit(slow("two", load_s=4))
    push = repo.start_push("main")
    push.wait_for("build ")
    push.cut()
    builds = repo.user.algo_list("builds", "--app", f"alice/{repo.app}")
    assert builds[0]["state"] in {"queued", "running"}
    log = repo.user.algo("builds", "logs", str(builds[0]["id"]), "-f")
    assert "Release 2 is serving" in clean(log)


def test_pushing_the_same_commit_while_it_builds_attaches_to_the_running_build(repo_by: Repo, server: Server) -> None:
    repo_by.commit(says("one"))
    repo_by.push()
    repo_by.commit(slow("two", load_s=5))
    first = repo_by.start_push("main")
    first.wait_for("build ")
    second = repo_by.start_push("main")
    one, two = first.wait(), second.wait()
    assert (one.rc, two.rc) == (0, 0), two.text
    assert one.build_id == two.build_id
    assert two.line_with("Release 2 is serving")


def test_a_newer_push_supersedes_a_waiting_one_and_never_the_running_one(repo_by: Repo, server: Server) -> None:
    repo_by.commit(says("zero"))
    repo_by.push()
    repo_by.commit(slow("one", load_s=6))
    first = repo_by.start_push("main")
    first.wait_for("build ")
    repo_by.commit(says("two"))
    second = repo_by.start_push("main")
    second.wait_for("queued")
    repo_by.commit(says("three"))
    third = repo_by.start_push("main")
    two = second.wait()
    one, three = first.wait(), third.wait()
    assert one.rc == 0, one.text
    assert two.rc != 0, two.text
    assert f"superseded by build {three.build_id}" in two.verdicts["main"]
    assert three.rc == 0, three.text
    assert server.answer(repo_by.app, {}) == answer("three")
    assert repo_by.remote_refs()["refs/heads/main"] == repo_by.head


def test_a_cancelled_build_ends_the_push_and_leaves_the_old_release(repo_by: Repo, server: Server) -> None:
    first = repo_by.commit(says("one"))
    repo_by.push()
    repo_by.commit(slow("two", load_s=60))
    push = repo_by.start_push("main")
    push.wait_for("build ")
    build = repo_by.user.algo_list("builds", "--app", f"alice/{repo_by.app}")[0]["id"]
    repo_by.user.algo("builds", "cancel", str(build))
    result = push.wait(30)
    assert result.rc != 0
    assert "cancelled by alice" in result.verdicts["main"]
    assert repo_by.remote_refs()["refs/heads/main"] == first
    assert server.answer(repo_by.app, {}) == answer("one")


def test_a_failed_push_leaves_no_new_objects_behind(repo: Repo, server: Server) -> None:
    def quarantines() -> set[str]:
        return {str(path) for path in (server.state / "git").glob("*.git/objects/tmp_objdir-incoming-*")}

    repo.commit(says("one"))
    repo.push()
    before = quarantines()
    bad = repo.commit({"predict.py": "def predict(:\n"})
    repo.push(check=False)
    eventually(lambda: quarantines() <= before, within_s=5, what="the refused push's objects are dropped")
    reply = server.call(repo.app, {}, ref=bad[:10])
    assert reply.status_code == 404


def test_a_big_file_is_pushed_in_one_piece(repo_by: Repo, server: Server) -> None:
    import random

    program = "import os\n\n\ndef predict(x=None):\n    return os.path.getsize('weights.bin')\n"
    repo_by.commit({"predict.py": program, "weights.bin": random.Random(1).randbytes(6_000_000)})
    repo_by.push()
    assert server.answer(repo_by.app, {}) == 6_000_000


def test_previews_never_see_productions_config(repo: Repo, server: Server) -> None:
    program = "import os\n\n\ndef predict(name):\n    return os.environ.get(name)\n"
    repo.commit({"predict.py": program})
    repo.push()
    repo.user.algo("config", "set", "CANARY=secret", "--app", f"alice/{repo.app}")
    repo.push("main:feature/x")
    assert server.answer(repo.app, {"name": "CANARY"}) == "secret"
    assert server.answer(repo.app, {"name": "CANARY"}, ref="feature/x") is None
