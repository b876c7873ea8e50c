"""buildpack.toml and order.toml, read into values and refused when they break the specification.

Source  buildpacks/spec buildpack.md 0.12, "buildpack.toml"; contracts 1.2
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH119

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.lifecycle.failure import ExitCode, LifecycleError

SUPPORTED_API = ((0, 7), (0, 12))
# The specification's characters; and no part of an id is empty or dots alone, for an id becomes a folder's name.
_PART = r"(?!\.+(?:/|\Z))[A-Za-z0-9.-]+"
_ID = re.compile(rf"{_PART}(?:/{_PART})*")
_NUMBER = "(?:0|[1-9][0-9]*)"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
_RESERVED = frozenset({"app", "config", "generated", "sbom"})
_API = re.compile(r"(\d+)(?:\.(\d+))?")
_BIONIC = "io.buildpacks.stacks.bionic"
MAX_DESCRIPTOR_BYTES = 1 << 20


class GroupEntry(NamedTuple):
    """One line of an order: which buildpack, and whether a group passes without it. version '' means any."""

    id: str
    version: str = ""
    optional: bool = False


class Target(NamedTuple):
    """A platform that a buildpack supports; an empty field matches any."""

    os: str = ""
    arch: str = ""
    variant: str = ""
    distros: tuple[tuple[str, str], ...] = ()


class Buildpack(NamedTuple):
    """One buildpack directory. order is empty unless it is a composite; exec_env empty means every one.

    sbom_formats  media types of the SBOM files that it may write
    """

    id: str
    version: str
    name: str
    api: tuple[int, int]
    directory: str
    clear_env: bool = False
    exec_env: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    order: tuple[tuple[GroupEntry, ...], ...] = ()
    metadata: Mapping[str, object] = {}
    sbom_formats: tuple[str, ...] = ()

    @property
    def escaped_id(self) -> str:
        """The id as a folder name: `/` becomes `_` (platform.md, "Buildpacks Directory Layout")."""
        return self.id.replace("/", "_")


def is_pack_id(text: str) -> bool:
    """A buildpack may be called so: letters, digits, dots, slashes, dashes; no reserved name, no way out of a folder.

    Source  buildpack.md 0.12, "Buildpack Descriptor"
    """
    return _ID.fullmatch(text) is not None and text.lower() not in _RESERVED


def is_pack_version(text: str) -> bool:
    """X.Y.Z of whole numbers without leading zeros. Source: as is_pack_id."""
    return _VERSION.fullmatch(text) is not None


def read_toml(path: str, *, exit_code: ExitCode) -> dict[str, object]:
    """A TOML file of at most 1 MiB, or LifecycleError('buildpack-bad') with the file's name and the parser's words."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_DESCRIPTOR_BYTES + 1)
        if len(data) > MAX_DESCRIPTOR_BYTES:
            raise ValueError(f"larger than {MAX_DESCRIPTOR_BYTES} bytes")
        return tomllib.loads(data.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise LifecycleError(exit_code, "buildpack-bad", file=os.path.basename(path), message=str(error)) from error


def read_buildpack(directory: str) -> Buildpack:
    """The descriptor of a buildpack directory.

    Raises  LifecycleError 12 for an API that we do not speak, 1 for anything malformed
    """
    document = read_toml(os.path.join(directory, "buildpack.toml"), exit_code=ExitCode.GENERIC)
    api = _parse_api(document.get("api"), directory)
    head = _mapping(document.get("buildpack"), directory)
    pack_id, version = str(head.get("id", "")), str(head.get("version", ""))
    if not is_pack_id(pack_id) or not is_pack_version(version):
        raise _bad(directory, f"id {pack_id!r} or version {version!r} is not allowed")
    order = tuple(parse_group(group, directory) for group in _tables(document.get("order"), directory))
    return Buildpack(
        id=pack_id,
        version=version,
        name=str(head.get("name", pack_id)),
        api=api,
        directory=directory,
        clear_env=head.get("clear-env") is True,
        exec_env=_exec_env(head, directory),
        targets=_targets(document, directory),
        order=order,
        metadata=_mapping(document.get("metadata", {}), directory),
        sbom_formats=_texts(head.get("sbom-formats", []), directory),
    )


def read_order(path: str) -> tuple[tuple[GroupEntry, ...], ...]:
    """The groups of an order.toml, in the order in which they are tried."""
    document = read_toml(path, exit_code=ExitCode.GENERIC)
    return tuple(parse_group(group, path) for group in _tables(document.get("order"), path))


def parse_group(group: Mapping[str, object], where: str) -> tuple[GroupEntry, ...]:
    """`[[group]] id, version, optional` -> entries."""
    return tuple(
        GroupEntry(
            id=str(item.get("id", "")), version=str(item.get("version", "")), optional=item.get("optional") is True
        )
        for item in _tables(group.get("group"), where)
    )


def _parse_api(value: object, where: str) -> tuple[int, int]:
    match = _API.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _bad(where, f"api is {value!r}")
    api = (int(match[1]), int(match[2] or 0))
    low, high = SUPPORTED_API
    if not low <= api <= high:
        raise LifecycleError(
            ExitCode.BUILDPACK_API,
            "buildpack-api",
            buildpack=os.path.basename(where),
            found=str(value),
            lowest=".".join(map(str, low)),
            highest=".".join(map(str, high)),
        )
    return api


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _bad(where, "a list is expected")
    return tuple(str(item) for item in value)


def _exec_env(head: Mapping[str, object], where: str) -> tuple[str, ...]:
    # The text has [[buildpack.exec-env]] name, the reference lifecycle reads a list of strings: both are accepted.
    value = head.get("exec-env", [])
    if not isinstance(value, list):
        raise _bad(where, "exec-env is not a list")
    return tuple(str(item.get("name", "")) if isinstance(item, Mapping) else str(item) for item in value)


def _targets(document: Mapping[str, object], where: str) -> tuple[Target, ...]:
    found = [
        Target(
            os=str(item.get("os", "")),
            arch=str(item.get("arch", "")),
            variant=str(item.get("variant", "")),
            distros=tuple(
                (str(distro.get("name", "")), str(distro.get("version", "")))
                for distro in _tables(item.get("distros"), where)
            ),
        )
        for item in _tables(document.get("targets"), where)
    ]
    if not found:
        found = _targets_of_stacks(document, where)
    if not found and os.path.exists(os.path.join(where, "bin", "build")):
        return (Target(os="linux"),)
    return tuple(found)


def _targets_of_stacks(document: Mapping[str, object], where: str) -> list[Target]:
    """What the deprecated `[[stacks]]` mean (Q): `*` is any platform, and the one stack that targets replaced."""
    ids = [str(item.get("id", "")) for item in _tables(document.get("stacks"), where)]
    found = [Target() for stack_id in ids if stack_id == "*"]
    is_old = _parse_api(document.get("api"), where) < (0, 10)
    if _BIONIC in ids and (not is_old or len(ids) == 1):
        found.append(Target(os="linux", arch="amd64", distros=(("ubuntu", "18.04"),)))
    return found


def _mapping(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise _bad(where, "a table is missing")
    return value


def _tables(value: object, where: str) -> Sequence[Mapping[str, object]]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise _bad(where, "an array of tables is expected")
    return value


def _bad(where: str, message: str) -> LifecycleError:
    return LifecycleError(ExitCode.GENERIC, "buildpack-bad", file=os.path.basename(where), message=message)
