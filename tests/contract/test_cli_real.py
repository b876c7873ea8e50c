"""The real `algo`, in its own process, against the real control plane under gunicorn, with the real git."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from gitserver.errors import Failure
from gitserver.ledger.records import BuildState
from gitserver.ledger.store import Ledger
from gitserver.push import AppName
from tests.web_house import COMMIT_2, DIGEST_2, House

ROOT = Path(__file__).parents[2]
SERVE = """
import sys
from pathlib import Path
from gunicorn.app.base import BaseApplication
from gitserver.accounts.audit import Audit
from gitserver.accounts.auth import Accounts
from gitserver.builds import Pushes
from gitserver.ledger.store import Ledger
from gitserver.web.app import create_app
from tests.web_house import make_settings

settings = make_settings(Path(sys.argv[1]), port=int(sys.argv[2]))
ledger = Ledger.open(settings.ledger_url)


class Web(BaseApplication):
    def load_config(self):
        for name, value in {"worker_class": "gthread", "threads": 8, "bind": [f"127.0.0.1:{sys.argv[2]}"],
                            "graceful_timeout": 1, "control_socket_disable": True}.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self):
        return create_app(settings, ledger, Pushes(settings, ledger), Accounts(ledger),
                          Audit(settings.state / "audit.jsonl"))


Web().run()
"""


class Shell:
    """A user with a home of their own, who types `algo` and `git`."""

    def __init__(self, home: Path, house: House) -> None:
        self.home, self.house = home, house
        self.repo = home / "iris"
        self.repo.mkdir(parents=True)
        self.env = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LANG": "C.UTF-8",
        }

    def algo(
        self,
        *arguments: str,
        rc: int = 0,
        stdin: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> tuple[str, str]:
        """Run algo, expect its exit code; stdout and stderr."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gitserver.cli.main", *arguments],
            cwd=cwd or self.repo, env={**self.env, **(env or {})}, input=stdin, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == rc, (done.returncode, done.stdout, done.stderr)
        return done.stdout, done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.algo(*arguments, "--json")[0])

    def git(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.repo, env=self.env, input=stdin, capture_output=True, text=True, timeout=60,
            check=True,
        )  # fmt: skip
        return done.stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A control plane that listens; the ledger is shared with the test, which plays the worker."""
    state = tmp_path_factory.mktemp("state")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with House(state, port=port) as one:
        log = (state / "web.log").open("wb")
        child = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(state), str(port)],
            cwd=ROOT, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(state)},
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            deadline_at = time.monotonic() + 60
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert child.poll() is None, (state / "web.log").read_text()
                assert time.monotonic() < deadline_at
                time.sleep(0.1)
            yield one
        finally:
            child.terminate()
            child.wait(20)
            log.close()


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Shell:
    """alice, signed in, in a git repository called iris."""
    one = Shell(tmp_path / "home", house)
    one.git("init", "-q", "-b", "main")
    one.algo("login", house.settings.url, "--token-file", "-", rc=1)
    (one.home / "token").write_text(house.alices + "\n")
    out, _ = one.algo("login", house.settings.url, "--token-file", str(one.home / "token"))
    assert out == f"Signed in to {house.settings.url} as alice.\n"
    for app in house.ledger.apps("alice"):
        house.ledger.destroy_app(app.id)
    return one


def work(house: House, build_id: int, state: BuildState, lines: list[str], failure: Failure | None = None) -> None:
    """Play the worker: write the log slowly, then end the build."""
    path = house.settings.build_log(build_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    for line in lines:
        with path.open("a") as file:
            file.write(line + "\n")
        time.sleep(0.1)
    house.ledger.claim([build_id])
    house.ledger.finish(build_id, state, failure=failure)
    house.settings.build_done(build_id).touch()


def work_next(house: House, state: BuildState, lines: list[str], failure: Failure | None = None) -> threading.Thread:
    """A worker that takes the next queued build."""

    def wait_and_work() -> None:
        ledger = Ledger.open(house.settings.ledger_url)
        deadline_at = time.monotonic() + 30
        while not (queued := ledger.queued()) and time.monotonic() < deadline_at:
            time.sleep(0.05)
        ledger.close()
        work(house, queued[-1].id, state, lines, failure)

    thread = threading.Thread(target=wait_and_work)
    thread.start()
    return thread


def test_create_makes_the_app_and_git_asks_for_nothing(house: House, shell: Shell) -> None:
    out, _ = shell.algo("create")
    assert out == "alice/iris is made.\nThe remote algo points to it. Next: git push algo main\n"
    assert shell.git("remote", "get-url", "algo") == f"{house.settings.url}/alice/iris.git\n"
    host = f"127.0.0.1:{house.settings.http.port}"
    filled = shell.git("credential", "fill", stdin=f"protocol=http\nhost={host}\npath=alice/iris.git\n\n")
    assert filled.splitlines()[-2:] == ["username=alice", f"password={house.alices}"]
    assert house.alices not in (shell.repo / ".git/config").read_text()


def test_the_credential_helper_is_silent_for_other_hosts(house: House, shell: Shell) -> None:
    for asked in ("protocol=https\nhost=127.0.0.1", "protocol=http\nhost=evil.example", "host=x", ""):
        assert shell.algo("credential", "get", stdin=asked + "\n\n") == ("", "")
    assert shell.algo("credential", "store", stdin="protocol=http\n\n") == ("", "")


def test_create_again_connects_an_app_that_exists(house: House, shell: Shell) -> None:
    shell.algo("create", "iris")
    shell.git("remote", "remove", "algo")
    out, _ = shell.algo("create", "alice/iris")
    assert out.startswith("alice/iris exists already.\n")
    assert shell.json("apps")["apps"][0]["name"] == "alice/iris"


def test_create_leaves_a_remote_of_another_place_alone(house: House, shell: Shell) -> None:
    shell.git("remote", "add", "algo", "https://elsewhere.example/x/y.git")
    _, err = shell.algo("create", "iris", rc=5)
    assert "The git remote algo points to https://elsewhere.example/x/y.git" in err
    assert house.ledger.apps("alice") == []


def test_a_command_without_an_app_says_what_to_type(shell: Shell) -> None:
    _, err = shell.algo("releases", rc=2)
    assert err == (
        " !     No app is named, and this folder has no git remote called algo.\n"
        " !     Next: algo create, or add --app OWNER/APP\n"
    )


def test_exit_codes_tell_failures_apart(house: House, shell: Shell, tmp_path: Path) -> None:
    assert "no app alice/nope" in shell.algo("releases", "--app", "nope", rc=4)[1]
    assert "does not answer" in shell.algo("apps", rc=8, env={"ALGO_URL": "http://127.0.0.1:9", "ALGO_TOKEN": "x"})[1]
    assert "unknown, revoked or expired" in shell.algo("apps", rc=3, env={"ALGO_TOKEN": "x"})[1]
    assert "not signed in" in shell.algo("apps", rc=3, env={"HOME": str(tmp_path)})[1]
    assert "exists" not in shell.algo("apps")[1]


def test_releases_versions_and_previews_are_told_in_the_ledgers_grammar(house: House, shell: Shell) -> None:
    shell.algo("create")
    app = house.ledger.find_app(AppName(owner="alice", app="iris"))
    assert app is not None
    assert shell.algo("releases")[0] == "No releases yet. Next: git push algo main\n"
    house.serve(app)
    house.serve(app, commit=COMMIT_2, digest=DIGEST_2, tag="v1", why="publish")
    house.ledger.add_version(
        app.id, tag="v1", object_oid=COMMIT_2, commit=COMMIT_2, image_digest=DIGEST_2, config_version=0, actor="alice"
    )
    out, _ = shell.algo("releases")
    assert out == (
        "*  2  Publish v1      production  alice  just now\n   1  Deploy 1111111  production  alice  just now\n"
    )
    assert shell.algo("versions")[0] == f"*  v1  2222222  alice  just now  {house.settings.url}/alice/iris@v1\n"
    assert shell.algo("previews")[0] == "No previews. Next: git push algo HEAD:feature/x\n"
    assert shell.algo("apps")[0].startswith("alice/iris  release 2  Publish v1  just now  private  http://")
    assert [one["number"] for one in shell.json("releases")["releases"]] == [2, 1]
    assert "app       alice/iris  private" in shell.algo("status")[0]


def test_a_rollback_shows_its_log_and_ends_as_the_build_does(house: House, shell: Shell) -> None:
    shell.algo("create")
    app = house.ledger.find_app(AppName(owner="alice", app="iris"))
    assert app is not None
    house.serve(app)
    house.serve(app, commit=COMMIT_2, digest=DIGEST_2)
    worker = work_next(house, BuildState.SUCCEEDED, ["-----> one", "\x1b[31m-----> two"])
    out, err = shell.algo("rollback", "1")
    worker.join()
    assert (out, err) == ("-----> one\n-----> two\n", "")
    failure = Failure(code="nothing-serves", fields={"environment": "production", "action": "roll back"})
    worker = work_next(house, BuildState.FAILED, ["-----> one"], failure)
    out, err = shell.algo("rollback", rc=6)
    worker.join()
    assert out == "-----> one\n"
    assert " failed.\n !     production has no release yet, so there is nothing to roll back.\n !     Next: " in err
    assert "valid targets are 1" in shell.algo("rollback", "9", rc=4)[1]
    out, _ = shell.algo("rollback", "--detach")
    assert out.endswith(" -f\n")


def test_config_is_set_listed_and_unset(house: House, shell: Shell) -> None:
    shell.algo("create")
    out, _ = shell.algo("config", "set", "A=1", "B=x=y", "KEY=-", stdin="from stdin\n")
    assert out == "A, B, KEY changed: production configuration 1. Nothing serves yet; the next push takes it.\n"
    assert shell.algo("config", "list")[0] == "A=1\nB=x=y\nKEY=from stdin\n"
    shell.algo("config", "unset", "A", "B")
    shell.algo("config", "set", "--preview", "A=p")
    assert shell.json("config", "list")["values"] == {"KEY": "from stdin"}
    assert shell.json("config", "list", "--preview")["values"] == {"A": "p"}
    assert "it is not set" in shell.algo("config", "unset", "NOPE", rc=1)[1]


def test_builds_are_found_followed_and_cancelled(house: House, shell: Shell) -> None:
    shell.algo("create")
    app = house.ledger.find_app(AppName(owner="alice", app="iris"))
    assert app is not None
    build = house.build(app)
    assert shell.algo("builds")[0].split() == [
        str(build), "queued", "deploy", "1111111", "production", "alice", "just", "now",
    ]  # fmt: skip
    assert shell.algo("builds", "cancel", str(build))[0] == f"Build {build} is asked to end.\n"
    assert f"Build {build} cancelled." in shell.algo("builds", "logs", str(build), "-f", rc=7)[1]
    assert shell.json("builds", "show", str(build))["state"] == "cancelled"
    assert "There is no build 999999" in shell.algo("builds", "show", "999999", rc=4)[1]


def test_keys_and_tokens_come_and_go(house: House, shell: Shell) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM+D4nNyJhR9wRUhvqrNuUkg2hQiCyMbabqv8IdyXEZg laptop\n"
    (shell.home / "id.pub").write_text(key)
    fingerprint = "SHA256:SBV9IICR97smsoKQQim0zWKDZXanTLbZ9ZKUDW/5ARk"
    assert shell.algo("keys", "add", str(shell.home / "id.pub"))[0] == f"{fingerprint} is registered.\n"
    assert shell.algo("keys", "list")[0].startswith(f"{fingerprint}  ssh-ed25519  laptop  ")
    assert shell.algo("keys", "remove", fingerprint)[0] == f"{fingerprint} is removed.\n"
    assert "has none of" in shell.algo("keys", "add", rc=1)[1]
    token, told = shell.algo("tokens", "create", "--label", "ci", "--days", "3")
    assert told == "Shown this once; it ends in 3 days.\n"
    token_id = token.split("_")[1]
    assert token_id in shell.algo("tokens", "list", env={"ALGO_TOKEN": token.strip()})[0]
    shell.algo("tokens", "revoke", token_id)
    shell.algo("tokens", "list", env={"ALGO_TOKEN": token.strip()}, rc=3)


def test_destroy_wants_the_whole_name(house: House, shell: Shell) -> None:
    shell.algo("create")
    assert "Nothing was destroyed" in shell.algo("destroy", "iris", "--confirm", "iris", rc=5)[1]
    assert shell.algo("destroy", "iris", stdin="alice/iris\n")[0].endswith("alice/iris is destroyed.\n")
    assert house.ledger.apps("alice") == []


def test_logs_are_followed_until_the_reader_goes(house: House, shell: Shell) -> None:
    shell.algo("create")
    app = house.ledger.find_app(AppName(owner="alice", app="iris"))
    assert app is not None
    path = house.settings.app_log(app.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("r1 one\n")
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "gitserver.cli.main", "logs", "-f"],
        cwd=shell.repo, env=shell.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "r1 one\n"
        with path.open("a") as file:
            file.write("r1 two\n")
        assert child.stdout.readline() == "r1 two\n"
        child.send_signal(2)
        assert child.wait(10) == 130


def test_a_quiet_build_is_known_from_a_lost_server(house: House, shell: Shell) -> None:
    build = house.build(house.app("alice/quiet"))
    with httpx.Client(headers={"Authorization": f"Bearer {house.alices}"}, timeout=20) as client:
        url = f"{house.settings.url}/api/v1/builds/{build}/log?follow=1"
        with client.stream("GET", url) as response:
            assert next(response.iter_raw()) == b"\0"
    house.ledger.request_cancel(build, "alice")


class Model(BaseHTTPRequestHandler):
    """An app's endpoint that answers with what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps(
            {"path": self.path, "type": self.headers["Content-Type"], "auth": self.headers["Authorization"],
             "body": body.decode()}
        ).encode()  # fmt: skip
        self.send_response(422 if b"bad" in body else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        pass


def test_a_call_sends_data_to_the_ref_and_the_answer_to_stdout(shell: Shell) -> None:
    with HTTPServer(("127.0.0.1", 0), Model) as model:
        thread = threading.Thread(target=model.serve_forever)
        thread.start()
        env = {"ALGO_URL": f"http://127.0.0.1:{model.server_port}", "ALGO_TOKEN": "T"}
        try:
            out, _ = shell.algo(
                "call", "alice/iris", '{"x": 1}', "@feature/x", "--path", "v1/models/m:predict", env=env
            )
            assert json.loads(out) == {
                "path": "/alice/iris@feature-x/v1/models/m:predict", "type": "application/json", "auth": "Bearer T",
                "body": '{"x": 1}',
            }  # fmt: skip
            out, _ = shell.algo("call", "alice/iris@v1", "-", stdin="plain", env=env)
            assert json.loads(out)["path"] == "/alice/iris@v1/predict"
            assert json.loads(out)["type"] == "text/plain; charset=utf-8"
            out, err = shell.algo("call", "alice/iris", '"bad"', rc=10, env=env)
            assert json.loads(out)["body"] == '"bad"'
            assert "answered 422" in err
        finally:
            model.shutdown()
            thread.join()


def test_help_is_quick(shell: Shell) -> None:
    """0.15 s on an idle machine; here only that nothing heavy is imported."""
    code = (
        "import sys; sys.argv=['algo','--help'];\n"
        "from gitserver.cli.main import run; run(['--help']);\n"
        "print({'httpx','flask','sqlalchemy','dulwich','asyncssh'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=shell.env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.endswith("set()\n")
