"""`algo stack upgrade`: releases move to another stack without a build, each only when it answers there."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from gitserver.cli.client import Server
from gitserver.cli.exits import Exit
from gitserver.cli.output import items, safe, show_json
from gitserver.cli.session import app_path, find_login, open_app, open_server, parse_app, with_json
from gitserver.errors import Json
from gitserver.push import AppName

_LOOK_S = 0.5
_WELL = {"succeeded", "there"}
_WAITING = {"queued", "running"}
_ALL = "/stacks/upgrade"


@click.command("upgrade")
@click.argument("app", required=False, metavar="[APP]")
@click.option("--all", "every", is_flag=True, help="Every app of the server; for its owner.")
@click.option("--to", "stack", metavar="NAME", help="The stack to move to; without it, the current one.")
@with_json
def upgrade_stack(app: str | None, every: bool, stack: str | None, as_json: bool) -> int:
    """Move releases to another stack without a build.

    Every layer stays as it is; the base below is another. A release must prove that it answers before it takes over,
    and one that does not stays where it was. The exit code is 0 when all of them moved.

    \b
    Examples:
      algo stack upgrade
      algo stack upgrade iris --to bookworm-2026-05
      algo stack upgrade --all
    """
    if every and app is not None:
        raise click.UsageError("name an APP or say --all, not both")
    server, path = _where(app, every=every)
    body: dict[str, Json] = {} if stack is None else {"stack": stack}
    begun = server.send("POST", path, body)
    moves: list[dict[str, Json]] = []
    for move in _ended(server, path, begun):
        moves.append(move)
        if not as_json:
            _tell(move)
    if as_json:
        show_json({"stack": begun["stack"], "moves": list[Json](moves)})
    elif not moves:
        click.echo("Nothing serves yet. Next: git push algo main")
    return Exit.DONE if all(move["state"] in _WELL for move in moves) else Exit.FAILED


def _where(app: str | None, *, every: bool) -> tuple[Server, str]:
    if every:
        return open_server(), _ALL
    if app is None:
        server, name = open_app(None)
    else:
        login = find_login()
        server = Server(login.url, login.token)
        name = parse_app(app, login, server)
    return server, _of(name)


def _of(name: AppName) -> str:
    return app_path(name, "stack")


def _ended(server: Server, path: str, begun: dict[str, Json]) -> Iterator[dict[str, Json]]:
    """Each move once it has ended."""
    moves = items(begun, "moves")
    waited_for = {str(move["build"]) for move in moves if move["state"] in _WAITING}
    yield from (move for move in moves if move["state"] not in _WAITING)
    since = begun["since"]
    assert isinstance(since, int)
    while waited_for:
        time.sleep(_LOOK_S)
        for move in items(server.get(path, {"since": since}), "moves"):
            if str(move["build"]) in waited_for and move["state"] not in _WAITING:
                waited_for.remove(str(move["build"]))
                yield move


def _tell(move: dict[str, Json]) -> None:
    where = f"{safe(str(move['app']))} {safe(str(move['environment']))}"
    match move["state"]:
        case "succeeded":
            click.echo(f"{where}: serves on {safe(str(move['stack']))}")
        case "there":
            click.echo(f"{where}: is on {safe(str(move['stack']))} already")
        case state:
            click.echo(f"{where}: stays where it was ({safe(str(state))})")
            for line in (move["reason"], f"Next: {move['next']}" if move["next"] else ""):
                if line:
                    click.echo(f" !     {safe(str(line))}", err=True)
