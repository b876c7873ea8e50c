"""`algo releases`, `versions`, `rollback`, `redeploy`."""

from __future__ import annotations

import click

from gitserver.cli.follow import finish_build
from gitserver.cli.output import age, items, show_json, show_table, utc_now
from gitserver.cli.session import app_path, open_app, with_app, with_json
from gitserver.errors import Json


@click.command("releases")
@with_app
@with_json
@click.option("--limit", type=click.IntRange(1, 500), default=20, help="How many.", show_default=True)
@click.option("--environment", help="production, or preview:BRANCH; all without it.")
def releases_command(app: str | None, as_json: bool, limit: int, environment: str | None) -> None:
    """List releases, newest first.

    Deploys, rollbacks and changes of configuration are all releases; `*` marks what serves.

    \b
    Examples:
      algo releases
      algo releases --environment production --limit 5
      algo releases --json
    """
    server, name = open_app(app)
    query: dict[str, str | int] = {"limit": limit, **({"environment": environment} if environment else {})}
    document = server.get(app_path(name, "releases"), query)
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = [
        [
            "*" if one["serving"] else " ", str(one["number"]), str(one["summary"]), str(one["environment"]),
            str(one["actor"]), age(one["created_at"], now),
        ]
        for one in items(document, "releases")
    ]  # fmt: skip
    show_table(rows, when_empty="No releases yet. Next: git push algo main")


@click.command("versions")
@with_app
@with_json
def versions_command(app: str | None, as_json: bool) -> None:
    """List versions, newest first.

    A version is a tag that was pushed: one commit and one image, for ever; `*` marks what production serves.

    \b
    Examples:
      algo versions
      algo versions --json
    """
    server, name = open_app(app)
    document = server.get(app_path(name, "versions"))
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = [
        [
            "*" if one["serving"] else " ", str(one["tag"]), str(one["commit"])[:7], str(one["actor"]),
            age(one["created_at"], now), str(one["url"]),
        ]
        for one in items(document, "versions")
    ]  # fmt: skip
    show_table(rows, when_empty="No versions yet. Next: git tag v1 && git push algo v1")


@click.command("rollback")
@click.argument("target", required=False, metavar="[TAG|NUMBER]")
@with_app
@with_json
@click.option("--with-config", is_flag=True, help="Take the configuration of then, too, not that of today.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def rollback_command(target: str | None, app: str | None, as_json: bool, with_config: bool, detach: bool) -> int:
    """Put a version or an earlier release back.

    TAG is a version, NUMBER a release (algo releases); without either, the release before this one. Nothing is
    built: the recorded image is started, proves that it answers, and takes over as a new release.

    \b
    Examples:
      algo rollback
      algo rollback v1.1.0
      algo rollback 7 --with-config
    """
    server, name = open_app(app)
    body: dict[str, Json] = {}
    if target is not None:
        body = {"release": int(target)} if target.isascii() and target.isdigit() else {"version": target}
    if with_config:
        body["with_config"] = True
    build = server.send("POST", app_path(name, "rollback"), body)
    return finish_build(server, build, as_json=as_json, detach=detach)


@click.command("redeploy")
@with_app
@with_json
@click.option(
    "--upgrade", is_flag=True, help="Ask anew for what earlier builds locked: unpinned packages, buildpacks by branch."
)
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def redeploy_command(app: str | None, as_json: bool, upgrade: bool, detach: bool) -> int:
    """Build what serves once more.

    The commit that production serves is built and released again. Packages without an exact version stay what they
    were at the first build, unless --upgrade asks for the newest that fit.

    \b
    Examples:
      algo redeploy
      algo redeploy --upgrade
    """
    server, name = open_app(app)
    body: dict[str, Json] = {"upgrade": True} if upgrade else {}
    build = server.send("POST", app_path(name, "redeploy"), body)
    return finish_build(server, build, as_json=as_json, detach=detach)
