"""`algo gc`: take away what nothing needs. The server does it; this asks, waits and tells."""

from __future__ import annotations

import time

import click

from gitserver.cli.client import Server
from gitserver.cli.exits import Exit
from gitserver.cli.output import items, megabytes, safe, show_json
from gitserver.cli.session import open_server, with_json
from gitserver.errors import Json

_LOOK_S = 0.5


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@with_json
def gc_command(dry_run: bool, as_json: bool) -> int:
    """Take away images, layers and caches that nothing needs.

    For the owner of the server. What serves stays, and what an environment can go back to (the newest releases), and
    the image of every version; nothing of the last hours goes, and nothing in the engine that is not this server's.

    \b
    Examples:
      algo gc --dry-run
      algo gc
    """
    server = open_server()
    state = _wait(server, server.send("POST", "/gc", {"dry_run": dry_run}))
    if as_json:
        show_json(state)
    else:
        _tell(state)
    return Exit.DONE if isinstance(state["report"], dict) else Exit.SERVER


def _wait(server: Server, state: dict[str, Json]) -> dict[str, Json]:
    """The state of this very collection once it has ended."""
    number = state["collection"]
    while state["running"] and state["collection"] == number:
        time.sleep(_LOOK_S)
        state = server.get("/gc")
    return state


def _tell(state: dict[str, Json]) -> None:
    report = state["report"]
    if not isinstance(report, dict):
        why = state["trouble"] or "the server's worker was started again meanwhile"
        click.echo(f" !     The collection ended early: {safe(str(why))}", err=True)
        return
    counts = report["counts"]
    assert isinstance(counts, dict)
    for one in items(report, "gone"):
        click.echo(f"{safe(str(one['what'])):17} {safe(str(one['name']))}")
    kept = report["kept"]
    for line in kept if isinstance(kept, list) else []:
        click.echo(f" !     Stays: {safe(str(line))}", err=True)
    what = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items())
    verb = "Would take away" if report["dry_run"] else "Took away"
    freed = f"{megabytes(report['freed_bytes'])} on the disk"
    engine = f", {megabytes(report['engine_bytes'])} in the engine" if report["engine_bytes"] else ""
    click.echo(f"{verb} {what}: {freed}{engine}." if what else "Nothing to take away.")
