"""`algo call`: ask a model from the command line."""

from __future__ import annotations

import json
import sys

import click

from gitserver.cli.client import Server
from gitserver.cli.exits import Exit, exit_of_status
from gitserver.cli.session import find_login, parse_app
from gitserver.errors import Problem
from gitserver.push import branch_slug

_GATEWAY_STATUSES = {401, 403, 404}  # told by kind; every other refusal is the model's


@click.command("call")
@click.argument("app", metavar="APP[@REF]")
@click.argument("rest", nargs=-1, metavar="[DATA|-] [@REF]")
@click.option("--path", default="/predict", help="Where in the app.", show_default=True)
@click.option("--type", "content_type", help="Content type of DATA; JSON is recognised.")
@click.option("--method", help="Without it: POST with DATA, GET without.")
def call_command(app: str, rest: tuple[str, ...], path: str, content_type: str | None, method: str | None) -> int:
    """Call a model.

    DATA is the body, `-` reads it from stdin. REF is a version, a branch or a commit. The answer goes to stdout as it
    comes, byte for byte.

    \b
    Examples:
      algo call iris '{"instances": [[5.1, 3.5, 1.4, 0.2]]}' --path /v1/models/iris:predict
      algo call iris '[5.1, 3.5, 1.4, 0.2]' @v1
      algo call alice/iris@feature-x - < image.png --type image/png
      algo call iris --path /healthz
    """
    name, _, glued_ref = app.partition("@")
    refs = [word[1:] for word in rest if word.startswith("@")] + ([glued_ref] if glued_ref else [])
    data = [word for word in rest if not word.startswith("@")]
    if len(refs) > 1 or len(data) > 1:
        raise click.UsageError("one DATA and one @REF at most")
    login = find_login()
    server = Server(login.url, login.token)
    where = f"/{parse_app(name, login, server)}" + (f"@{branch_slug(refs[0])}" if refs else "")
    content = _read(data[0]) if data else None
    with server.call(
        (method or ("POST" if content is not None else "GET")).upper(),
        f"{where}/{path.lstrip('/')}",
        content,
        content_type or _guess_type(content),
    ) as response:
        for piece in response.iter_bytes():
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        status = response.status_code
    if sys.stdout.isatty():
        click.echo()
    if status < 400:
        return Exit.DONE
    click.echo(f" !     {login.url}{where} answered {status}.", err=True)
    return exit_of_status(status) if status in _GATEWAY_STATUSES else Exit.CALL_FAILED


def _read(data: str) -> bytes:
    if data != "-":
        return data.encode()
    if sys.stdin.isatty():
        raise Problem("no-input")
    return sys.stdin.buffer.read()


def _guess_type(content: bytes | None) -> str:
    """JSON when it is JSON, text when it is UTF-8, else bytes."""
    if content is None:
        return ""
    try:
        json.loads(content)
    except ValueError:
        try:
            content.decode()
        except UnicodeDecodeError:
            return "application/octet-stream"
        return "text/plain; charset=utf-8"
    return "application/json"
