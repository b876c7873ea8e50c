"""`algo stack`: what images lie on. It works on the state folder of this machine's server, which need not run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from buildpacks.image.reference import parse_reference
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.adding import add_stack
from buildpacks.stack.debian import StackOptions, build_stack
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import BaseImage, Stack
from buildpacks.toolchain import host_arch
from gitserver.cli.output import show_json, show_table
from gitserver.cli.stack_upgrade import upgrade_stack
from gitserver.errors import Problem
from gitserver.settings import Settings, read_settings

Command = TypeVar("Command", bound=Callable[..., Any])


def _with_state(command: Command) -> Command:
    return click.option("--state", metavar="DIR", help="The server's state folder. Default: ~/.local/share/algo.")(
        command
    )


@click.group("stack")
def stack_command() -> None:
    """Make and choose what images lie on.

    A stack is a pair of images: releases lie on the run image, code that must be compiled runs in the build image.
    Commands without a server's address work on the state folder of the server on this machine.

    \b
    Examples:
      algo stack build
      algo stack list
      algo stack use bookworm
    """


@stack_command.command("build")
@click.argument("name", required=False)
@click.option("--suite", default="bookworm", show_default=True, help="Debian's release.")
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="URL", help="Where packages come from, or a whole deb line."
)
@click.option("--package", "packages", multiple=True, metavar="P", help="A package for both images beside ours.")
@_with_state
def build_command(
    name: str | None, suite: str, mirrors: tuple[str, ...], packages: tuple[str, ...], state: str | None
) -> None:
    """Make a stack of Debian packages; its name is the suite's unless NAME says another.

    One or two minutes and about 600 MB of disk. The same package versions make the same images on every machine. An
    existing stack of that name is replaced; releases go on lying on the image that they have.

    \b
    Examples:
      algo stack build
      algo stack build geo --package libgdal32 --mirror http://deb.example.org/debian
    """
    options = StackOptions(suite=suite, mirrors=mirrors, packages=packages)
    with _told_as_problem(), _open_store(state) as store:
        stack = build_stack(name or suite, options, store, os.environ, _say)
        _show_added(stack, store)


@stack_command.command("add")
@click.argument("name")
@click.option("--run", "run", required=True, metavar="IMAGE", help="What releases lie on.")
@click.option("--build", "build", metavar="IMAGE", help="Where code is compiled; without it, only wheels install.")
@click.option("--plain-http", is_flag=True, help="The registry speaks no TLS.")
@_with_state
def add_command(name: str, run: str, build: str | None, plain_http: bool, state: str | None) -> None:
    """Make a stack of any two images.

    IMAGE is an archive of docker save, an OCI layout (folder or tar), or a reference in a registry.

    \b
    Examples:
      algo stack add slim --run python:3.12-slim --build python:3.12
      algo stack add slim --run run.tar --build build.tar
    """
    with _told_as_problem(), _open_store(state) as store:
        puller = _Puller(settings=read_settings({"state": state}, os.environ), plain_http=plain_http)
        _show_added(add_stack(name, run=run, build=build, store=store, puller=puller, log=_say), store)


@stack_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the records.")
@_with_state
def list_command(as_json: bool, state: str | None) -> None:
    """List the stacks; * marks the one that new builds lie on.

    \b
    Example:
      algo stack list
    """
    with _told_as_problem(), _open_store(state) as store:
        current = store.current_name()
        found = [stack for name in store.names() if (stack := store.find(name)) is not None]
        if as_json:
            show_json({"stacks": [_document(stack, is_current=stack.name == current) for stack in found]})
            return
        rows = [
            [
                "*" if stack.name == current else "",
                stack.name,
                f"{stack.distro} {stack.distro_version}".strip() or "-",
                ", ".join(python.version for python in stack.pythons) or "no Python",
                stack.libc or "-",
                _mb(stack.run),
                stack.run.image_id.removeprefix("sha256:")[:12],
                stack.run.reference,
            ]
            for stack in found
        ]
        show_table(rows, when_empty="No stacks yet. Next: algo stack build")


@stack_command.command("use")
@click.argument("name")
@_with_state
def use_command(name: str, state: str | None) -> None:
    """Let new builds lie on another stack.

    Releases stay on the image that they have; algo stack upgrade moves them.

    \b
    Example:
      algo stack use bookworm
    """
    with _told_as_problem(), _open_store(state) as store:
        store.select(name)
    click.echo(f"New builds lie on {name}. Next: algo stack upgrade --all")


@stack_command.command("remove")
@click.argument("name")
@_with_state
def remove_command(name: str, state: str | None) -> None:
    """Forget a stack; its images stay as long as a release needs them (algo gc).

    \b
    Example:
      algo stack remove bullseye
    """
    with _told_as_problem(), _open_store(state) as store:
        store.remove(name)
    click.echo(f"{name} is removed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Puller:
    """Pulls as the server's settings say; plain_http: the registry of the reference is spoken to without TLS."""

    settings: Settings
    plain_http: bool

    def pull(self, reference: str, store: StackStore) -> BaseImage:
        """The image of a registry. Raises BuildFailed with the registry's words."""
        from buildpacks.image.pull import pull  # an HTTP client, which files do not need
        from buildpacks.image.registry import RegistryOptions, transport

        ca_bundle, proxies = transport(self.settings.build_env)
        plain = {parse_reference(reference).registry} if self.plain_http else set()
        if self.settings.registry_plain_http:
            plain.add(self.settings.registry.partition("/")[0])
        options = RegistryOptions(
            plain_http=frozenset(plain),
            docker_config=Path(self.settings.docker_config) if self.settings.docker_config else None,
            ca_bundle=ca_bundle,
            proxies=proxies,
        )
        return pull(reference, host_arch(), store, options, log=_say)


stack_command.add_command(upgrade_stack)


@contextmanager
def _open_store(state: str | None) -> Iterator[StackStore]:
    """The stack store of the state folder, which need not be there yet. Raises Problem('stack-wrong-user')."""
    folder = read_settings({"state": state}, os.environ).state
    if folder.exists():
        _check_owner(folder)
    before = os.umask(0o077)  # as the server has it: what is written here is its own
    try:
        yield StackStore(root=folder / "stacks")
    finally:
        os.umask(before)


def _check_owner(folder: Path) -> None:
    # Root could write here, and the server, another user, could not read it afterwards.
    owner, mine = folder.stat().st_uid, os.geteuid()
    if owner != mine:
        raise Problem("stack-wrong-user", state=str(folder), owner=owner, user=mine)


@contextmanager
def _told_as_problem() -> Iterator[None]:
    try:
        yield
    except BuildFailed as error:
        raise Problem(error.code, log=error.log, **error.fields) from error
    except OSError as error:
        raise Problem(
            "stack-store-unusable", path=str(error.filename or ""), detail=error.strerror or str(error)
        ) from error


def _show_added(stack: Stack, store: StackStore) -> None:
    pythons = ", ".join(python.version for python in stack.pythons) or "none: it runs no Python apps"
    click.echo(f"{stack.name}: {stack.run.reference} {stack.run.image_id[:19]}, {_mb(stack.run)}, Python {pythons}")
    if store.current_name() == stack.name:
        click.echo("New builds lie on it.")
    else:
        click.echo(f"Next: algo stack use {stack.name}")


def _mb(image: BaseImage) -> str:
    return f"{sum(layer.blob.size_bytes for layer in image.layers) / 1e6:.0f} MB"


def _document(stack: Stack, *, is_current: bool) -> dict[str, Json]:
    return {
        "name": stack.name,
        "current": is_current,
        "run": {"reference": stack.run.reference, "image_id": stack.run.image_id},
        "build": {"reference": stack.build.reference, "image_id": stack.build.image_id} if stack.build else None,
        "pythons": [{"version": python.version, "path": python.path} for python in stack.pythons],
        "libc": stack.libc,
        "arch": stack.arch,
        "distro": stack.distro,
        "distro_version": stack.distro_version,
    }


def _say(line: str) -> None:
    print(f"-----> {line}", file=sys.stderr, flush=True)
