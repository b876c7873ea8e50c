"""`algo create`, `apps`, `access`, `destroy`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from gitserver.cli import checkout
from gitserver.cli.client import Refused, Server
from gitserver.cli.login_file import git_credentials, read_logins
from gitserver.cli.output import age, items, show_json, show_table, utc_now
from gitserver.cli.session import app_path, find_login, open_server, parse_app, with_json
from gitserver.errors import Json, Problem


@click.command("create")
@click.argument("app", required=False)
@with_json
def create_command(app: str | None, as_json: bool) -> None:
    """Make an app and point git at it.

    APP is a name, or OWNER/APP; without it, the name of this folder. Inside a git repository the remote `algo` is
    added, and git learns the password by itself, so that `git push algo main` asks you for nothing.
    An app of yours that exists already is connected just the same.

    \b
    Examples:
      algo create
      algo create iris
    """
    login = find_login()
    server = Server(login.url, login.token)
    name = parse_app(app if app is not None else Path.cwd().name, login, server)
    is_repository = checkout.is_checkout()
    if is_repository:
        checkout.check_remote(f"{login.url}/{name}.git")
    try:
        document, made = server.send("POST", "/apps", {"name": str(name)}), True
    except Refused as refused:
        if refused.code != "app-exists":
            raise
        document, made = server.get(app_path(name)), False
    if is_repository:
        # The address that we reach, which may be a tunnel's, rather than the one that the server calls its own
        checkout.connect(f"{login.url}/{name}.git", login.url, git_credentials(read_logins(), login.url))
    if as_json:
        show_json(document)
        return
    click.echo(f"{name} is made." if made else f"{name} exists already.")
    if is_repository:
        click.echo("The remote algo points to it. Next: git push algo main")
    else:
        click.echo(f"This folder is no git repository. Next: git init -b main, then algo create {name} again")


@click.command("apps")
@with_json
def apps_command(as_json: bool) -> None:
    """List your apps.

    \b
    Examples:
      algo apps
      algo apps --json
    """
    document = open_server().get("/apps")
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = [
        [
            str(app["name"]),
            *_serves(app.get("production"), now),
            "public" if app["public"] else "private",
            str(app["url"]),
        ]
        for app in items(document, "apps")
    ]
    show_table(rows, when_empty="No apps yet. Next: algo create")


@click.command("access")
@click.argument("app")
@click.argument("who", type=click.Choice(["public", "private"]))
def access_command(app: str, who: str) -> None:
    """Say who may call an app.

    public: every caller, without a token. private: your tokens alone. Source, builds, logs and configuration are
    yours in both cases.

    \b
    Examples:
      algo access iris public
      algo access alice/iris private
    """
    login = find_login()
    server = Server(login.url, login.token)
    name = parse_app(app, login, server)
    server.send("PUT", app_path(name, "access"), {"public": who == "public"})
    click.echo(f"{name} is {who} now.")


@click.command("destroy")
@click.argument("app")
@click.option("--confirm", metavar="OWNER/APP", help="The app's full name, for scripts; else you are asked for it.")
def destroy_command(app: str, confirm: str | None) -> None:
    """Destroy an app for ever.

    Its endpoints, versions, previews, repository and logs go. There is no way back.

    \b
    Examples:
      algo destroy iris
      algo destroy alice/iris --confirm alice/iris
    """
    login = find_login()
    server = Server(login.url, login.token)
    name = parse_app(app, login, server)
    server.get(app_path(name))  # before asking: a name with a slip is told at once
    typed = confirm if confirm is not None else click.prompt(f"Type {name} to destroy it")
    if typed.strip() != str(name):
        raise Problem("not-confirmed", app=str(name), found=typed.strip()[:100])
    server.send("DELETE", app_path(name), {"confirm": str(name)})
    click.echo(f"{name} is destroyed.")


def _serves(release: Json, now: datetime) -> list[str]:
    if not isinstance(release, dict):
        return ["-", "nothing serves yet", ""]
    return [f"release {release['number']}", str(release["summary"]), age(release["created_at"], now)]
