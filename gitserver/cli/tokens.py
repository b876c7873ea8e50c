"""`algo tokens`: secrets for git over HTTP, the API, and calls."""

from __future__ import annotations

import click

from gitserver.cli.client import path_of
from gitserver.cli.output import age, items, show_json, show_table, utc_now
from gitserver.cli.session import open_server, with_json
from gitserver.errors import Json


@click.group("tokens")
def tokens_command() -> None:
    """Your tokens.

    A token is the password of git over HTTP, and signs calls and the API. It is shown once, when it is made.

    \b
    Examples:
      algo tokens create --label ci --days 30
      algo tokens list
      algo tokens revoke 0a1b2c3d4e5f6071
    """


@tokens_command.command("create")
@click.option("--label", default="", help="A note for people.")
@click.option("--days", type=click.IntRange(1, 366), default=90, help="How long it lives.", show_default=True)
@with_json
def create_token(label: str, days: int, as_json: bool) -> None:
    """Make a token and show it, this once.

    \b
    Example:
      algo tokens create --label ci --days 30
    """
    body: dict[str, Json] = {"label": label, "days": days}
    document = open_server().send("POST", "/tokens", body)
    if as_json:
        show_json(document)
        return
    click.echo(document["token"])
    click.echo(f"Shown this once; it ends in {days} days.", err=True)


@tokens_command.command("list")
@with_json
def list_tokens(as_json: bool) -> None:
    """List your tokens without their secrets, newest first.

    \b
    Example:
      algo tokens list
    """
    document = open_server().get("/tokens")
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = []
    for token in items(document, "tokens"):
        ends = age(token["expires_at"], now)
        end = "no end" if not ends else (f"ended {ends}" if ends.endswith("ago") else f"ends {ends}")
        rows.append([str(token["id"]), f"...{token['last4']}", str(token["label"]), end])
    show_table(rows, when_empty="No tokens. Next: algo tokens create")


@tokens_command.command("revoke")
@click.argument("token_id", metavar="ID")
def revoke_token(token_id: str) -> None:
    """Revoke a token at once, for git, the API and calls alike.

    \b
    Example:
      algo tokens revoke 0a1b2c3d4e5f6071
    """
    open_server().send("DELETE", path_of("tokens", token_id))
    click.echo(f"{token_id} is revoked.")
