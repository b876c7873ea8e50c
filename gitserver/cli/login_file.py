"""Where the command line keeps its tokens, and the only place on its side that reads the environment.

`~/.config/algo/login.json`, readable by its owner alone from its first moment on:
{"current": URL, "servers": {URL: {"name": ..., "token": ...}}}. ALGO_URL and ALGO_TOKEN stand above it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from gitserver.errors import Problem

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A server that we can speak with. name: whom its token belongs to; empty when the environment gave the token."""

    url: str
    token: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """All that is known of servers: from the environment, then from the file."""

    path: Path
    current: str | None
    servers: Mapping[str, Login]
    env_url: str | None
    env_token: str | None

    @property
    def url(self) -> str:
        """The server that is meant when nothing says otherwise."""
        return self.env_url or self.current or DEFAULT_URL

    def find(self, url: str | None = None) -> Login | None:
        """The login of a server. The environment's token is for the server that is meant, and for no other."""
        wanted = url or self.url
        if self.env_token is not None and wanted == self.url:
            return Login(url=wanted, token=self.env_token, name="")
        return self.servers.get(wanted)


def read_logins(environ: Mapping[str, str] = os.environ) -> Logins:
    """Read the file and the environment. Raises Problem('bad-login-file' | 'bad-url')."""
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    path = Path(home) / "algo" / "login.json"
    current, servers = _read(path)
    env_url = environ.get("ALGO_URL")
    return Logins(
        path=path,
        current=current,
        servers=servers,
        env_url=parse_url(env_url) if env_url else None,
        env_token=environ.get("ALGO_TOKEN") or None,
    )


def parse_url(text: str) -> str:
    """A server's address as it is kept: scheme and host, no slash at the end. Raises Problem('bad-url')."""
    parts = urlsplit(text.strip())
    try:
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        good = False
    if not good or parts.query or parts.fragment or "@" in parts.netloc:
        raise Problem("bad-url", found=text[:200])
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def git_credentials(logins: Logins, url: str) -> Path | None:
    """The file from which git's own `store` helper answers for a server; None when only the environment has its token.

    Why     git asks its helper twice in every push. Its own is a small C program; ours would start an interpreter
            each time, and a code-only push is to feel instant
    """
    return credentials_path(logins) if url in logins.servers and logins.env_token is None else None


def credentials_path(logins: Logins) -> Path:
    """Beside the login file, as private as it is. Source: git-credential-store(1), STORAGE FORMAT."""
    return logins.path.with_name("git-credentials")


def write_login(logins: Logins, login: Login) -> None:
    """Remember a login and make it the current one. Both files are replaced whole, never seen half-written."""
    servers = {**logins.servers, login.url: login}
    document = {
        "current": login.url,
        "servers": {url: {"name": one.name, "token": one.token} for url, one in sorted(servers.items())},
    }
    lines = [_credential_line(one) for _, one in sorted(servers.items())]
    logins.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(credentials_path(logins), "".join(lines))
    _replace(logins.path, json.dumps(document, indent=2) + "\n")


def _credential_line(login: Login) -> str:
    parts = urlsplit(login.url)
    return f"{parts.scheme}://{quote(login.name or 'algo', safe='')}:{quote(login.token, safe='')}@{parts.netloc}\n"


def _replace(path: Path, text: str) -> None:
    pending = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    pending.replace(path)


def _read(path: Path) -> tuple[str | None, dict[str, Login]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None, {}
    try:
        document = json.loads(text)
        servers = {
            url: Login(url=url, token=str(entry["token"]), name=str(entry["name"]))
            for url, entry in document["servers"].items()
        }
        current = document["current"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem("bad-login-file", path=str(path)) from error
    return (str(current) if current else None), servers
