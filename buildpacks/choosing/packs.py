"""A folder with a buildpack in it: which kind it is, its id and version.  Reads one file.

The folder is a stranger's: a descriptor that is a link is not read, a name that breaks the rules is refused.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from buildpacks.choosing.values import Source
from buildpacks.lifecycle.descriptor import is_pack_id, is_pack_version
from buildpacks.order import BuildFailed

DESCRIPTOR = "buildpack.toml"
EXTENSION = "extension.toml"
OWN_PREFIXES = ("algo/",)
CLASSIC_PREFIX = "classic/"
CLASSIC_VERSION = "0.0.0"
_MAX_BYTES = 1 << 20
_NOT_SO = "is not allowed: an id has letters, digits, dots, slashes and dashes, and a version is X.Y.Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One buildpack on disk. is_classic: bin/detect and bin/compile of the classic API, to be wrapped."""

    id: str
    version: str
    folder: Path
    is_classic: bool


def inspect(folder: Path, source: Source) -> Pack:
    """What lies in a folder.

    Raises  BuildFailed: buildpack-missing when it is no buildpack, buildpack-extension, buildpack-id-bad,
            buildpack-id-taken
    """
    document = _read(folder, source)
    if "api" in document:
        head = document.get("buildpack")
        table = head if isinstance(head, dict) else {}
        pack_id, version = str(table.get("id", "")), str(table.get("version", ""))
        if not is_pack_id(pack_id) or not is_pack_version(version):
            raise BuildFailed(
                "buildpack-id-bad", buildpack=source.text, found=f"{pack_id[:80]}@{version[:40]} {_NOT_SO}"
            )
        if pack_id.lower().startswith((*OWN_PREFIXES, CLASSIC_PREFIX)):
            raise BuildFailed("buildpack-id-taken", buildpack=source.text, id=pack_id)
        return Pack(id=pack_id, version=version, folder=folder, is_classic=False)
    if _is_program(folder / "bin" / "compile"):
        return Pack(id=CLASSIC_PREFIX + _slug(source), version=CLASSIC_VERSION, folder=folder, is_classic=True)
    if (folder / EXTENSION).is_file():
        raise BuildFailed("buildpack-extension", buildpack=source.text, asked_by=source.asked_by)
    raise BuildFailed("buildpack-missing", buildpack=source.text, asked_by=source.asked_by)


def _read(folder: Path, source: Source) -> dict[str, object]:
    try:
        descriptor = os.open(folder / DESCRIPTOR, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        with os.fdopen(descriptor, "rb") as file:
            return tomllib.loads(file.read(_MAX_BYTES).decode("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BuildFailed("buildpack-id-bad", buildpack=source.text, found=str(error)[:200]) from error


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _slug(source: Source) -> str:
    """The last part of where it comes from: `heroku-buildpack-python`."""
    last = source.location.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return re.sub(r"[^A-Za-z0-9]+", "-", last).strip("-")[:60] or "buildpack"
