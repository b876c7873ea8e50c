"""`algo builds`: list, show, follow, cancel."""

from __future__ import annotations

import click

from gitserver.cli.follow import follow_build, tell_failure
from gitserver.cli.output import age, items, show_json, show_stream, show_table, utc_now
from gitserver.cli.session import app_path, open_app, open_server, with_app, with_json


@click.group("builds", invoke_without_command=True)
@with_app
@with_json
@click.option("--limit", type=click.IntRange(1, 500), default=20, help="How many.", show_default=True)
@click.pass_context
def builds_command(context: click.Context, app: str | None, as_json: bool, limit: int) -> None:
    """List, show, follow and cancel builds.

    A build is what a push starts. It goes on when your connection is cut; find it here again.

    \b
    Examples:
      algo builds
      algo builds show 12
      algo builds logs 12 -f
      algo builds cancel 12
    """
    if context.invoked_subcommand is not None:
        return
    server, name = open_app(app)
    document = server.get(app_path(name, "builds"), {"limit": limit})
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = [
        [
            str(build["id"]), str(build["state"]), str(build["kind"]), str(build["commit"])[:7],
            str(build["environment"]), str(build["actor"]), age(build["created_at"], now),
        ]
        for build in items(document, "builds")
    ]  # fmt: skip
    show_table(rows, when_empty="No builds yet. Next: git push algo main")


@builds_command.command("show")
@click.argument("build", type=int)
@with_json
def show_build(build: int, as_json: bool) -> None:
    """Show one build and why it failed.

    \b
    Example:
      algo builds show 12
    """
    document = open_server().get(f"/builds/{build}")
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = [
        ["build", str(document["id"])],
        ["state", str(document["state"])],
        ["what", f"{document['kind']} {str(document['commit'])[:7]} to {document['environment']}"],
        ["who", str(document["actor"])],
        ["when", age(document["created_at"], now)],
    ]
    show_table(rows, when_empty="")
    if document["failure"] is not None:
        tell_failure(document)


@builds_command.command("logs")
@click.argument("build", type=int)
@click.option("-f", "--follow", is_flag=True, help="Stay until the build ends; the exit code says how.")
def build_logs(build: int, follow: bool) -> int:
    """Show a build's log.

    \b
    Examples:
      algo builds logs 12
      algo builds logs 12 -f
    """
    server = open_server()
    if follow:
        return follow_build(server, build)
    show_stream(server.stream(f"/builds/{build}/log", {}))
    return 0


@builds_command.command("cancel")
@click.argument("build", type=int)
def cancel_build(build: int) -> None:
    """End a build; what served before goes on serving.

    \b
    Example:
      algo builds cancel 12
    """
    open_server().send("POST", f"/builds/{build}/cancel")
    click.echo(f"Build {build} is asked to end.")
