"""`algo login` and `algo credential`: who you are, for this command and for git."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from gitserver.cli.login_file import Login, parse_url, read_logins, write_login
from gitserver.errors import Problem

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@click.command("login")
@click.argument("url", required=False)
@click.option("--token", help="The token itself; it stays in your shell's history. Better: --token-file, or be asked.")
@click.option("--token-file", type=click.Path(path_type=Path, dir_okay=False), help="A file that holds the token.")
def login_command(url: str | None, token: str | None, token_file: Path | None) -> None:
    """Remember a server and your token.

    URL is the server's address; without it, the last one. The token is tried before it is kept in
    ~/.config/algo/login.json, which only you can read. ALGO_URL and ALGO_TOKEN stand above that file.

    \b
    Examples:
      algo login http://127.0.0.1:8080 --token-file ~/.local/share/algo/owner-token
      algo login https://models.example.org
      algo login
    """
    from gitserver.cli.client import Server

    logins = read_logins()
    wanted = parse_url(url) if url else logins.url
    text = _read_token(token, token_file, wanted)
    me = Server(wanted, text).get("/whoami")
    name = str(me["name"])
    write_login(logins, Login(url=wanted, token=text, name=name))
    parts = urlsplit(wanted)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        click.echo(" !     The token and your pushes travel unencrypted to this address.", err=True)
    click.echo(f"Signed in to {wanted} as {name}.")


@click.command("credential")
@click.argument("action", type=click.Choice(["get", "store", "erase"]))
def credential_command(action: str) -> None:
    """Answer git's questions for a password.

    git calls this by itself after `algo create`. It answers for servers that you signed in to, and for no others.

    \b
    Example:
      printf 'protocol=http\\nhost=127.0.0.1:8080\\n\\n' | algo credential get
    """
    asked = dict(line.split("=", 1) for line in sys.stdin.read().splitlines() if "=" in line)
    if action == "store":
        return  # we keep tokens at login, not when git has tried one
    login = _find_for(asked.get("protocol", ""), asked.get("host", "").lower())
    if login is None:
        return  # silence: git asks the next helper, or the user
    if action == "erase":
        click.echo(f" !     {login.url} does not take the stored token. Next: algo login {login.url}", err=True)
        return
    sys.stdout.write(f"username={login.name or 'algo'}\npassword={login.token}\n")


def _find_for(protocol: str, host: str) -> Login | None:
    """The login whose address has exactly this scheme and host:port."""
    logins = read_logins()
    for url in (logins.url, *logins.servers):
        parts = urlsplit(url)
        if (parts.scheme, parts.netloc) == (protocol, host):
            return logins.find(url)
    return None


def _read_token(token: str | None, token_file: Path | None, url: str) -> str:
    if token_file is not None:
        try:
            return token_file.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Problem("bad-token-file", path=str(token_file), detail=str(error)) from error
    if token is not None:
        return token.strip()
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    answer: str = click.prompt(f"Token for {url}", hide_input=True)
    return answer.strip()
