"""What the lifecycle's process wrote, believed only as far as it can be checked.  Reads one file.

The process ran scripts that we did not write: every name becomes a path or a label, so each is held to its rules.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildpacks.lifecycle.descriptor import is_pack_id
from buildpacks.lifecycle.outputs import MAX_EXEC_ENV_CHARS
from buildpacks.lifecycle.sbom import FORMATS
from buildpacks.order import BuildFailed, Json
from buildpacks.packs.second_image import NAME_KEY, NAMES, OF_KEY
from buildpacks.words import WORDS

MAX_RESULT_BYTES = 16 << 20
_LAYER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_TYPE = re.compile(r"(?!\.+\Z)[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """One declared layer. has_contents False with launch: the previous image's layer is meant.

    sboms  endings of the SBOM files beside it
    """

    name: str
    launch: bool
    build: bool
    cache: bool
    data: Mapping[str, Json]
    has_contents: bool
    sboms: tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        """The variant that alone has this layer; '' for a layer of the image that serves."""
        name = str(self.data.get(NAME_KEY, ""))
        return name if self.launch and name in NAMES else ""

    @property
    def image_name(self) -> str:
        """Its folder's name in the image: a variant's layer lies where the one lies that it stands for."""
        return str(self.data[OF_KEY]) if self.variant else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class PackResult:
    """One buildpack of the group that built. sboms: endings of its launch.sbom files."""

    key: str
    version: str
    api: str
    store: Mapping[str, Json]
    layers: tuple[LayerResult, ...]
    sboms: tuple[str, ...] = ()

    @property
    def escaped_id(self) -> str:
        """The id as a folder name."""
        return self.key.replace("/", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished lifecycle."""

    packs: tuple[PackResult, ...]
    processes: tuple[Mapping[str, Json], ...]
    labels: Mapping[str, str]
    slices: tuple[tuple[str, ...], ...]
    exec_env: str = "production"


def read_result(path: Path, status: int) -> Result:
    """The result of a child that ended with `status`.

    Raises  BuildFailed with the code and fields that a buildpack gave; 'lifecycle-crashed' when there is no result
            or it breaks the rules
    """
    document = _read(path, status)
    failure = document.get("failure")
    if isinstance(failure, dict):
        raise _failure(failure)
    try:
        if status != 0:
            raise ValueError("a result and a failing status")
        return _parse(document["ok"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BuildFailed("lifecycle-crashed", status=status, detail=f"its result breaks the rules: {error}") from error


def _read(path: Path, status: int) -> dict[str, Json]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_RESULT_BYTES + 1)
        document = json.loads(data) if len(data) <= MAX_RESULT_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise BuildFailed("lifecycle-crashed", status=status, detail=type(error).__name__) from error
    if not isinstance(document, dict):
        raise BuildFailed("lifecycle-crashed", status=status, detail="no JSON object")
    return document


def _failure(failure: Mapping[str, Json]) -> BuildFailed:
    code, fields = failure.get("code"), failure.get("fields")
    if not isinstance(code, str) or code not in WORDS or not isinstance(fields, dict):
        return BuildFailed("buildpack-failed", buildpack="a buildpack", status=str(failure.get("status")))
    failed = BuildFailed(code)
    failed.fields = dict(fields)  # not as keywords: a field may have the name of a parameter
    return failed


def _parse(document: Json) -> Result:
    if not isinstance(document, dict):
        raise TypeError("not a table")
    slices = []
    for paths in _list(document["slices"]):
        globs = tuple(str(path) for path in _list(paths))
        if any(glob.startswith("/") or ".." in glob.split("/") for glob in globs):
            raise ValueError("a slice outside the application")
        slices.append(globs)
    return Result(
        packs=tuple(_pack(item) for item in _list(document["buildpacks"])),
        processes=tuple(_process(item) for item in _list(document["processes"])),
        labels={str(key): str(value) for key, value in _dict(document["labels"]).items()},
        slices=tuple(slices),
        exec_env=_exec_env(document.get("exec-env", "production")),
    )


def _pack(value: Json) -> PackResult:
    item = _dict(value)
    key = str(item["key"])
    if not is_pack_id(key):
        raise ValueError(f"buildpack id {key[:80]!r}")
    layers = tuple(_layer(name, layer) for name, layer in sorted(_dict(item["layers"]).items()))
    in_image = {layer.name for layer in layers if layer.launch and not layer.variant}
    if any(layer.variant and layer.data.get(OF_KEY) not in in_image for layer in layers):
        raise ValueError("a variant of no layer")
    return PackResult(
        key=key,
        version=str(item["version"]),
        api=str(item["api"]),
        store=_dict(item["store"]),
        layers=layers,
        sboms=_sboms(item.get("sboms", [])),
    )


def _layer(name: str, value: Json) -> LayerResult:
    item = _dict(value)
    if not _LAYER.fullmatch(name):
        raise ValueError(f"layer name {name[:80]!r}")
    return LayerResult(
        name=name,
        launch=item["launch"] is True,
        build=item["build"] is True,
        cache=item["cache"] is True,
        data=_dict(item["data"]),
        has_contents=item["contents"] is True,
        sboms=_sboms(item.get("sboms", [])),
    )


def _sboms(value: Json) -> tuple[str, ...]:
    endings = tuple(sorted({str(ending) for ending in _list(value)}))
    if not set(endings) <= set(FORMATS):
        raise ValueError("an SBOM of an unknown format")
    return endings


def _exec_env(value: Json) -> str:
    if not isinstance(value, str) or not _TYPE.fullmatch(value):
        raise ValueError("an execution environment without a name")
    return value


def _listed_exec_env(value: Json) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_EXEC_ENV_CHARS or "/" in value:
        raise ValueError("a process of an execution environment that cannot be")
    return value


def _made_for(process: Mapping[str, Json]) -> dict[str, Json]:
    names: list[Json] = [_listed_exec_env(name) for name in _list(process.get("exec-env", []))]
    return {"exec-env": names} if names else {}


def _process(value: Json) -> Mapping[str, Json]:
    item = _dict(value)
    kind = str(item["type"])
    if not _TYPE.fullmatch(kind):
        raise ValueError(f"process type {kind[:80]!r}")
    return {
        "type": kind,
        "command": [str(word) for word in _list(item["command"])],
        "args": [str(word) for word in _list(item["args"])],
        "default": item["default"] is True,
        "direct": item["direct"] is True,
        "working-dir": str(item["working-dir"]),
        "buildpack-id": _maker(item.get("buildpack-id", "")),
        **_made_for(item),
    }


def _maker(value: Json) -> str:
    if not isinstance(value, str) or not (value == "" or is_pack_id(value)):
        raise ValueError("a process of no buildpack")
    return value


def _list(value: Json) -> Sequence[Json]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _dict(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise TypeError("not a table")
    return value
