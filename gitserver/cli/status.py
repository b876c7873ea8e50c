"""`algo status`: is the server well, and what does this app serve."""

from __future__ import annotations

import click

from gitserver.cli.checkout import find_remote
from gitserver.cli.output import age, show_json, show_table, utc_now
from gitserver.cli.session import app_path, open_app, open_server, with_app, with_json


@click.command("status")
@with_app
@with_json
def status_command(app: str | None, as_json: bool) -> None:
    """Show what the server and this app are doing.

    \b
    Examples:
      algo status
      algo status --app alice/iris --json
    """
    name = None
    if app is not None or find_remote() is not None:
        server, name = open_app(app)
    else:
        server = open_server()
    document = server.get("/status")
    if name is not None:
        document["app"] = server.get(app_path(name))
    if as_json:
        show_json(document)
        return
    components, builds, shown = document["components"], document["builds"], document.get("app")
    assert isinstance(components, dict)
    assert isinstance(builds, dict)
    down = [part for part, is_up in components.items() if not is_up]
    rows = [
        ["server", f"{document['url']}  version {document['version']}"],
        ["parts", "all answer" if not down else f"{', '.join(down)} does not answer"],
        ["builds", f"{builds['running']} running, {builds['queued']} queued"],
    ]
    if isinstance(shown, dict):
        release = shown["production"]
        serves = (
            f"release {release['number']}  {release['summary']}  {age(release['created_at'], utc_now())}"
            if isinstance(release, dict)
            else "nothing yet. Next: git push algo main"
        )
        rows += [
            ["app", f"{shown['name']}  {'public' if shown['public'] else 'private'}  {shown['url']}"],
            ["serves", serves],
            ["previews", str(shown["previews"])],
        ]
    show_table(rows, when_empty="")
