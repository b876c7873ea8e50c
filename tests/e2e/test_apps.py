"""Every directory below tests/apps: pushed with real git, then served or refused exactly as its expect.toml says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.services.cases import Case, fill_in, read_cases
from tests.services.client import Repo, User
from tests.services.server import Server

pytestmark = pytest.mark.e2e


def params(*, refused: bool) -> list[Any]:
    """The cases as pytest takes them."""
    return [
        pytest.param(case, id=case.name, marks=[pytest.mark.once] if case.once else [])
        for case in read_cases(refused=refused)
    ]


GOOD = {"predict.py": "def predict(x=0):\n    return {'served by': 'the first push'}\n"}


@pytest.mark.parametrize("case", params(refused=False))
def test_a_case_is_served_as_it_says(case: Case, repo: Repo, server: Server) -> None:
    commit = case.fill(repo)
    case.configure(repo, is_new=True)
    result = repo.push()
    for words in case.says:
        result.line_with(fill_in(words, app=repo.app))
    assert result.line_with("-----> Release 1 is serving")
    assert result.line_with(f"{server.url}/alice/{repo.app}")
    assert repo.remote_refs()["refs/heads/main"] == commit
    for call in case.calls:
        path = f"/alice/{repo.app}{fill_in(call.path, app=repo.app)}"
        reply = server.request(call.method, path, json=call.body)
        assert reply.status_code == call.status, f"{call.path}: {reply.status_code} {reply.text}"
        if call.answer is not None:
            assert reply.json() == call.answer, call.path
        assert call.contains in reply.text, call.path


class Settled:
    """An app that serves, for pushes that must not change it: one for all of them, as long as none of them does."""

    def __init__(self, alice: User, folder: Path) -> None:
        self._alice, self._folder = alice, folder
        self._repo: Repo | None = None
        self._first, self._count = "", 0

    def repo(self) -> tuple[Repo, str]:
        """Its repository with nothing in the work tree, and the commit that serves."""
        repo = self._repo
        if repo is None or repo.remote_refs() != {"HEAD": self._first, "refs/heads/main": self._first}:
            self._count += 1
            repo = self._repo = Repo(self._folder / f"settled{self._count}", self._alice, f"settled-{self._count}")
            self._first = repo.commit(GOOD)
            repo.push()
        repo.git("reset", "-q", "--hard", self._first)
        repo.git("clean", "-q", "-f", "-d", "-x")
        return repo, self._first


@pytest.fixture(scope="module")
def settled(alice: User, tmp_path_factory: pytest.TempPathFactory) -> Settled:
    return Settled(alice, tmp_path_factory.mktemp("settled"))


@pytest.mark.parametrize("case", params(refused=True))
def test_a_bad_push_ends_in_one_clear_sentence_and_the_old_release_serves(
    case: Case, repo: Repo, server: Server, fresh_server: Callable[..., Server], own: Callable[[Server, str], Repo],
    settled: Settled,
) -> None:  # fmt: skip
    if case.server or case.config:
        if case.server:
            server = fresh_server(**case.server)
            repo = own(server, repo.app)
        first = repo.commit(GOOD)
        repo.push()
    else:
        repo, first = settled.repo()
    repo.git("rm", "-q", "-r", ".")
    case.fill(repo)
    case.configure(repo, is_new=False)

    result = repo.push(check=False)

    assert result.verdicts == {"main": fill_in(case.refused or "", app=repo.app)}, result.text
    assert re.search(r"^ !     \S", result.text, re.MULTILINE), f"no error line in:\n{result.text}"
    for words in case.says:
        result.line_with(fill_in(words, app=repo.app))
    assert "Traceback (most recent call last)" not in _ours(result.text), result.text
    assert "TRAP" not in result.text
    assert repo.remote_refs()["refs/heads/main"] == first
    assert server.answer(repo.app, {}) == {"served by": "the first push"}


def _ours(text: str) -> str:
    """The output without lines that a user's own program wrote: they stand indented beneath the sentence."""
    return "\n".join(line for line in text.splitlines() if not line.startswith(("       ", " !       ")))


def test_a_first_push_that_is_refused_leaves_an_address_that_says_so(repo: Repo, server: Server) -> None:
    repo.commit({"predict.py": "def predict(x:\n"})
    repo.push(check=False)
    reply = server.call(repo.app, {})
    assert reply.status_code in {404, 503}
    assert "error" in reply.json()
    assert repo.remote_refs() == {}, "the failed branch was not stored"


def test_a_model_written_by_an_older_scikit_learn_names_the_line_to_add(
    repo: Repo, server: Server, old_tree: bytes
) -> None:
    repo.commit({"tree.joblib": old_tree, "requirements.txt": fill_in("scikit-learn=={sklearn}\n", app="")})
    result = repo.push(check=False)
    assert "main" in result.verdicts
    assert result.line_with("scikit-learn==1.2.2")


def test_a_bare_model_of_an_older_scikit_learn_gets_the_version_that_wrote_it(
    repo: Repo, server: Server, old_tree: bytes
) -> None:
    repo.commit({"tree.joblib": old_tree})
    result = repo.push()
    assert result.line_with("1.2.2")
    assert server.answer(repo.app, {"instances": [[5.1, 3.5, 1.4, 0.2]]}) == {"predictions": [0]}


@pytest.fixture(scope="session")
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A decision tree of scikit-learn 1.2.2."""
    from tests.services.models import old_tree_bytes

    return old_tree_bytes(tmp_path_factory.mktemp("old-sklearn"))


REFS = ["-h", "--upload-pack=x", "a;b", "$(x)", "-x/y", "feature/-x", "`x`", "HEAD"]


@pytest.mark.parametrize("name", REFS)
def test_sec_03_a_hostile_ref_name_is_refused_with_a_sentence(name: str, repo_by: Repo, server: Server) -> None:
    first = repo_by.commit(GOOD)
    repo_by.push()
    repo_by.commit({"predict.py": "def predict(x=0):\n    return 'never'\n"})
    result = repo_by.push(f"HEAD:refs/heads/{name}", check=False)
    assert name in result.verdicts, result.text
    assert len(result.verdicts[name]) > 10, result.text
    assert repo_by.remote_refs() == {"HEAD": first, "refs/heads/main": first}
    assert server.answer(repo_by.app, {}) == {"served by": "the first push"}


def test_a_wrong_password_is_refused(repo: Repo, server: Server) -> None:
    repo.commit(GOOD)
    url = f"http://alice:algo_wrong_password@127.0.0.1:{server.at.http_port}/alice/{repo.app}.git"
    repo.git("remote", "set-url", "algo", url)
    result = repo.push(check=False)
    assert result.rc == 128
    assert result.line_with("Authentication failed")
    assert "algo_wrong_password" not in result.text.replace(url, "")


def test_no_password_at_all_is_refused(repo: Repo, server: Server) -> None:
    repo.commit(GOOD)
    repo.git("remote", "set-url", "algo", f"{server.url}/alice/{repo.app}.git")
    assert repo.push(check=False).rc == 128


def test_an_unknown_key_is_refused(alice: User, app_name: str, tmp_path: Path) -> None:
    stranger = User(tmp_path / "stranger", alice.server)
    stranger.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger.key))
    repo = Repo(tmp_path / "repo", stranger, app_name, transport="ssh")
    repo.commit(GOOD)
    result = repo.push(check=False)
    assert result.rc == 128
    assert result.line_with("Permission denied (publickey)")


def test_sec_18_someone_elses_app_looks_like_one_that_does_not_exist(
    alice: User, app_name: str, tmp_path: Path, transport: str
) -> None:
    bob = User(tmp_path / "bob-home", alice.server, name="bob", token=alice.server.add_user("bob"))
    owned = Repo(tmp_path / "bob", bob, app_name)
    first = owned.commit(GOOD)
    owned.push()
    said = []
    for app in (app_name, f"no-{app_name}"[:40].rstrip("-")):
        repo = Repo(tmp_path / f"as-alice-{app}", alice, app, transport=transport, owner="bob")
        repo.commit({"predict.py": "def predict(x=0):\n    return 'stolen'\n"})
        result = repo.push("main", options=["-f"], check=False)
        lines = [line for line in result.text.splitlines() if not line.startswith("Warning: Permanently added")]
        said.append("\n".join(lines).replace(app, "APP"))
    assert said[0] == said[1]
    assert len(said[0].strip()) > 20
    assert owned.remote_refs()["refs/heads/main"] == first
