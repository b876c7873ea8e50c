"""The real git client against git over HTTP: what each push means, and what its user reads."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from gitserver.errors import Failure
from gitserver.ledger.records import BuildKind, BuildState, EnvKind
from gitserver.push import AppName
from gitserver.remote.http import git_blueprint
from gitserver.remote.quarantine import Quarantine
from gitserver.remote.refs import RefChange, move_refs
from tests.contract.remote_house import House, build_house, commit, git, push, wait_for


class _Http11(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@dataclass(slots=True)
class Site:
    house: House
    server: BaseWSGIServer

    def url(self, app: str = "alice/iris", token: str | None = None) -> str:
        return f"http://x:{token or self.house.token}@127.0.0.1:{self.server.port}/{app}.git"

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        token: str | None = "alice",
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            secret = {"alice": self.house.token, "bob": self.house.bobs_token}.get(token, token)
            sent["Authorization"] = "Basic " + base64.b64encode(f"x:{secret}".encode()).decode()
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    house = build_house(tmp_path / "state")
    app = Flask("test")
    app.register_blueprint(git_blueprint(house.doors))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Http11)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Site(house, server)
    server.shutdown()
    thread.join()
    server.server_close()
    house.ledger.close()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    commit(tmp_path / "repo", {"app.py": "print('one')\n"}, "one")
    return tmp_path / "repo"


def _refusal(stderr: str, ref: str = "main") -> str:
    [line] = [line for line in stderr.splitlines() if "! [remote rejected]" in line and f"{ref} " in line]
    return line.partition("(")[2].removesuffix(")")


def test_a_first_push_makes_the_app_and_moves_main(site: Site, repo: Path) -> None:
    done = push(repo, site.url(), "main")
    assert done.returncode == 0, done.stderr
    assert "remote: -----> built by a script" in done.stderr
    assert "* [new branch]      main -> main" in done.stderr
    assert site.house.refs() == {"refs/heads/main": git(["rev-parse", "HEAD"], repo)}
    [order] = site.house.desk.orders
    assert (order.kind, order.env_kind, order.branch, order.actor) == (
        BuildKind.DEPLOY,
        EnvKind.PRODUCTION,
        "main",
        "alice",
    )


def test_a_failed_build_rejects_the_push_and_the_same_push_is_built_again(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    before = site.house.refs()
    commit(repo, {"app.py": "broken"})
    site.house.desk.fail_with = Failure(code="cancelled", fields={"actor": "alice", "build": 2})
    done = push(repo, site.url(), "main")
    assert done.returncode == 1
    assert _refusal(done.stderr) == "cancelled by alice"
    assert site.house.refs() == before
    site.house.desk.fail_with = None
    again = push(repo, site.url(), "main")
    assert again.returncode == 0, again.stderr
    assert site.house.refs()["refs/heads/main"] == git(["rev-parse", "HEAD"], repo)


def test_sec_31_a_failed_build_ends_the_client_with_a_status_over_http(site: Site, repo: Path) -> None:
    site.house.desk.fail_with = Failure(code="cancelled", fields={"actor": "alice", "build": 1})
    assert push(repo, site.url(), "main").returncode == 1


def test_a_branch_is_a_preview_and_goes_when_it_is_deleted(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    assert push(repo, site.url(), "main:feature/x").returncode == 0
    assert site.house.desk.orders[-1].env_kind is EnvKind.PREVIEW
    assert site.house.desk.orders[-1].branch == "feature/x"
    done = push(repo, site.url(), ":feature/x")
    assert done.returncode == 0, done.stderr
    assert "- [deleted]         feature/x" in done.stderr
    assert site.house.desk.orders[-1].kind is BuildKind.DELETE
    assert set(site.house.refs()) == {"refs/heads/main"}


def test_b3_production_cannot_be_deleted(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    done = push(repo, site.url(), ":main")
    assert done.returncode == 1
    assert "! [remote rejected] main (" in done.stderr
    assert set(site.house.refs()) == {"refs/heads/main"}


def test_f4_a_tag_cannot_be_deleted_though_it_is_not_advertised(site: Site, repo: Path) -> None:
    git(["tag", "v1"], repo)
    push(repo, site.url(), "main", "v1")
    done = push(repo, site.url(), ":refs/tags/v1")
    assert done.returncode == 1
    assert "refs/tags/v1" in site.house.refs()


@pytest.mark.parametrize("flags", [["v1.0.0"], ["-a", "-m", "first", "v1.0.0"]], ids=["lightweight", "annotated"])
def test_a_new_tag_publishes_and_a_known_one_rolls_back(site: Site, repo: Path, flags: list[str]) -> None:
    first = git(["rev-parse", "HEAD"], repo)
    push(repo, site.url(), "main")
    git(["tag", *flags], repo)
    done = push(repo, site.url(), "v1.0.0")
    assert done.returncode == 0, done.stderr
    assert site.house.desk.orders[-1].kind is BuildKind.PUBLISH
    assert site.house.desk.orders[-1].commit == first
    second = commit(repo, {"app.py": "two"})
    push(repo, site.url(), "main")
    done = push(repo, site.url(), "v1.0.0")
    assert done.returncode == 0, done.stderr
    order = site.house.desk.orders[-1]
    assert (order.kind, order.commit, order.branch, order.quarantine) == (BuildKind.ROLLBACK, first, "main", None)
    assert f"{second[:7]}..{first[:7]}  v1.0.0 -> v1.0.0" in done.stderr
    assert site.house.refs()["refs/heads/main"] == second


def test_f2_a_moved_tag_is_refused_with_the_next_name_even_by_force(site: Site, repo: Path) -> None:
    git(["tag", "v1.0.0"], repo)
    push(repo, site.url(), "main", "v1.0.0")
    commit(repo, {"app.py": "two"})
    git(["tag", "-f", "v1.0.0"], repo)
    before = site.house.refs()
    done = push(repo, site.url(), "-f", "v1.0.0")
    assert done.returncode == 1
    assert "! [remote rejected] v1.0.0 -> v1.0.0 (" in done.stderr
    assert "v1.0.1" in done.stderr
    assert site.house.refs() == before


def test_f3_known_tags_beside_other_refs_do_nothing_and_say_so(site: Site, repo: Path) -> None:
    git(["tag", "-a", "-m", "x", "v1"], repo)
    push(repo, site.url(), "main", "v1")
    commit(repo, {"app.py": "two"})
    count = len(site.house.desk.orders)
    done = push(repo, site.url(), "--follow-tags", "main")
    assert done.returncode == 0, done.stderr
    assert [order.git_ref for order in site.house.desk.orders[count:]] == ["refs/heads/main"]
    assert "v1 is a version already" in done.stderr


def test_f5_magic_words_redeploy_and_roll_back_and_are_never_stored(site: Site, repo: Path) -> None:
    git(["tag", "-a", "-m", "x", "v1"], repo)
    tip = git(["rev-parse", "HEAD"], repo)
    push(repo, site.url(), "main", "v1")
    assert push(repo, site.url(), "main:redeploy").returncode == 0
    assert (site.house.desk.orders[-1].kind, site.house.desk.orders[-1].commit) == (BuildKind.REDEPLOY, tip)
    assert push(repo, site.url(), "v1:rollback").returncode == 0
    assert (site.house.desk.orders[-1].kind, site.house.desk.orders[-1].commit) == (BuildKind.ROLLBACK, tip)
    assert set(site.house.refs()) == {"refs/heads/main", "refs/tags/v1"}


def test_f6_a_tag_object_is_no_branch(site: Site, repo: Path) -> None:
    git(["tag", "-a", "-m", "x", "v1"], repo)
    done = push(repo, site.url(), "-f", "v1:refs/heads/main")
    assert done.returncode == 1
    assert site.house.ledger.find_app(AppName(owner="alice", app="iris")) is None


def test_b4_a_forced_branch_is_deployed(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    git(["commit", "--amend", "-q", "-m", "other"], repo)
    done = push(repo, site.url(), "-f", "main")
    assert done.returncode == 0, done.stderr
    assert site.house.refs()["refs/heads/main"] == git(["rev-parse", "HEAD"], repo)


def test_b8_atomic_refuses_all_and_names_the_culprit(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    commit(repo, {"app.py": "two"})
    done = push(repo, site.url(), "--atomic", "main", "main:refs/other/x")
    assert done.returncode == 1
    assert "refs/other/x failed and the push is atomic" in _refusal(done.stderr, "main -> main")
    assert len(site.house.desk.orders) == 1


def test_b8_an_atomic_push_is_one_group(site: Site, repo: Path) -> None:
    done = push(repo, site.url(), "--atomic", "main", "main:feature")
    assert done.returncode == 0, done.stderr
    groups = {order.group for order in site.house.desk.orders}
    assert len(groups) == 1
    assert None not in groups


def test_without_atomic_each_ref_has_its_own_verdict(site: Site, repo: Path) -> None:
    done = push(repo, site.url(), "main", "main:refs/other/x")
    assert done.returncode == 1
    assert "[new branch]      main -> main" in done.stderr
    assert "! [remote rejected] main -> refs/other/x (ref name refused)" in done.stderr


def test_b6_a_commit_that_was_never_built_is_not_redeployed(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    commit(repo, {"app.py": "two"})
    done = push(repo, site.url(), "main:redeploy")
    assert done.returncode == 1
    assert len(site.house.desk.orders) == 1


@pytest.mark.parametrize(
    "name",
    ["refs/heads/-h", "refs/heads/--upload-pack=x", "refs/heads/x/-y", "refs/heads/" + "a" * 300, "refs/heads/HEAD",
     "refs/heads/a;b", "refs/heads/$(touch", "refs/heads/`x`"],
)  # fmt: skip
def test_sec_03_refs_that_could_be_options_or_commands_are_refused(site: Site, repo: Path, name: str) -> None:
    done = push(repo, site.url(), f"main:{name}")
    assert done.returncode != 0
    assert site.house.ledger.find_app(AppName(owner="alice", app="iris")) is None


@pytest.mark.parametrize("name", ["größe", "a+b", "a#1"])
def test_a_branch_with_odd_letters_keeps_its_name(site: Site, repo: Path, name: str) -> None:
    push(repo, site.url(), "main")
    done = push(repo, site.url(), f"main:refs/heads/{name}")
    assert done.returncode == 0, done.stderr
    assert site.house.desk.orders[-1].branch == name


def test_b1_branches_that_meet_in_an_address_are_refused(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main", "main:feature/x")
    for other in ("feature", "Feature/x", "feature-x", "MAIN"):
        done = push(repo, site.url(), f"main:refs/heads/{other}")
        assert done.returncode == 1, other
    assert set(site.house.refs()) == {"refs/heads/main", "refs/heads/feature/x"}


def test_the_sixth_preview_is_refused(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main", *(f"main:p{number}" for number in range(5)))
    done = push(repo, site.url(), "main:p5")
    assert done.returncode == 1
    assert "refs/heads/p5" not in site.house.refs()


def test_b16_known_push_options_reach_the_build_and_others_refuse_the_push(site: Site, repo: Path) -> None:
    done = push(repo, site.url(), "-o", "with-config", "main")
    assert done.returncode == 0, done.stderr
    assert site.house.desk.orders[-1].options == {"with-config": "true"}
    commit(repo, {"app.py": "two"})
    for option in ("repo.private=false", "a;b=c", "$(touch canary)"):
        done = push(repo, site.url(), "-o", option, "main")
        assert done.returncode == 1
        assert len(site.house.desk.orders) == 1


def test_sec_07_twenty_one_options_are_too_many(site: Site, repo: Path) -> None:
    options = [part for _ in range(21) for part in ("-o", "with-config")]
    assert push(repo, site.url(), *options, "main").returncode == 1
    assert site.house.desk.orders == []


def test_detach_leaves_the_build_running_and_says_how_to_follow(site: Site, repo: Path) -> None:
    site.house.desk.hold.set()
    done = push(repo, site.url(), "-o", "detach", "main")
    assert done.returncode == 1
    [build] = site.house.ledger.queued()
    assert f"build {build.id}" in _refusal(done.stderr)


def test_p9_the_same_push_again_follows_the_running_build(site: Site, repo: Path) -> None:
    site.house.desk.hold.set()
    push(repo, site.url(), "-o", "detach", "main")
    results = []
    thread = threading.Thread(target=lambda: results.append(push(repo, site.url(), "main")))
    thread.start()
    [build] = site.house.ledger.queued()
    wait_for(
        lambda: (
            "push.judge" in (site.house.settings.state / "audit.jsonl").read_text()
            and len((site.house.settings.state / "audit.jsonl").read_text().splitlines()) >= 3
        )
    )
    site.house.desk.finish(build)
    thread.join()
    assert results[0].returncode == 0, results[0].stderr
    assert f"this follows build {build.id}" in results[0].stderr
    assert len(site.house.desk.orders) == 1


def test_f18_a_shallow_clone_can_push_and_the_result_can_be_cloned(site: Site, repo: Path, tmp_path: Path) -> None:
    commit(repo, {"app.py": "two"})
    git(["clone", "-q", "--depth", "1", f"file://{repo}", str(tmp_path / "shallow")])
    commit(tmp_path / "shallow", {"app.py": "three"})
    done = push(tmp_path / "shallow", site.url(), "main")
    assert done.returncode == 0, done.stderr
    git(["clone", "-q", site.url(), str(tmp_path / "clone")])
    assert (tmp_path / "clone/app.py").read_text() == "three"
    app = site.house.ledger.find_app(AppName(owner="alice", app="iris"))
    assert app is not None
    assert (site.house.settings.repo_path(app.id) / "shallow").exists()
    git(["fsck", "--strict"], GIT_DIR=str(site.house.settings.repo_path(app.id)))


def test_f18_a_shallow_push_onto_known_history_cuts_nothing(site: Site, repo: Path, tmp_path: Path) -> None:
    commit(repo, {"app.py": "two"})
    push(repo, site.url(), "main")
    git(["clone", "-q", "--depth", "1", f"file://{repo}", str(tmp_path / "shallow")])
    commit(tmp_path / "shallow", {"app.py": "three"})
    assert push(tmp_path / "shallow", site.url(), "main").returncode == 0
    git(["clone", "-q", site.url(), str(tmp_path / "clone")])
    assert git(["rev-list", "--count", "HEAD"], tmp_path / "clone") == "3"


def test_f16_a_large_push_is_chunked_after_a_probe(site: Site, repo: Path) -> None:
    commit(repo, {"model.bin": bytes(range(256)) * 4096 + os.urandom(3_000_000)})
    done = push(repo, site.url(), "main")
    assert done.returncode == 0, done.stderr


def test_clone_and_fetch_see_tags_and_only_own_refs(site: Site, repo: Path, tmp_path: Path) -> None:
    git(["tag", "v1"], repo)
    push(repo, site.url(), "main", "v1")
    git(["clone", "-q", site.url(), str(tmp_path / "clone")])
    assert git(["tag"], tmp_path / "clone") == "v1"
    assert git(["symbolic-ref", "HEAD"], tmp_path / "clone") == "refs/heads/main"
    for version in ("0", "1", "2"):
        out = git(["-c", f"protocol.version={version}", "ls-remote", site.url()], tmp_path)
        assert [line.split("\t")[1] for line in out.splitlines()] == ["HEAD", "refs/heads/main", "refs/tags/v1"]
    git(["clone", "-q", "--filter=blob:none", "--depth", "1", site.url(), str(tmp_path / "partial")])


def test_p2_the_advertisement_has_branches_and_have_lines_but_no_tags(site: Site, repo: Path) -> None:
    git(["tag", "-a", "-m", "x", "v1"], repo)
    push(repo, site.url(), "main", "v1")
    status, headers, body = site.call("GET", "/alice/iris.git/info/refs?service=git-receive-pack")
    assert (status, headers["Content-Type"]) == (200, "application/x-git-receive-pack-advertisement")
    assert headers["Cache-Control"].startswith("no-cache")
    assert headers["X-Accel-Buffering"] == "no"
    tip, tag = git(["rev-parse", "HEAD"], repo), git(["rev-parse", "v1"], repo)
    assert body.startswith(b"001f# service=git-receive-pack\n0000")
    assert (
        f"{tip} refs/heads/main\0report-status report-status-v2 delete-refs side-band-64k ofs-delta atomic ".encode()
        in body
    )
    assert b"push-options quiet object-format=sha1 agent=algopush/" in body
    assert f"{tag} .have\n".encode() in body
    assert b"refs/tags" not in body


def test_b11_the_probe_is_answered_and_gzip_bodies_are_read(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    content_type = "application/x-git-receive-pack-request"
    status, _, body = site.call("POST", "/alice/iris.git/git-receive-pack", b"0000", Content_Type=content_type)
    assert (status, body) == (200, b"")
    packed = gzip.compress(b"0000")
    status, _, body = site.call(
        "POST", "/alice/iris.git/git-receive-pack", packed, Content_Type=content_type, Content_Encoding="gzip"
    )
    assert (status, body) == (200, b"")


def test_b10_a_client_without_a_sideband_reads_the_cause_in_the_refusal(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    tip = git(["rev-parse", "HEAD"], repo)
    new = commit(repo, {"app.py": "two"})
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "--revs", "-q"],
        cwd=repo,
        input=f"{new}\n^{tip}\n".encode(),
        capture_output=True,
        check=True,
    ).stdout
    site.house.desk.fail_with = Failure(code="cancelled", fields={"actor": "alice", "build": 2})
    line = f"{tip} {new} refs/heads/main\0report-status".encode()
    body = f"{len(line) + 4:04x}".encode() + line + b"0000" + pack
    _, _, answer = site.call(
        "POST", "/alice/iris.git/git-receive-pack", body, Content_Type="application/x-git-receive-pack-request"
    )
    assert answer.startswith(b"000eunpack ok\n")
    assert b"ng refs/heads/main cancelled by alice: -----> built by a script\n0000" in answer


def test_sec_08_no_terminal_control_passes_through_band_2_or_the_refusal(site: Site, repo: Path) -> None:
    site.house.desk.lines = [b"red \x1b[31m bell \x07 nul \x00 csi \xc2\x9b2J raw \x9b del \x7f\n"]
    site.house.desk.fail_with = Failure(code="cancelled", fields={"actor": "al\x1b[2Jice\r\nx", "build": 1})
    status, _, body = _raw_push(site, repo)
    assert status == 200
    assert b"red [31m bell  nul  csi 2J raw" in body
    for byte in (b"\x1b", b"\x07", b"\x7f", b"\xc2\x9b", b"\x00"):
        assert byte not in body.replace(b"\x01", b"")
    [line] = [line for line in body.split(b"\n") if b"ng refs/heads/main" in line]
    assert b"\r" not in line


def _raw_push(
    site: Site, repo: Path, capabilities: str = "report-status side-band-64k"
) -> tuple[int, dict[str, str], bytes]:
    tip = git(["rev-parse", "HEAD"], repo)
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "--revs", "-q"],
        cwd=repo,
        input=f"{tip}\n".encode(),
        capture_output=True,
        check=True,
    ).stdout
    line = f"{'0' * 40} {tip} refs/heads/main\0{capabilities}".encode()
    body = f"{len(line) + 4:04x}".encode() + line + b"0000" + pack
    return site.call(
        "POST", "/alice/iris.git/git-receive-pack", body, Content_Type="application/x-git-receive-pack-request"
    )


def test_f16_the_first_anonymous_question_is_answered_with_a_challenge(site: Site) -> None:
    status, headers, _ = site.call("GET", "/alice/iris.git/info/refs?service=git-receive-pack", token=None)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="algo"')


def test_sec_12_authorisation_comes_before_the_query(site: Site) -> None:
    for query in ("", "?service=x", "?service=git-receive-pack&service=git-upload-pack", "?service"):
        assert site.call("GET", f"/alice/iris.git/info/refs{query}", token=None)[0] == 401
        assert site.call("GET", f"/alice/iris.git/info/refs{query}", token="bob")[0] == 404
        assert site.call("GET", f"/alice/iris.git/info/refs{query}")[0] == 403


def test_sec_18_somebody_elses_app_is_an_app_that_does_not_exist(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    answers = []
    for app in ("iris", "none"):
        for service in ("git-receive-pack", "git-upload-pack"):
            status, headers, body = site.call("GET", f"/alice/{app}.git/info/refs?service={service}", token="bob")
            headers.pop("Date", None)
            headers.pop("Content-Length", None)
            answers.append((status, headers, body.replace(f"alice/{app}".encode(), b"APP")))
    assert answers[0][0] == 404
    assert all(answer == answers[0] for answer in answers)
    own = site.call("GET", "/bob/none.git/info/refs?service=git-upload-pack", token="bob")
    assert (own[0], own[2].replace(b"bob/none", b"APP")) == (404, answers[0][2])


@pytest.mark.parametrize("owner", ["alic", "lice", "ALICE", "alice%2f..", "..", "alicee", "bob/../alice"])
def test_sec_09_rights_are_an_equality_of_names(site: Site, repo: Path, owner: str) -> None:
    push(repo, site.url(), "main")
    status, _, _ = site.call("GET", f"/{owner}/iris.git/info/refs?service=git-upload-pack", token="bob")
    assert status == 404


@pytest.mark.parametrize(
    "path", ["/alice/../../etc.git", "/alice/%2e%2e.git", "/alice/a%00b.git", "//etc/passwd.git", "/alice/a%3bid.git"]
)
def test_sec_06_no_path_of_the_wire_becomes_a_path_here(site: Site, path: str) -> None:
    status, _, _ = site.call("GET", f"{path}/info/refs?service=git-receive-pack")
    assert status in {308, 404}
    assert list((site.house.settings.state / "git").iterdir()) == []


BAD_NAMES = [
    "app;id",
    "app$cmd",
    "app`id`",
    "app%0aid",
    "-app",
    "app-",
    "a--b",
    "App",
    "app_1",
    "a.b",
    "a" * 41,
    "%c3%a9",
    "a%20b",
    "a%27b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_sec_01_bad_app_names_are_refused(site: Site, name: str) -> None:
    status, _, _ = site.call("GET", f"/alice/{name}.git/info/refs?service=git-receive-pack")
    assert status == 404


def test_f13_a_client_with_nothing_to_push_leaves_nothing_behind(site: Site) -> None:
    site.call("GET", "/alice/iris.git/info/refs?service=git-receive-pack")
    status, _, _ = site.call(
        "POST", "/alice/iris.git/git-receive-pack", b"0000", Content_Type="application/x-git-receive-pack-request"
    )
    assert status == 200
    assert site.house.ledger.apps("alice") == []
    assert list((site.house.settings.state / "git").iterdir()) == []


def test_a_refused_first_push_leaves_no_app_and_no_repository(site: Site, repo: Path) -> None:
    assert push(repo, site.url(), "main:refs/other/x").returncode == 1
    assert site.house.ledger.apps("alice") == []
    assert list((site.house.settings.state / "git").iterdir()) == []


def test_sec_20_a_stale_old_and_an_absent_object_are_refused(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    first = git(["rev-parse", "HEAD"], repo)
    commit(repo, {"app.py": "two"})
    push(repo, site.url(), "main")
    content_type = "application/x-git-receive-pack-request"
    empty_pack = bytes.fromhex("5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e")
    for new, cause in (("1" * 40, b"unpack "), (first, b"main moved to")):
        line = f"{'2' * 40} {new} refs/heads/main\0report-status".encode()
        body = f"{len(line) + 4:04x}".encode() + line + b"0000" + empty_pack
        _, _, answer = site.call("POST", "/alice/iris.git/git-receive-pack", body, Content_Type=content_type)
        assert b"ng refs/heads/main" in answer
        assert cause in answer
        assert b"unpack ok" not in answer or new == first
    assert len(site.house.desk.orders) == 2


def test_sec_21_a_pack_without_its_parents_is_refused(site: Site, repo: Path) -> None:
    first = git(["rev-parse", "HEAD"], repo)
    new = commit(repo, {"app.py": "two"})
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "--revs", "-q"],
        cwd=repo,
        input=f"{new}\n^{first}\n".encode(),
        capture_output=True,
        check=True,
    ).stdout
    line = f"{'0' * 40} {new} refs/heads/main\0report-status".encode()
    body = f"{len(line) + 4:04x}".encode() + line + b"0000" + pack
    _, _, answer = site.call(
        "POST", "/alice/iris.git/git-receive-pack", body, Content_Type="application/x-git-receive-pack-request"
    )
    assert b"ng refs/heads/main" in answer
    assert site.house.ledger.apps("alice") == []


@pytest.mark.parametrize("damage", ["cut", "flip", "tail", "count", "no pack"])
def test_sec_22_a_damaged_pack_is_refused_and_leaves_nothing(site: Site, repo: Path, damage: str) -> None:
    push(repo, site.url(), "main")
    old, new = git(["rev-parse", "HEAD"], repo), commit(repo, {"app.py": "two" * 100})
    pack = bytearray(
        subprocess.run(
            ["git", "pack-objects", "--stdout", "--revs", "-q"],
            cwd=repo,
            input=f"{new}\n^{old}\n".encode(),
            capture_output=True,
            check=True,
        ).stdout
    )
    match damage:
        case "cut":
            del pack[-30:]
        case "flip":
            pack[40] ^= 0xFF
        case "tail":
            pack += b"x" * 100_000
        case "count":
            pack[8:12] = b"\xff\xff\xff\xff"
        case _:
            pack[:4] = b"JUNK"
    line = f"{old} {new} refs/heads/main\0report-status".encode()
    body = f"{len(line) + 4:04x}".encode() + line + b"0000" + bytes(pack)
    _, _, answer = site.call(
        "POST", "/alice/iris.git/git-receive-pack", body, Content_Type="application/x-git-receive-pack-request"
    )
    assert b"ng refs/heads/main" in answer
    [repo_path] = (site.house.settings.state / "git").iterdir()
    assert list((repo_path / "objects").glob("tmp_objdir*")) == []
    assert site.house.refs() == {"refs/heads/main": old}


@pytest.mark.parametrize("line", [b"-001", b"0003", b"+010", b"00 4", b"zzzz"])
def test_sec_22_bad_packet_lengths_get_an_err_line(site: Site, line: bytes) -> None:
    status, _, answer = site.call(
        "POST",
        "/alice/iris.git/git-receive-pack",
        line + b"x" * 100,
        Content_Type="application/x-git-receive-pack-request",
    )
    assert status == 200
    assert answer[4:8] == b"ERR "


def test_sec_29_a_thousand_and_one_refs_are_too_many(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    tip = git(["rev-parse", "HEAD"], repo)
    lines = [f"{'0' * 40} {tip} refs/heads/b{number}" for number in range(1001)]
    lines[0] += "\0report-status"
    body = b"".join(f"{len(line) + 4:04x}{line}".encode() for line in lines) + b"0000"
    body += bytes.fromhex("5041434b0000000200000000029d08823bd8a8eab510ad6ac75c823cfd3ed31e")
    _, _, answer = site.call(
        "POST", "/alice/iris.git/git-receive-pack", body, Content_Type="application/x-git-receive-pack-request"
    )
    assert answer.count(b"ng refs/heads/b") == 1000
    assert len(site.house.desk.orders) == 1


def test_sec_29_a_pack_over_the_limit_is_read_to_its_end_and_refused(tmp_path: Path, repo: Path) -> None:
    house = build_house(tmp_path / "small", max_pack_bytes=200_000)
    app = Flask("test")
    app.register_blueprint(git_blueprint(house.doors))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Http11)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        commit(repo, {"model.bin": os.urandom(3_000_000)})
        done = push(repo, Site(house, server).url(), "main")
        assert done.returncode == 1
        assert "200.0 kB" in done.stderr
        assert "! [remote rejected] main -> main (" in done.stderr
        assert house.ledger.apps("alice") == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        house.ledger.close()


def test_sec_29_a_gzip_bomb_ends_at_its_ratio(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    bomb = gzip.compress(b"0" * 50_000_000)
    status, _, _ = site.call(
        "POST",
        "/alice/iris.git/git-upload-pack",
        bomb,
        Content_Type="application/x-git-upload-pack-request",
        Content_Encoding="gzip",
    )
    assert status == 413


def test_f14_d2_a_client_that_is_cut_changes_nothing_of_the_outcome(site: Site, repo: Path) -> None:
    site.house.desk.hold.set()
    tip = git(["rev-parse", "HEAD"], repo)
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "--revs", "-q"],
        cwd=repo,
        input=f"{tip}\n".encode(),
        capture_output=True,
        check=True,
    ).stdout
    line = f"{'0' * 40} {tip} refs/heads/main\0report-status side-band-64k".encode()
    body = f"{len(line) + 4:04x}".encode() + line + b"0000" + pack
    secret = base64.b64encode(f"x:{site.house.token}".encode()).decode()
    head = (
        f"POST /alice/iris.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {secret}\r\n"
        f"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", site.server.port)) as client:
        client.sendall(head.encode() + body)
        wait_for(lambda: len(site.house.ledger.queued()) == 1)
    [build] = site.house.ledger.queued()
    site.house.desk.finish(build)
    assert site.house.refs() == {"refs/heads/main": tip}
    ended = site.house.ledger.build(build.id)
    assert ended is not None
    assert ended.state is BuildState.SUCCEEDED


def test_sec_61_every_verdict_has_a_row_in_the_audit(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main", "main:refs/other/x")
    rows = [json.loads(line) for line in (site.house.settings.state / "audit.jsonl").read_text().splitlines()]
    judged = [row for row in rows if row["action"] == "push.judge"]
    assert [(row["ref"], row["verdict"], row["actor"]) for row in judged] == [
        ("refs/heads/main", "deploy", "alice"), ("refs/other/x", "refused: bad-ref", "alice"),
    ]  # fmt: skip


def test_quiet_which_git_sends_from_every_pipe_does_not_hide_the_log(site: Site, repo: Path) -> None:
    done = push(repo, site.url(), "-q", "main")
    assert (done.returncode, done.stderr) == (0, "remote: -----> built by a script")


def test_a_queued_push_onto_a_moved_branch_is_judged_by_ancestry(site: Site, repo: Path) -> None:
    push(repo, site.url(), "main")
    app = site.house.ledger.find_app(AppName(owner="alice", app="iris"))
    assert app is not None
    old = git(["rev-parse", "HEAD"], repo)
    new = commit(repo, {"app.py": "two"})
    site.house.desk.hold.set()
    push(repo, site.url(), "-o", "detach", "main")
    repo_path = site.house.settings.repo_path(app.id)
    [build] = site.house.ledger.queued()
    assert build.quarantine is not None
    Quarantine(repo_path=repo_path, quarantine_id=build.quarantine).migrate()
    conflict = move_refs(repo_path, [RefChange(git_ref="refs/heads/main", old="3" * 40, new=new)])
    assert conflict is not None
    assert (conflict.git_ref, conflict.current) == ("refs/heads/main", old)
