"""What this machine builds with: interpreters, uv, and the folders that a sandbox must show for them to run."""

from __future__ import annotations

import compileall
import functools
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from buildpacks.order import BuildFailed

BUILDPACKS_DIR = Path(__file__).resolve().parent
_PYTHON = re.compile(r"python3\.(\d+)")
OLDEST_MINOR = 9  # below, neither the shim nor current wheels run
_ASK_LIMIT_S = 30
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}  # the kernel's words; those of others are the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """pythons: real binaries, the server's own first. uv_version is part of every dependency layer's key."""

    pythons: tuple[Path, ...]
    uv: Path
    uv_version: str

    @property
    def python(self) -> Path:
        """The server's interpreter, with nothing of its virtual environment."""
        return self.pythons[0]

    def readable(self) -> tuple[Path, ...]:
        """Folders that must exist in a build's sandbox, beside the system's."""
        prefixes = [prefix_of(path) for path in self.pythons]
        return tuple(dict.fromkeys([*prefixes, self.uv.parent, BUILDPACKS_DIR]))


def host_arch() -> str:
    """This machine's architecture in OCI's words: `amd64`, `arm64`."""
    machine = os.uname().machine
    return _ARCHES.get(machine, machine)


def prefix_of(python: Path) -> Path:
    """The folder that holds an interpreter and its library: .../bin/python3.11 -> ..."""
    return python.parent.parent


def minor_of(python: Path) -> str:
    """`11` of a binary named python3.11; '' for one that does not say."""
    match = _PYTHON.fullmatch(python.name)
    return match[1] if match is not None else ""


@functools.cache
def version_of(python: Path) -> str:
    """`3.11.7`, asked once a process; '' for one that does not run."""
    try:
        answer = subprocess.run(
            [str(python), "-I", "-S", "-c", "import platform; print(platform.python_version())"],
            capture_output=True, text=True, timeout=_ASK_LIMIT_S, check=True, env={},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def stand_in(version: str, pythons: Sequence[Path]) -> Path | None:
    """A Python of this machine that can run layers made for `3.11.2`: that very version, else one of the same minor."""
    fitting = [path for path in pythons if minor_of(path) == version.split(".")[1]]
    return next((path for path in fitting if version_of(path) == version), fitting[0] if fitting else None)


@functools.cache
def find_toolchain() -> Toolchain:
    """Look once per process. Raises BuildFailed('lifecycle-arguments') when there is no uv."""
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise BuildFailed("lifecycle-arguments", message="uv is not installed beside the server")
    uv = Path(found).resolve()
    answer = subprocess.run([str(uv), "--version"], capture_output=True, text=True, timeout=_ASK_LIMIT_S, check=True)
    _compile_for_everyone(BUILDPACKS_DIR)
    return Toolchain(pythons=_find_pythons(), uv=uv, uv_version=answer.stdout.split()[1])


def _compile_for_everyone(folder: Path) -> None:
    """Byte-code of the buildpacks, readable by whoever may read the sources.

    Why  the lifecycle runs without rights to write here, and a server's umask hides from it what the server writes:
         either way every build would compile it again
    """
    compileall.compile_dir(folder, quiet=2)
    for cache in folder.rglob("__pycache__"):
        for path, wanted in [(cache, 0o755), *((path, 0o644) for path in cache.glob("*.pyc"))]:
            with suppress(OSError):  # of another user, or on a disk that is read-only: slower, no less right
                mode = path.stat().st_mode
                if mode & wanted != wanted and cache.parent.stat().st_mode & 0o005 == 0o005:
                    path.chmod(stat.S_IMODE(mode) | wanted)


def _find_pythons() -> tuple[Path, ...]:
    own = Path(os.path.realpath(sys.executable))
    folders = [Path("/usr/local/bin"), Path("/usr/bin")]
    # pyenv, asdf and mise keep versions side by side; their shims, which depend on the environment, are never used.
    if own.parents[2].name in {"versions", "python", "installs"}:
        folders = [*sorted(own.parents[2].glob("*/bin"), reverse=True), *folders]
    found = {own: None}
    for folder in folders:
        for path in sorted(folder.glob("python3.*"), reverse=True):
            match = _PYTHON.fullmatch(path.name)
            if match is not None and int(match[1]) >= OLDEST_MINOR and os.access(path, os.X_OK):
                found[Path(os.path.realpath(path))] = None
    return tuple(found)
