"""`algo logs`: what an app's processes wrote."""

from __future__ import annotations

import click

from gitserver.cli.output import show_stream
from gitserver.cli.session import app_path, open_app, with_app


@click.command("logs")
@with_app
@click.option("-f", "--follow", is_flag=True, help="Stay and show what comes.")
@click.option("-n", "--lines", type=click.IntRange(0, 10_000), default=100, help="Last lines first.", show_default=True)
def logs_command(app: str | None, follow: bool, lines: int) -> None:
    """Show what an app's processes wrote.

    Each line names its release. Values of configuration that look like secrets are masked. The log of a build is
    another one: algo builds logs ID.

    \b
    Examples:
      algo logs
      algo logs -f
      algo logs --app alice/iris -n 500
    """
    server, name = open_app(app)
    query: dict[str, str | int] = {"lines": lines, **({"follow": 1} if follow else {})}
    show_stream(server.stream(app_path(name, "logs"), query))
