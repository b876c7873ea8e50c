"""What a build is asked for and what it answers. Pure; the vocabulary between gitserver and the kitchen."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from buildpacks.choosing.values import Terms
    from buildpacks.ground import Ground

JsonScalar = str | int | float | bool | None
Json = JsonScalar | list["Json"] | dict[str, "Json"]

# Source of the second: sagemaker-inference-toolkit, parameters.py
_FOR_BUILDPACKS = re.compile(r"BPL?_[A-Z0-9_]{1,100}|SAGEMAKER_(?:PROGRAM|SUBMIT_DIRECTORY)")


def is_for_buildpacks(name: str) -> bool:
    """Whether a setting of an app reaches its build: those that are made for it, and where SageMaker's code lies."""
    return _FOR_BUILDPACKS.fullmatch(name) is not None


class BuildFailed(Exception):  # noqa: N818 -- it is data on its way to a person
    """A build ended for a reason that its owner can act on: a code of buildpacks.words and its fields."""

    def __init__(self, code: str, *, log: tuple[str, ...] = (), **fields: Json) -> None:
        self.code, self.fields, self.log = code, fields, log
        super().__init__(f"{code} {fields}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BigFile:
    """A large file of the pushed tree that was not copied: host_path is read-only and named by its content.

    git_oid    object id of the blob: same id, same bytes
    host_path  where the bytes lie; the tree holds a hard link of it
    """

    git_oid: str
    host_path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process of a build, to be run in the sandbox of the target.

    readable, writable  the only folders it needs beside the system's; the same paths inside and outside
    trusted             True: executes nothing of the repository, may use the shared wheel cache
    contained           True: must run in the stack's build image, where the interpreter that it names is
    places              path that must exist for it, of no folder of this machine -> writable folder that stands there
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    readable: Sequence[Path]
    writable: Sequence[Path]
    timeout_s: float
    trusted: bool
    contained: bool = False
    places: Mapping[str, Path] = field(default_factory=dict)


class Runner(Protocol):
    """Runs one child without rights to the server's state, with limits, and passes its output on line by line."""

    def __call__(self, child: Child, log: Callable[[str], None]) -> int:
        """Exit status (128 + signal when killed).

        Raises  BuildFailed('build-timeout' | 'cancelled' | 'build-memory')
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOrder:
    """One build, complete.

    app_key     names this app's caches; two apps never share one
    app_dir     the pushed tree, ours to change; big files in it are hard links
    work_dir    an empty folder for this build alone
    cache_dir   layers with cache=true of this app
    wheel_dir   uv's cache, for children that execute nothing of the repository
    store_dir   root of the layer store (layers/, images/)
    previous    config of the image that this environment (or the app) had before; None at the first build
    platform_env  BP_* of the app and of project.toml, given to buildpacks as <platform>/env
    install_env   index URLs, certificates, proxies of the operator
    runtime_dir   the shim's source files
    ground        what layers are made for: this machine, or a stack
    terms         which buildpacks an app may choose, and the way to them; None: what lies in its tree
    upgrade       what was kept from earlier builds (locked packages, commits of buildpacks) is asked for anew
    """

    app_key: str
    app_dir: Path
    work_dir: Path
    cache_dir: Path
    wheel_dir: Path
    store_dir: Path
    previous: Mapping[str, Json] | None
    platform_env: Mapping[str, str]
    install_env: Mapping[str, str]
    runtime_dir: Path
    big_files: Mapping[str, BigFile]
    timeout_s: float
    ground: Ground
    terms: Terms | None = None
    upgrade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """digest `sha256:...` of the canonical JSON of config; config is what a target needs to run it.

    config  {"format": number of this form, "base": "host" or the run image's reference,
             "stack": null or {"name", "reference", "image_id", "manifest_digest", "diff_ids", "libc", "config"},
             "host": {"arch", "libc"} without a stack, "python": null or {"version", "path"} in the image,
             "layers": [{"diff_id", "kind": "layer"|"slice"|"app", "path", "size_bytes", "tar_bytes"}, ...],
             "launch": {"argv", "args" where it has any, "env", "cwd"} of the default process in a container, and
                       "types": {type: {the same, env as a difference, "without"}} where it is not the only one,
             "processes": [{"type", "command": [...], "args": [...], "default": bool, "working-dir": str,
                            "direct": bool, "buildpack-id": str}],
             "buildpacks": [{"id", "version"}], "labels": {...}, "model": {...}|null,
             "lifecycle": {restored metadata of each layer},
             "variants": {name: what of it differs} where the app asked for a second image (image/variants.py),
             "choice": {"by", "sources": [{"asked", "id", "version", "pin"}]} where the app chose its buildpacks}
    """

    digest: str
    config: Mapping[str, Json]
