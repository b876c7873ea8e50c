"""Which server and which app a command means, and the options that say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gitserver.cli.checkout import find_remote
from gitserver.cli.client import Server, path_of
from gitserver.cli.login_file import Login, Logins, read_logins
from gitserver.errors import Problem
from gitserver.push import AppName, parse_app_path, parse_name

Command = TypeVar("Command", bound=Callable[..., Any])


def with_app(command: Command) -> Command:
    """Add --app."""
    return click.option(
        "--app", "app", metavar="OWNER/APP", help="The app; without it, that of the git remote algo here."
    )(command)


def with_json(command: Command) -> Command:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print the API's document.")(command)


def open_server() -> Server:
    """The server that is meant, signed in. Raises Problem('not-logged-in')."""
    login = _login(read_logins(), None)
    return Server(login.url, login.token)


def open_app(option: str | None) -> tuple[Server, AppName]:
    """The server and the app that are meant. Raises Problem('no-app-here' | 'not-logged-in' | 'bad-app-path')."""
    logins = read_logins()
    if option is not None:
        login = _login(logins, None)
        server = Server(login.url, login.token)
        return server, parse_app(option, login, server)
    remote = find_remote()
    if remote is None:
        raise Problem("no-app-here")
    login = _login(logins, remote.base)
    return Server(login.url, login.token), remote.app


def parse_app(text: str, login: Login, server: Server) -> AppName:
    """`alice/iris`, or `iris` of one's own."""
    if "/" in text:
        return parse_app_path(text)
    owner = login.name or str(server.get("/whoami")["name"])
    return AppName(owner=owner, app=parse_name(text, what="app"))


def app_path(app: AppName, *parts: str) -> str:
    """The API's path of an app, or of something below it."""
    return path_of("apps", app.owner, app.app, *parts)


def find_login(url: str | None = None) -> Login:
    """The login of a server, or of the one that is meant. Raises Problem('not-logged-in')."""
    return _login(read_logins(), url)


def _login(logins: Logins, url: str | None) -> Login:
    login = logins.find(url)
    if login is None:
        raise Problem("not-logged-in", url=url or logins.url)
    return login
