"""What a user has: a home folder, git, ssh, the `algo` command, and repositories.

Rules of this file
1. Every child gets an environment made here; nothing of the machine's git or ssh configuration is read.
2. The surroundings are hostile on purpose: python, pip and uv on PATH are traps, PIP_* and PYTHONPATH point to rubbish.
   What leaks from the client to the server shows as a failing push.
3. Nobody is asked anything: a prompt is a failure.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.server import Server, algo_command

GIT_S = 180.0
_PADDING = re.compile(r"[ \t]+$|\x1b\[K", re.MULTILINE)  # git pads the lines of band 2 with blanks
_STATUS = re.compile(r"^ (?P<flag>[ !*+=-]) (?P<what>\[[^\]]+\]|\S+)\s+(?P<names>.+?)(?: \((?P<why>.*)\))?$")


def clean(text: str) -> str:
    """git's output as a reader sees it: last state of each line, no padding, no 'remote: ' prefix."""
    lines = [_PADDING.sub("", line.rstrip("\r").rsplit("\r", 1)[-1]) for line in text.split("\n")]
    return "\n".join(line.removeprefix("remote: ") if line.startswith("remote: ") else line for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """How a push ended: exit status, everything git printed (cleaned), seconds it took."""

    rc: int
    text: str
    seconds: float

    @property
    def build_id(self) -> int:
        """The first build that the output names."""
        match = re.search(r"\bbuild (\d+)\b", self.text, re.IGNORECASE)
        assert match, f"no build is named in:\n{self.text}"
        return int(match[1])

    @property
    def verdicts(self) -> dict[str, str]:
        """Destination -> what git says of it: '' when it was accepted, else the text in parentheses.

        `! [remote rejected] main -> main (no model found)` gives {"main": "no model found"}
        """
        found = {}
        for line in self.text.splitlines():
            if match := _STATUS.match(line):
                name = match["names"].split(" -> ")[-1].strip()
                found[name] = (match["why"] or "rejected") if match["flag"] == "!" else ""
        return found

    def line_with(self, words: str) -> str:
        """The one line that holds these words."""
        lines = [line for line in self.text.splitlines() if words in line]
        assert lines, f"{words!r} is not in:\n{self.text}"
        return lines[0]


class User:
    """A person on their own machine: a home, a key, a token of one server."""

    def __init__(self, home: Path, server: Server, *, name: str = "alice", token: str | None = None) -> None:
        self.home, self.server, self.name = home, server, name
        self.token = token or server.token
        self.key = home / "key"
        home.mkdir(parents=True, exist_ok=True)
        _make_traps(home / "traps")

    def environment(self) -> dict[str, str]:
        """The surroundings of every command that this user types."""
        ssh = (
            f"ssh -F /dev/null -i {self.key} -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes "
            f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={self.home / 'known_hosts'}"
        )
        return {
            "PATH": f"{self.home / 'traps'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_SSH_COMMAND": ssh,
            "GIT_AUTHOR_NAME": self.name,
            "GIT_AUTHOR_EMAIL": f"{self.name}@example.org",
            "GIT_COMMITTER_NAME": self.name,
            "GIT_COMMITTER_EMAIL": f"{self.name}@example.org",
            "PYTHONPATH": str(self.home / "traps"),
            "PIP_INDEX_URL": "http://127.0.0.1:9/never",
            "PIP_NO_INDEX": "1",
            "UV_OFFLINE": "1",
            "UV_DEFAULT_INDEX": "http://127.0.0.1:9/never",
        }

    def run(self, *argv: str, cwd: Path | None = None, check: bool = True, stdin: str = "") -> str:
        """Type one command; its output, or AssertionError with it when it fails."""
        done = subprocess.run(
            argv,
            cwd=cwd or self.home,
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=GIT_S,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def status_of(self, *argv: str, cwd: Path | None = None) -> tuple[int, str]:
        """Exit status and everything printed, for commands that are meant to fail."""
        done = subprocess.run(
            argv,
            cwd=cwd or self.home,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=GIT_S,
            check=False,
        )
        return done.returncode, clean(done.stdout)

    def algo(self, *args: str, cwd: Path | None = None) -> str:
        """`algo ...`, which must succeed."""
        return self.run(str(algo_command()), *args, cwd=cwd)

    def algo_json(self, *args: str, cwd: Path | None = None) -> Any:
        """`algo ... --json`, parsed."""
        return json.loads(self.algo(*args, "--json", cwd=cwd))

    def algo_list(self, what: str, *args: str) -> list[dict[str, Any]]:
        """`algo builds|releases|versions|previews --json`: the rows, newest first."""
        rows: list[dict[str, Any]] = self.algo_json(what, *args)[what]
        return rows

    def login(self) -> None:
        """What the server's first lines tell a user to do."""
        self.algo("login", self.server.url, "--token", self.token)

    def add_key(self) -> None:
        """Make an SSH key and register it."""
        self.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key))
        self.algo("keys", "add", f"{self.key}.pub")

    def url_of(self, app: str, transport: str = "http", *, owner: str | None = None) -> str:
        """A remote's address; over HTTP the token is in it, as a CI job would write it."""
        at = self.server.at
        path = f"{owner or self.name}/{app}.git"
        if transport == "ssh":
            return f"ssh://git@127.0.0.1:{at.ssh_port}/{path}"
        return f"http://{self.name}:{self.token}@127.0.0.1:{at.http_port}/{path}"


class Repo:
    """A repository of a user with the remote `algo`."""

    def __init__(self, path: Path, user: User, app: str, *, transport: str = "http", owner: str | None = None) -> None:
        self.path, self.user, self.app, self.transport = path, user, app, transport
        self._pushes: list[RunningPush] = []
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "algo", user.url_of(app, transport, owner=owner))

    def git(self, *args: str, check: bool = True) -> str:
        """Any git command here."""
        return self.user.run("git", *args, cwd=self.path, check=check).strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Files of the work tree; None removes one."""
        for name, content in files.items():
            path = self.path / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes | None] | None = None, message: str = "change") -> str:
        """Write, add all, commit; returns the 40 hex digits."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD")

    def remote_refs(self) -> dict[str, str]:
        """What `git ls-remote algo` shows: name -> object."""
        lines = self.git("ls-remote", "algo").splitlines()
        return {name: oid for oid, name in (line.split("\t") for line in lines)}

    def has_app(self) -> bool:
        """Whether the server lets this user read the app at all."""
        return self.user.status_of("git", "ls-remote", "algo", cwd=self.path)[0] == 0

    def start_push(self, *refspecs: str, options: Sequence[str] = ()) -> RunningPush:
        """`git push` in the background, in a process group of its own."""
        push = RunningPush(self, ["git", "push", *options, "algo", *refspecs])
        self._pushes.append(push)
        return push

    def close(self) -> None:
        """No push of this repository goes on after its test, however the test ended."""
        for push in self._pushes:
            push.cut()

    def push(self, *refspecs: str, options: Sequence[str] = (), check: bool = True) -> PushResult:
        """`git push [options] algo refspecs`; check=True demands success, check=False failure."""
        result = self.start_push(*(refspecs or ("main",)), options=options).wait()
        assert (result.rc == 0) is check, f"push ended with {result.rc}:\n{result.text}"
        return result


class RunningPush:
    """A push that goes on while the test does something else."""

    def __init__(self, repo: Repo, argv: Sequence[str]) -> None:
        self._log = repo.path.with_name(f"{repo.path.name}.push-{time.monotonic_ns()}")
        self._began = time.monotonic()
        with self._log.open("wb") as output:
            self._child = subprocess.Popen(
                argv,
                cwd=repo.path,
                env=repo.user.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        """What git printed up to now."""
        return clean(self._log.read_bytes().decode(errors="replace"))

    def wait_for(self, words: str, within_s: float = 60) -> str:
        """Until the output holds these words; the output so far."""
        deadline = time.monotonic() + within_s
        while words not in (text := self.text):
            ended = self._child.poll()
            if (ended is not None and words not in self.text) or time.monotonic() > deadline:
                self.cut()
                raise AssertionError(f"{words!r} did not appear within {within_s:g} s (status {ended}):\n{self.text}")
            time.sleep(0.02)
        return text

    def cut(self) -> None:
        """SIGKILL to git and its helpers: the laptop's lid is closed."""
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait(10)

    def wait(self, within_s: float = GIT_S) -> PushResult:
        """Until git ends by itself."""
        try:
            rc = self._child.wait(within_s)
        except subprocess.TimeoutExpired as error:
            self.cut()
            raise AssertionError(f"git push did not end within {within_s:g} s:\n{self.text}") from error
        return PushResult(rc=rc, text=self.text, seconds=time.monotonic() - self._began)


def _make_traps(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("python", "python3", "pip", "pip3", "uv"):
        trap = folder / name
        trap.write_text("#!/bin/sh\necho 'TRAP: a program of the client was run' >&2\nexit 97\n", encoding="ascii")
        trap.chmod(0o755)
    for name in ("flask", "sklearn", "predict", "joblib"):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('TRAP: {name} of the client')\n", encoding="ascii")
