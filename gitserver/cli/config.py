"""`algo config`: environment variables of an app."""

from __future__ import annotations

import sys

import click

from gitserver.cli.exits import Exit
from gitserver.cli.follow import follow_build
from gitserver.cli.output import items, safe, show_json
from gitserver.cli.session import app_path, open_app, with_app, with_json
from gitserver.errors import Json

_scope = click.option(
    "--preview", "scope", flag_value="preview", default="production",
    help="The values of previews; they never see those of production.",
)  # fmt: skip
_detach = click.option("--detach", is_flag=True, help="Do not wait for the new release.")


@click.group("config")
def config_command() -> None:
    """Read and change environment variables.

    A change is a new release of the same image: it must prove that it answers before it takes over.

    \b
    Examples:
      algo config set THRESHOLD=0.8 MODE=strict
      algo config unset MODE
      algo config list
    """


@config_command.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE...")
@with_app
@with_json
@_scope
@_detach
def set_config(assignments: tuple[str, ...], app: str | None, as_json: bool, scope: str, detach: bool) -> int:
    """Set variables, many at once. NAME=- reads one value from stdin, which keeps it out of your history.

    \b
    Examples:
      algo config set THRESHOLD=0.8 MODE=strict
      algo config set API_KEY=- < key.txt
      algo config set --preview DEBUG=1
    """
    values: dict[str, Json] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise click.UsageError(f"'{assignment}' is not NAME=VALUE")
        values[name] = sys.stdin.read().removesuffix("\n") if value == "-" else value
    return _change({"set": values}, app, as_json=as_json, scope=scope, detach=detach)


@config_command.command("unset")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@with_app
@with_json
@_scope
@_detach
def unset_config(names: tuple[str, ...], app: str | None, as_json: bool, scope: str, detach: bool) -> int:
    """Remove variables, many at once.

    \b
    Example:
      algo config unset THRESHOLD MODE
    """
    return _change({"unset": list[Json](names)}, app, as_json=as_json, scope=scope, detach=detach)


@config_command.command("list")
@with_app
@with_json
@_scope
def list_config(app: str | None, as_json: bool, scope: str) -> None:
    """Show variables and their values.

    \b
    Examples:
      algo config list
      algo config list --preview --json
    """
    server, name = open_app(app)
    document = server.get(app_path(name, "config"), {"scope": scope})
    if as_json:
        show_json(document)
        return
    values = document["values"]
    assert isinstance(values, dict)
    for key, value in values.items():
        click.echo(f"{safe(key)}={safe(str(value))}")


def _change(body: dict[str, Json], app: str | None, *, as_json: bool, scope: str, detach: bool) -> int:
    server, name = open_app(app)
    document = server.send("PATCH", app_path(name, "config"), {**body, "scope": scope})
    builds, changed = items(document, "builds"), document["changed"]
    assert isinstance(changed, list)
    if as_json:
        show_json(document)
    elif not changed:
        click.echo("Nothing changed.")
    else:
        what = f"{', '.join(map(str, changed))} changed: {scope} configuration {document['version']}."
        click.echo(safe(what) if builds else safe(what) + " Nothing serves yet; the next push takes it.")
    worst = int(Exit.DONE)
    for build in builds:
        build_id = build["id"]
        assert isinstance(build_id, int)
        if detach:
            click.echo(f"Build {build_id} is on its way. Next: algo builds logs {build_id} -f", err=as_json)
        else:
            worst = max(worst, follow_build(server, build_id, as_json=as_json))
    return worst
