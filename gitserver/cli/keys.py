"""`algo keys`: SSH keys that may push."""

from __future__ import annotations

from pathlib import Path

import click

from gitserver.cli.client import path_of
from gitserver.cli.output import age, items, show_json, show_table, utc_now
from gitserver.cli.session import open_server, with_json
from gitserver.errors import Problem

_USUAL = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")  # in the order in which ssh(1) offers them, newest kind first


@click.group("keys")
def keys_command() -> None:
    """Your SSH keys.

    A registered key pushes and fetches over SSH as you.

    \b
    Examples:
      algo keys add
      algo keys list
      algo keys remove SHA256:Cd3...
    """


@keys_command.command("add")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--label", help="A note for people; without it, the key's comment.")
@with_json
def add_key(file: Path | None, label: str | None, as_json: bool) -> None:
    """Register a public key; without FILE, the usual one in ~/.ssh.

    \b
    Examples:
      algo keys add
      algo keys add ~/.ssh/work.pub --label laptop
    """
    path = file.expanduser() if file is not None else _usual_key()
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("bad-key-file", path=str(path), detail=str(error)) from error
    document = open_server().send("POST", "/keys", {"public_key": text, **({"label": label} if label else {})})
    if as_json:
        show_json(document)
    else:
        click.echo(f"{document['fingerprint']} is registered.")


@keys_command.command("list")
@with_json
def list_keys(as_json: bool) -> None:
    """List your keys, newest first.

    \b
    Example:
      algo keys list
    """
    document = open_server().get("/keys")
    if as_json:
        show_json(document)
        return
    now = utc_now()
    rows = [
        [str(key["fingerprint"]), str(key["public_key"]).split(" ")[0], str(key["label"]), age(key["created_at"], now)]
        for key in items(document, "keys")
    ]
    show_table(rows, when_empty="No keys yet. Next: algo keys add")


@keys_command.command("remove")
@click.argument("fingerprint")
def remove_key(fingerprint: str) -> None:
    """Remove a key by its fingerprint.

    \b
    Example:
      algo keys remove SHA256:Cd3...
    """
    open_server().send("DELETE", path_of("keys", fingerprint))
    click.echo(f"{fingerprint} is removed.")


def _usual_key() -> Path:
    folder = Path("~/.ssh").expanduser()
    for name in _USUAL:
        if (folder / name).exists():
            return folder / name
    raise Problem("no-key-file", folder=str(folder), names=", ".join(_USUAL))
