"""The git repository that a user stands in: its remote `algo`, and the helper that answers git's password question."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gitserver.errors import Problem
from gitserver.push import AppName, parse_app_path

REMOTE = "algo"
_GIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Where the remote `algo` points. base is the server's address; None for SSH, which names no HTTP server."""

    url: str
    base: str | None
    app: AppName


def find_remote() -> Remote | None:
    """The remote `algo` of the repository around us; None outside of one, without one, or if it is no app's address."""
    done = _git("remote", "get-url", "--push", REMOTE)
    return parse_remote(done.stdout.strip()) if done.returncode == 0 else None


def parse_remote(url: str) -> Remote | None:
    """`http://HOST/alice/iris.git`, `ssh://git@HOST:2222/alice/iris.git`, `git@HOST:alice/iris.git`."""
    if "://" not in url:
        host, colon, path = url.partition(":")
        if not colon or "/" in host:
            return None
        return _remote(url, None, path)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "ssh"}:
        return None
    if parts.scheme == "ssh":
        return _remote(url, None, parts.path)
    # The server may live below a path of a proxy: the last two segments are the app
    segments = parts.path.strip("/").split("/")
    prefix = "/".join(segments[:-2])
    host = parts.netloc.rpartition("@")[2].lower()
    base = f"{parts.scheme}://{host}" + (f"/{prefix}" if prefix else "")
    return _remote(url, base, "/".join(segments[-2:]))


def is_checkout() -> bool:
    """We stand in a git repository."""
    return _git("rev-parse", "--git-dir").returncode == 0


def connect(git_url: str, server_url: str, credentials: Path | None) -> None:
    """Point the remote `algo` at an app and let git find the password by itself.

    credentials  the file of git's own `store` helper; None: git asks `algo credential`
    Raises  Problem('remote-taken') when `algo` points elsewhere, Problem('git-failed')
    """
    known = _git("remote", "get-url", "--push", REMOTE)
    if known.returncode != 0:
        _must("remote", "add", REMOTE, git_url)
    elif known.stdout.strip() != git_url:
        raise Problem("remote-taken", found=known.stdout.strip(), wanted=git_url)
    key = f"credential.{server_url}.helper"
    # The empty value drops the helpers of the user's own configuration for this address, or the system's key store
    # would be asked first and would keep a copy of the token
    _must("config", "--local", "--replace-all", key, "")
    helper = helper_command() if credentials is None else f"store --file {shlex.quote(str(credentials))}"
    _must("config", "--local", "--add", key, helper)


def check_remote(git_url: str) -> None:
    """Raise Problem('remote-taken') before anything is made, when `algo` points elsewhere."""
    known = _git("remote", "get-url", "--push", REMOTE)
    if known.returncode == 0 and known.stdout.strip() != git_url:
        raise Problem("remote-taken", found=known.stdout.strip(), wanted=git_url)


def helper_command() -> str:
    """What git runs, through its shell, to learn the password: this very program, wherever it is installed.

    Source  gitcredentials(7), CUSTOM HELPERS: a value that begins with '!' is a shell snippet
    """
    program = Path(sys.argv[0])
    if program.name == "algo" and program.is_absolute() and program.exists():
        words = [str(program)]
    else:
        words = [sys.executable, "-P", "-m", "gitserver.cli.main"]
    return "!" + " ".join(shlex.quote(word) for word in [*words, "credential"])


def _remote(url: str, base: str | None, path: str) -> Remote | None:
    try:
        return Remote(url=url, base=base, app=parse_app_path(path))
    except Problem:  # a remote of some other product that is called algo
        return None


def _must(*arguments: str) -> None:
    done = _git(*arguments)
    if done.returncode != 0:
        raise Problem("git-failed", command=f"git {' '.join(arguments[:2])}", detail=done.stderr.strip()[:500])


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, errors="replace", timeout=_GIT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Problem("git-absent") from error
    except subprocess.TimeoutExpired as error:
        raise Problem("git-failed", command=f"git {arguments[0]}", detail=f"no end after {_GIT_S:.0f} s") from error
