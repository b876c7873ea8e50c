"""Apps that choose their buildpacks, pushed with git to a real server and called."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services.client import Repo
from tests.services.server import Server

pytestmark = pytest.mark.e2e

New = Callable[..., Server]
Own = Callable[[Server, str], Repo]
PACKS = Path(__file__).parents[1] / "packs"
SERVER = """
import json, os, shutil, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        env = {name: os.environ.get(name) for name in ("DYNO", "WEB_MODE", "WEB_READY")}
        said = {**env, "home": os.environ["HOME"] == os.getcwd(), "tool": os.path.isdir(os.environ["TOOL_HOME"]),
                "greeting": open("greeting.txt").read()}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer((os.environ.get("HOST", "0.0.0.0"), int(sys.argv[1])), Handler).serve_forever()
"""


def remote(folder: Path, pack: str) -> Path:
    """A git repository of a buildpack of tests/packs."""
    shutil.copytree(PACKS / pack, folder)
    git(folder, "init", "-q", "-b", "main")
    return folder


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), **who}
    return subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "change")
    return git(folder, "rev-parse", "HEAD").strip()


def test_classic_buildpacks_out_of_git_build_serve_and_stay_at_their_commit(
    fresh_server: New, own: Own, tmp_path: Path
) -> None:
    tool, web = (remote(tmp_path / name, name) for name in ("classic-tool", "classic-web"))
    first, _ = commit(tool), commit(web)
    server = fresh_server(buildpacks=f"repository,file://{tmp_path}/")
    repo = own(server, "classic")
    repo.commit({
        ".buildpacks": f"file://{tool}#main\nfile://{web}\n", "server.py": SERVER, "tool.txt": "", "a.psd": "",
        ".slugignore": "*.psd\n",
        "project.toml": '[[io.buildpacks.build.env]]\nname = "BP_GREETING"\nvalue = "hello"\n',
    })  # fmt: skip
    result = repo.push()
    assert result.line_with(f"Buildpacks, chosen by .buildpacks: file://{tool}#main at {first[:12]}, file://{web} at")
    assert result.line_with("stack heroku-22, source " + repo.head)
    assert result.line_with("web: tool version 7, on PATH: yes")
    if os.geteuid() == 0:  # a server without rights has no mount namespace to put it in
        assert result.line_with("linked into /app")
    said = {
        "DYNO": "web.1",
        "WEB_MODE": "fast one",
        "WEB_READY": "yes",
        "home": True,
        "tool": True,
        "greeting": "hello",
    }
    assert server.request("GET", "/alice/classic/").json() == said

    # The branch moves: neither a second push nor a verification follows it.
    (tool / "bin" / "compile").write_text("#!/bin/sh\necho 'a new version'\nexit 1\n")
    commit(tool)
    user, app = repo.user, "alice/classic"
    assert "-----> The same image: " in user.algo("image", "verify", "--app", app)
    repo.commit({"server.py": SERVER + "# changed\n"})
    result = repo.push()
    assert result.line_with(f"file://{tool}#main at {first[:12]}")
    assert result.line_with("run number 2")  # CACHE_DIR is the app's


def test_what_the_operator_does_not_allow_is_refused_with_file_line_and_setting(fresh_server: New, own: Own) -> None:
    server = fresh_server(buildpacks="builtin")
    repo = own(server, "web")
    files = {
        path.relative_to(PACKS).as_posix(): path.read_bytes() for path in (PACKS / "hello").rglob("*") if path.is_file()
    }
    repo.commit({**files, ".buildpacks": "# ours\n./hello\n"})
    result = repo.push(check=False)
    assert "a buildpack is not allowed here" in result.verdicts["main"]
    assert result.line_with(".buildpacks line 2 asks for ./hello; the operator allows: builtin.")
    assert repo.remote_refs() == {}


def test_the_apps_configuration_beats_its_files(repo: Repo) -> None:
    repo.commit({".buildpacks": "./nowhere\n", "Procfile": "web: python3 -m http.server $PORT\n"})
    result = repo.push(check=False)
    assert "no buildpack where one was named" in result.verdicts["main"]
    repo.user.algo("config", "set", "BP_BUILDPACKS=algo/procfile", "--app", f"alice/{repo.app}")
    result = repo.push()
    assert result.line_with("Buildpacks, chosen by algo config: BP_BUILDPACKS: algo/procfile")
