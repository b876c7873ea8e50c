"""What a bin/build leaves behind: launch.toml, build.toml, store.toml and one toml per layer, read and checked.

Source  buildpacks/spec buildpack.md 0.12, "Data Format"; contracts 1.4
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH112, PTH114

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.lifecycle.descriptor import Buildpack, read_toml
from buildpacks.lifecycle.environment import is_for_exec_env
from buildpacks.lifecycle.failure import ExitCode, LifecycleError

_TYPE = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]+")  # not of dots alone: a type becomes a file's name
MAX_EXEC_ENV_CHARS = 100  # the specification forbids a slash alone
_NOT_LAYERS = frozenset({"build", "launch", "store"})
# What buildpacks/result.py believes too: a layer's name becomes a folder of the image.
_LAYER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class Process(NamedTuple):
    """A process type that the image can run."""

    type: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    default: bool
    working_dir: str
    direct: bool
    buildpack: str = ""
    exec_env: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The form of the image's config."""
        return {
            "type": self.type,
            "command": list(self.command),
            "args": list(self.args),
            "default": self.default,
            "direct": self.direct,
            "working-dir": self.working_dir,
            "buildpack-id": self.buildpack,
            **({"exec-env": list(self.exec_env)} if self.exec_env else {}),
        }


class Layer(NamedTuple):
    """A layer that a buildpack declared. has_contents False: only the toml was written; sboms: endings, sorted."""

    name: str
    launch: bool
    build: bool
    cache: bool
    metadata: Mapping[str, object]
    has_contents: bool
    sboms: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The form of `layers` in lifecycle metadata, without the digest, which is not known yet."""
        return {
            "launch": self.launch,
            "build": self.build,
            "cache": self.cache,
            "data": json_value(self.metadata),
            "contents": self.has_contents,
            "sboms": list(self.sboms),
        }


class LaunchFile(NamedTuple):
    """launch.toml. slices: one tuple of globs per `[[slices]]`."""

    processes: tuple[Process, ...]
    labels: tuple[tuple[str, str], ...]
    slices: tuple[tuple[str, ...], ...]


def read_launch_file(pack: Buildpack, folder: str) -> LaunchFile:
    """launch.toml of a buildpack, empty when there is none. Raises LifecycleError 52."""
    document = _read(folder, "launch.toml")
    processes = tuple(_process(pack, item) for item in _tables(pack, document, "processes", "launch.toml"))
    types = [process.type for process in processes]
    if len(set(types)) != len(types) or sum(process.default for process in processes) > 1:
        raise _bad(pack, "launch.toml", "a process type twice, or two defaults")
    return LaunchFile(
        processes=processes,
        labels=tuple(
            (str(item.get("key", "")), str(item.get("value", "")))
            for item in _tables(pack, document, "labels", "launch.toml")
        ),
        slices=tuple(
            tuple(str(path) for path in _list(pack, item.get("paths", [])))
            for item in _tables(pack, document, "slices", "launch.toml")
        ),
    )


def read_unmet(pack: Buildpack, folder: str) -> tuple[str, ...]:
    """Names in build.toml's `[[unmet]]`."""
    document = _read(folder, "build.toml")
    return tuple(str(item.get("name", "")) for item in _tables(pack, document, "unmet", "build.toml"))


def read_store(pack: Buildpack, folder: str) -> Mapping[str, object]:
    """store.toml's `[metadata]`."""
    metadata = _read(folder, "store.toml").get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise _bad(pack, "store.toml", "metadata is not a table")
    return metadata


def read_layers(pack: Buildpack, folder: str) -> tuple[Layer, ...]:
    """Every layer whose toml exists (Q), alphabetical. Raises LifecycleError 52 for a toml that breaks the rules."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".toml") and entry.is_file())
    layers = []
    for file_name in names:
        name = file_name.removesuffix(".toml")
        if name in _NOT_LAYERS:
            continue
        if not _LAYER.fullmatch(name):
            raise _bad(pack, file_name, "a layer's name has letters, digits, dots, dashes and underscores")
        if os.path.islink(os.path.join(folder, name)):
            raise _bad(pack, file_name, f"{name} is a link in place of a layer's folder")
        document = _read(folder, file_name)
        for key in ("launch", "build", "cache"):
            if key in document:
                raise _bad(pack, file_name, f"{key} should be in the types table")
        types, metadata = document.get("types", {}), document.get("metadata", {})
        if not isinstance(types, Mapping) or not isinstance(metadata, Mapping):
            raise _bad(pack, file_name, "types and metadata are tables")
        layers.append(
            Layer(
                name=name,
                launch=types.get("launch") is True,
                build=types.get("build") is True,
                cache=types.get("cache") is True,
                metadata=metadata,
                has_contents=os.path.isdir(os.path.join(folder, name)),
            )
        )
    return tuple(layers)


def merge_processes(files: Sequence[LaunchFile], exec_env: str = "production") -> tuple[Process, ...]:
    """All process types of an image: later buildpacks override, one default at most; sorted by type.

    Re-defining the default type without `default` clears it.

    exec_env  a process that is made for others alone is left out
    Raises    LifecycleError 82: launch-no-process when that leaves none
    """
    declared = [process for file in files for process in file.processes]
    eligible = [process for process in declared if is_for_exec_env(process.exec_env, exec_env)]
    if declared and not eligible:
        raise LifecycleError(
            ExitCode.LAUNCH, "launch-no-process", exec_env=exec_env, types=sorted({p.type for p in declared})
        )
    merged: dict[str, Process] = {}
    default = ""
    for process in eligible:
        if process.default:
            default = process.type
        elif process.type == default:
            default = ""
        merged[process.type] = process
    return tuple(process._replace(default=process.type == default) for _, process in sorted(merged.items()))


def json_value(value: object) -> object:
    """A TOML value as JSON: dates become ISO text, everything else stays."""
    match value:
        case Mapping():
            return {str(key): json_value(item) for key, item in value.items()}
        case list() | tuple():
            return [json_value(item) for item in value]
        case bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _process(pack: Buildpack, item: Mapping[str, object]) -> Process:
    command, kind = item.get("command"), item.get("type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise _bad(pack, "launch.toml", f"process type {kind!r} is not allowed")
    old_style = pack.api < (0, 9)
    if not old_style and ("direct" in item or not isinstance(command, list)):
        raise _bad(pack, "launch.toml", "from API 0.9 a command is a list and there is no direct")
    words = [str(word) for word in ([command] if isinstance(command, str) else _list(pack, command))]
    args = [str(word) for word in _list(pack, item.get("args", []))]
    direct = item.get("direct") is True if old_style else True
    if old_style and direct:
        words, args = words + args, []  # a user's arguments follow such args; from API 0.9 they replace them
    return Process(
        type=kind,
        command=tuple(words),
        args=tuple(args),
        default=item.get("default") is True,
        working_dir=str(item.get("working-dir", "")) if pack.api >= (0, 8) else "",
        direct=direct,
        buildpack=pack.id,
        exec_env=_exec_envs(pack, item.get("exec-env", [])),
    )


def _exec_envs(pack: Buildpack, value: object) -> tuple[str, ...]:
    names = tuple(str(word) for word in _list(pack, value))
    for name in names:
        if not 0 < len(name) <= MAX_EXEC_ENV_CHARS or "/" in name:
            raise _bad(pack, "launch.toml", f"exec-env {name[:MAX_EXEC_ENV_CHARS]!r} is not allowed")
    return names


def _read(folder: str, name: str) -> dict[str, object]:
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        return {}
    return read_toml(path, exit_code=ExitCode.BUILD)


def _tables(pack: Buildpack, document: Mapping[str, object], key: str, file: str) -> Sequence[Mapping[str, object]]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise _bad(pack, file, f"{key} is an array of tables")
    return value


def _list(pack: Buildpack, value: object) -> list[object]:
    if not isinstance(value, list):
        raise _bad(pack, "launch.toml", "a list is expected")
    return value


def _bad(pack: Buildpack, file: str, message: str) -> LifecycleError:
    return LifecycleError(ExitCode.BUILD, "buildpack-bad", file=f"{pack.id}: {file}", message=message)
