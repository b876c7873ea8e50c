"""`algo serve`: run the server. Every option may also be a variable ALGO_OPTION or a line of config.toml."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

_OPTIONS = (
    ("state", "DIR", "Where everything is kept. Default: ~/.local/share/algo."),
    ("config", "FILE", "A TOML file with options. Default: config.toml in the state folder."),
    ("http", "HOST:PORT", "Address of git, API and models. Default: 127.0.0.1:8080."),
    ("ssh", "HOST:PORT", "Address of git over SSH. Default: 127.0.0.1:2222."),
    ("owner", "NAME", "Whose server this is. Default: your user name."),
    ("target", "KIND", "Where releases run: process or docker. Default: process."),
    ("public-url", "URL", "How users reach the server when a proxy stands in front."),
    ("domain", "NAME", "A domain whose hosts lead here, for endpoints of their own."),
    ("memory-mib", "N", "Memory of one release. Default: 2048."),
    ("preview-ttl-s", "N", "A preview ends after so long without a push or a call. Default: 259200."),
    ("preview-limit", "N", "Previews of one app. Default: 5."),
    ("ready-timeout-s", "N", "A release must answer after so long. Default: 120."),
    ("drain-s", "N", "How long running calls may take to end at a switch. Default: 30."),
    ("idle-s", "N", "A version that a call started ends after so long without one. Default: 600."),
    ("builds-at-once", "N", "Default: 2."),
    ("build-timeout-s", "N", "Default: 3600."),
    ("docker-host", "URL", "The engine of the docker target. Default: DOCKER_HOST, or the socket of this machine."),
    ("cpus", "N", "Processors of one release, docker target. Default: 0, all of them."),
    ("registry", "HOST/PREFIX", "Push every image there before its release serves."),
    ("registry-plain-http", "on|off", "The registry speaks no HTTPS. Default: off."),
    ("docker-config", "DIR", "Where Docker keeps the registry's credentials. Default: DOCKER_CONFIG, or ~/.docker."),
    ("build-network", "POLICY", "What code of a repository reaches while it is built: indexes, none, open."),
    ("buildpacks", "RULE", "Which buildpacks an app may choose: builtin, repository, any, URLs. Default: repository."),
    ("torch-index", "URL|off", "Index of PyTorch builds for processors. Default: the one that uv knows."),
    ("allow-dockerfile", "on|off", "Let the engine build a repository's Dockerfile. Default: off."),
    ("keep-releases", "N", "Releases of an environment whose images stay. Default: 20."),
    ("keep-days", "N", "Releases younger than that keep their images too. Default: 30."),
    ("isolation", "LEVEL", "The least that a release must get: auto, none, user, namespace. Default: auto."),
)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, metavar, help_text in reversed(_OPTIONS):
        command = click.option(f"--{name}", metavar=metavar, help=help_text)(command)
    return command


@click.command("serve")
@_with_options
def serve_command(**options: str | None) -> int:
    """Run the server.

    The first start makes the state folder and your token, and prints the lines to type next. SIGTERM stops it: running
    calls finish, models end.

    \b
    Examples:
      algo serve
      algo serve --http 0.0.0.0:8080 --ssh 0.0.0.0:2222 --state /srv/algo
      ALGO_STATE=/srv/algo algo serve
    """
    from gitserver.serve.supervisor import serve  # the whole server; no other command needs it
    from gitserver.settings import read_settings

    result = serve(read_settings(options, os.environ))
    return result if isinstance(result, int) else 0
