"""`algo previews`: list, delete."""

from __future__ import annotations

import click

from gitserver.cli.follow import finish_build
from gitserver.cli.output import age, items, show_json, show_table, utc_now
from gitserver.cli.session import app_path, open_app, with_app, with_json


@click.group("previews", invoke_without_command=True)
@with_app
@with_json
@click.pass_context
def previews_command(context: click.Context, app: str | None, as_json: bool) -> None:
    """List and remove previews.

    Every branch that you push, but for main, runs at an address of its own.

    \b
    Examples:
      algo previews
      algo previews delete feature/x
    """
    if context.invoked_subcommand is not None:
        return
    server, name = open_app(app)
    document = server.get(app_path(name, "previews"))
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = []
    for preview in items(document, "previews"):
        release, ends = preview["release"], age(preview["expires_at"], now)
        serves = str(release["commit"])[:7] if isinstance(release, dict) else "nothing yet"
        rows.append([str(preview["branch"]), serves, f"ends {ends}" if ends else "", str(preview["url"])])
    show_table(rows, when_empty="No previews. Next: git push algo HEAD:feature/x")


@previews_command.command("delete")
@click.argument("branch")
@with_app
@with_json
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def delete_preview(branch: str, app: str | None, as_json: bool, detach: bool) -> int:
    """Remove a preview and its branch on the server.

    \b
    Example:
      algo previews delete feature/x
    """
    server, name = open_app(app)
    build = server.send("DELETE", app_path(name, "previews", branch))
    return finish_build(server, build, as_json=as_json, detach=detach)
