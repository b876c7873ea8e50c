"""Buildpacks out of real git repositories: which commit a name means, and what a hostile server cannot do."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from buildpacks.choosing.values import Source, SourceKind
from buildpacks.order import BuildFailed
from gitserver.remote.packfetch import PackRepositories

WHO = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


def git(folder: Path, *arguments: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null", **WHO}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, text: str) -> str:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / "compile").write_text(f"#!/bin/sh\necho {text}\n")
    (folder / "bin" / "compile").chmod(0o755)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


@pytest.fixture
def door(tmp_path: Path) -> PackRepositories:
    return PackRepositories({}, tmp_path / "work")


def source(place: Path | str, ref: str = "") -> Source:
    location = f"file://{place}" if isinstance(place, Path) else place
    return Source(
        kind=SourceKind.GIT, text=f"{location}#{ref}", location=location, ref=ref, asked_by=".buildpacks line 1"
    )


def test_a_ref_is_a_branch_before_a_tag_and_a_tag_means_its_commit(elsewhere: Path, door: PackRepositories) -> None:
    first = commit(elsewhere, "one")
    git(elsewhere, "tag", "-a", "v1", "-m", "v1")
    second = commit(elsewhere, "two")
    git(elsewhere, "tag", "both")
    git(elsewhere, "branch", "both", first)
    found = [door.resolve(source(elsewhere, ref)) for ref in ("", "main", "v1", "both", first)]
    assert found == [second, second, first, first, first]


def test_a_commit_is_laid_out_without_history_and_keeps_its_programs(
    elsewhere: Path, door: PackRepositories, tmp_path: Path
) -> None:
    first = commit(elsewhere, "one")
    commit(elsewhere, "two")
    door.fetch(source(elsewhere), first, tmp_path / "pack")
    assert sorted(path.name for path in (tmp_path / "pack").iterdir()) == ["bin"]
    assert (tmp_path / "pack/bin/compile").read_text() == "#!/bin/sh\necho one\n"
    assert os.access(tmp_path / "pack/bin/compile", os.X_OK)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_branch_that_is_not_there_is_named(elsewhere: Path, door: PackRepositories) -> None:
    commit(elsewhere, "one")
    with pytest.raises(BuildFailed) as caught:
        door.resolve(source(elsewhere, "gone"))
    assert (caught.value.code, caught.value.fields["ref"]) == ("buildpack-ref-missing", "gone")


def test_a_repository_that_is_not_there_is_told_in_gits_words(tmp_path: Path, door: PackRepositories) -> None:
    with pytest.raises(BuildFailed) as caught:
        door.resolve(source(tmp_path / "nowhere"))
    assert caught.value.code == "buildpack-unreachable"
    assert "does not appear to be a git repository" in str(caught.value.fields["cause"])


def test_more_than_the_limit_is_never_kept(elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "big").write_bytes(os.urandom(3 << 20))
    made = commit(elsewhere, "one")
    door = PackRepositories({}, tmp_path / "work", max_bytes=1 << 20)
    with pytest.raises(BuildFailed) as caught:
        door.fetch(source(elsewhere), made, tmp_path / "pack")
    assert (caught.value.code, caught.value.fields["limit_mib"]) == ("buildpack-too-big", 1)
    assert list((tmp_path / "work").iterdir()) == []


def test_a_small_pack_of_large_files_is_refused_too(elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "zeros").write_bytes(bytes(8 << 20))
    made = commit(elsewhere, "one")
    door = PackRepositories({}, tmp_path / "work", max_bytes=1 << 20)
    with pytest.raises(BuildFailed) as caught:
        door.fetch(source(elsewhere), made, tmp_path / "pack")
    assert caught.value.code == "buildpack-too-big"
    assert not (tmp_path / "pack").exists()


def test_a_link_that_leads_out_and_a_submodule_are_refused(
    elsewhere: Path, door: PackRepositories, tmp_path: Path
) -> None:
    (elsewhere / "passwd").symlink_to("/etc/passwd")
    with_link = commit(elsewhere, "one")
    git(elsewhere, "rm", "-q", "-f", "passwd")
    git(elsewhere, "update-index", "--add", "--cacheinfo", f"160000,{with_link},vendor")
    git(elsewhere, "commit", "-q", "-m", "two")
    for made, reason in ((with_link, "symlink-outside"), (git(elsewhere, "rev-parse", "HEAD"), "submodule")):
        with pytest.raises(BuildFailed) as caught:
            door.fetch(source(elsewhere), made, tmp_path / "pack")
        assert caught.value.code == "buildpack-refused"
        assert str(caught.value.fields["reason"]).startswith(reason)
        assert not (tmp_path / "pack").exists()


@contextmanager
def http_server(status: int, headers: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Answers every request alike; its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization', '-')}")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_redirect_leads_nowhere(door: PackRepositories) -> None:
    with (
        http_server(200, {}) as (inside, asked),
        http_server(302, {"Location": f"{inside}/metadata"}) as (outside, _),
        pytest.raises(BuildFailed) as caught,
    ):
        door.resolve(source(f"{outside}/team/pack"))
    assert caught.value.code == "buildpack-unreachable"
    assert asked == []


def test_a_server_that_asks_for_a_password_gets_none(door: PackRepositories) -> None:
    with (
        http_server(401, {"WWW-Authenticate": 'Basic realm="x"'}) as (address, asked),
        pytest.raises(BuildFailed) as caught,
    ):
        door.resolve(source(f"{address}/team/pack"))
    assert caught.value.code == "buildpack-unreachable"
    assert asked
    assert all(request.endswith(" -") for request in asked)
