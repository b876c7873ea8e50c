"""`algo image`: list, show, save, sbom, verify, push."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from gitserver.cli.follow import finish_build
from gitserver.cli.output import age, items, megabytes, show_json, show_table, utc_now
from gitserver.cli.session import app_path, open_app, with_app, with_json
from gitserver.errors import Json, Problem

Command = TypeVar("Command", bound=Callable[..., Any])
_DIGITS = 12  # of a digest, as engines show it


def _with_ref(command: Command) -> Command:
    return click.argument("ref", required=False, default="production", metavar="[REF]")(command)


def _with_variant(command: Command) -> Command:
    option = click.option("--variant", metavar="NAME", help="Another image of the same release: gpu.")
    return option(command)


def _query(variant: str | None) -> dict[str, str]:
    return {} if variant is None else {"variant": variant}


@click.group("image")
def image_command() -> None:
    """List, show, save and verify images.

    REF is a version, the number of a production release, a commit, a digest (sha256:...), or `production`, which is
    what is meant without it.

    \b
    Examples:
      algo image list
      algo image save iris.tar v1.2.0
      algo image verify
    """


@image_command.command("list")
@with_app
@with_json
@click.option("--limit", type=click.IntRange(1, 500), default=20, help="How many.", show_default=True)
def list_images(app: str | None, as_json: bool, limit: int) -> None:
    """List the images that are kept, newest first.

    \b
    Example:
      algo image list --limit 5
    """
    server, name = open_app(app)
    document = server.get(app_path(name, "images"), {"limit": limit})
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = [
        [
            _short(image["digest"]), str(image["commit"])[:7], str(image["stack"]), megabytes(image["size_bytes"]),
            _joined(image["used_by"]), age(image["created_at"], now),
        ]
        for image in items(document, "images")
    ]  # fmt: skip
    show_table(rows, when_empty="No images yet. Next: git push algo main")


@image_command.command("show")
@_with_ref
@_with_variant
@with_app
@with_json
def show_image(ref: str, variant: str | None, app: str | None, as_json: bool) -> None:
    """Show what an image is made of.

    \b
    Examples:
      algo image show
      algo image show v1.2.0 --json
    """
    server, name = open_app(app)
    document = server.get(app_path(name, "images", ref), _query(variant))
    if as_json:
        show_json(document)
        return
    base = document["base"]
    rows = [
        ["image", str(document["digest"])],
        ["name", str(document["name"])],
        ["commit", str(document["commit"])],
        ["made", age(document["created_at"], utc_now())],
        ["used by", _joined(document["used_by"]) or "nothing now"],
        ["stack", str(document["stack"])],
        ["size", megabytes(document["size_bytes"])],
    ]
    if isinstance(base, dict):
        rows.append(["base", f"{base['reference']} ({_short(base['image_id'])})"])
    if document["python"] is not None:
        rows.append(["python", str(document["python"])])
    rows.append(["buildpacks", _joined(document["buildpacks"])])
    for other in items(document, "variants"):
        size, more = megabytes(other["size_bytes"]), megabytes(other["more_bytes"])
        rows.append([f"variant {other['variant']}", f"{other['digest']} ({size}, {more} in layers of its own)"])
    show_table(rows, when_empty="")
    click.echo()
    layers = [
        [_short(layer["diff_id"]), str(layer["kind"]), megabytes(layer["size_bytes"]), str(layer["title"])]
        for layer in items(document, "layers")
    ]
    show_table(layers, when_empty="No layers of its own.")


@image_command.command("save")
@click.argument("file", metavar="FILE|-")
@_with_ref
@_with_variant
@with_app
def save_image(file: str, ref: str, variant: str | None, app: str | None) -> None:
    """Save an image to a file that `docker load` and `ctr images import` take.

    The file appears when it is complete; `-` writes to stdout.

    \b
    Examples:
      algo image save iris.tar
      algo image save - v1.2.0 | docker load
      algo image save iris-gpu.tar --variant gpu
    """
    server, name = open_app(app)
    pieces = server.stream(app_path(name, "images", ref, "archive"), _query(variant))
    if file == "-":
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    written = _write(Path(file), pieces)
    click.echo(f"Saved {written / 1e6:.1f} MB to {file}. Next: docker load -i {file}")


@image_command.command("sbom")
@_with_ref
@_with_variant
@with_app
def show_sbom(ref: str, variant: str | None, app: str | None) -> None:
    """Print an image's bill of materials (CycloneDX 1.6, JSON).

    \b
    Example:
      algo image sbom v1.2.0 > iris.cdx.json
    """
    server, name = open_app(app)
    show_json(server.get(app_path(name, "images", ref, "sbom"), _query(variant)))


@image_command.command("verify")
@_with_ref
@with_app
@with_json
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def verify_image(ref: str, app: str | None, as_json: bool, detach: bool) -> int:
    """Build an image's commit once more and compare.

    The second build starts with an empty store and empty caches. The exit code is 0 when it made the same image, and
    else the log says which layer differs. Nothing is released.

    \b
    Examples:
      algo image verify
      algo image verify v1.2.0
    """
    server, name = open_app(app)
    build = server.send("POST", app_path(name, "images", ref, "verify"))
    return finish_build(server, build, as_json=as_json, detach=detach)


@image_command.command("push")
@_with_ref
@with_app
@with_json
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
def push_image(ref: str, app: str | None, as_json: bool, detach: bool) -> int:
    """Send an image to the server's registry once more.

    A server with a registry sends every image that it builds; this is for one that the registry lost, or that is older
    than the setting.

    \b
    Example:
      algo image push v1.2.0
    """
    server, name = open_app(app)
    build = server.send("POST", app_path(name, "images", ref, "push"))
    return finish_build(server, build, as_json=as_json, detach=detach)


def _write(path: Path, pieces: Iterator[bytes]) -> int:
    """Complete or not at all. Raises Problem('cannot-write')."""
    draft = path.with_name(f".{path.name}.part")
    written = 0
    try:
        with draft.open("wb") as target:
            for piece in pieces:
                target.write(piece)
                written += len(piece)
        draft.replace(path)
    except OSError as error:
        raise Problem("cannot-write", path=str(path), detail=error.strerror or str(error)) from error
    finally:
        draft.unlink(missing_ok=True)
    return written


def _short(digest: Json) -> str:
    return str(digest).removeprefix("sha256:")[:_DIGITS]


def _joined(values: Json) -> str:
    return ", ".join(str(value) for value in values) if isinstance(values, list) else ""
