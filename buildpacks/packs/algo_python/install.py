"""A lock becomes a folder: a relocatable virtual environment whose bytes depend on the lock alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.manager import Manager
from buildpacks.packs.cnb import Context

IMAGE_PATH = "/layers/algo_python/deps"
_LITTER = (
    ".gitignore", ".lock", "CACHEDIR.TAG", "bin/activate", "bin/activate.bat", "bin/activate.csh", "bin/activate.fish",
    "bin/activate.nu", "bin/activate.ps1", "bin/activate.xsh", "bin/activate_this.py", "bin/deactivate.bat",
    "bin/pydoc.bat",
)  # fmt: skip


def layer_key(lock: str, python: Interpreter, env: Mapping[str, str]) -> str:
    """sha256 of everything that decides the layer's bytes (contracts 3)."""
    machine = os.uname()
    facts = [lock, python.full, os.path.realpath(python.path), machine.machine, uv_version(env)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def uv_version(env: Mapping[str, str]) -> str:
    """uv's version: told by the platform, else asked."""
    told = env.get("BP_UV_VERSION", "")
    if told:
        return told
    import subprocess  # late: the answer is told on our own platform

    done = subprocess.run([env.get("BP_UV", "uv"), "--version"], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split()[1]


def install(context: Context, lock: str, python: Interpreter, manager: Manager) -> int:
    """Make <layers>/deps. Returns the bytes of its files. Raises PackFailed, see uv.explain_uv."""
    from buildpacks.packs.compiling import compile_folder  # late: most pushes install nothing

    target = f"{context.layers}/deps"
    lock_path = f"{context.layers}/scratch/lock.txt"
    os.makedirs(f"{context.layers}/scratch", exist_ok=True)  # noqa: PTH103 -- no pathlib in buildpacks
    with open(lock_path, "w", encoding="utf-8") as file:
        file.write(lock)
    _run(
        ["venv", "--relocatable", "--no-project", "--python", python.path, "--quiet", target], context, python, manager
    )
    if lock.strip():
        # copy, never link: what a layer holds must share no inode with a cache that other builds write.
        command = ["pip", "install", "--python", f"{target}/bin/python", "--no-deps", "--link-mode", "copy", "--quiet"]
        command += ["--requirement", lock_path]
        if "--hash=" in lock and "file://" not in lock and "git+" not in lock:
            command.append("--require-hashes")
        if context.env.get("ALGO_WHEELS_ONLY") == "1":
            command.append("--no-build")
        _run(command, context, python, manager)
    for name in _LITTER:
        try:
            os.unlink(f"{target}/{name}")  # noqa: PTH108 -- no pathlib in buildpacks
        except FileNotFoundError:
            pass  # uv's set of activation scripts differs by version
    compile_folder(python.path, target, IMAGE_PATH)
    return size_of(target)


def _run(command: list[str], context: Context, python: Interpreter, manager: Manager) -> None:
    from buildpacks.packs.algo_python.uv import run_uv

    run_uv(command, context.env, cwd=context.app, manager=manager, python=python.full)


def size_of(folder: str) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for here, _, names in os.walk(folder):
        total += sum(os.lstat(f"{here}/{name}").st_size for name in names if not os.path.islink(f"{here}/{name}"))  # noqa: PTH114 -- no pathlib in buildpacks
    return total
