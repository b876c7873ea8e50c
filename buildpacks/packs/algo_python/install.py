"""A lock becomes a folder: a relocatable virtual environment whose bytes depend on the lock alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.manager import Manager
from buildpacks.packs.cnb import Context

IMAGE_PATH = "/layers/algo_python/deps"
KNOWN = "ALGO_KNOWN_LAYERS"  # a file: the keys of layers that the platform has, with their sizes in bytes
LAYOUT = "3"  # part of the key: layers laid out otherwise are made again
_LITTER = (
    ".gitignore", ".lock", "CACHEDIR.TAG", "bin/activate", "bin/activate.bat", "bin/activate.csh", "bin/activate.fish",
    "bin/activate.nu", "bin/activate.ps1", "bin/activate.xsh", "bin/activate_this.py", "bin/deactivate.bat",
    "bin/pydoc.bat",
)  # fmt: skip


def layer_key(lock: str, python: Interpreter, env: Mapping[str, str]) -> str:
    """sha256 of everything that decides the layer's bytes (contracts 3)."""
    machine = env.get("ALGO_PLATFORM") or os.uname().machine
    facts = [lock, python.full, python.image_path, machine, uv_version(env), LAYOUT]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def uv_version(env: Mapping[str, str]) -> str:
    """uv's version: told by the platform, else asked."""
    told = env.get("BP_UV_VERSION", "")
    if told:
        return told
    import subprocess  # late: the answer is told on our own platform

    done = subprocess.run([env.get("BP_UV", "uv"), "--version"], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split()[1]


def known_size(env: Mapping[str, str], key: str) -> int | None:
    """Bytes of the layer that the platform has for a key: such a layer need only be named. None: it has none."""
    if KNOWN not in env:
        return None
    import json

    with open(env[KNOWN], encoding="ascii") as file:
        size_bytes = json.load(file).get(key)
    return size_bytes if isinstance(size_bytes, int) else None


def install(context: Context, lock: str, python: Interpreter, manager: Manager, layer: str = "deps") -> int:
    """Make a layer. Returns the bytes of its files.

    layer   its name here; in the image any of them lies at IMAGE_PATH
    Raises  PackFailed, see uv.explain_uv
    """
    from buildpacks.packs.compiling import compile_folder  # late: most pushes install nothing

    target = f"{context.layers}/{layer}"
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
        command += [*for_platform(context.env, python), "--requirement", lock_path]
        if is_hashed(lock):
            command.append("--require-hashes")
        if any(path.endswith("/") for path in manager.files):
            command.append("--refresh")  # of a folder, uv's cache knows its pyproject.toml alone
        if context.env.get("ALGO_WHEELS_ONLY") == "1":
            command.append("--no-build")
        _run(command, context, python, manager)
    for name in _LITTER:
        try:
            os.unlink(f"{target}/{name}")  # noqa: PTH108 -- no pathlib in buildpacks
        except FileNotFoundError:
            pass  # uv's set of activation scripts differs by version
    _neutralise(target, python)
    compile_folder(python.compiling(), target, IMAGE_PATH, context.env.get("ALGO_BYTECODE", ""))
    return size_of(target)


def is_hashed(lock: str) -> bool:
    """Every package of a lock has a hash: folders and repositories have none, and then uv checks those that do."""
    lines = lock.replace("\\\n", " ").splitlines()
    return all("--hash=" in line for line in lines if line.strip() and not line.lstrip().startswith(("#", "-")))


def for_platform(env: Mapping[str, str], python: Interpreter) -> list[str]:
    """uv's options for a place that is not here: the stack's C library and exact Python; none in its own container."""
    name = "" if python.path == python.image_path else env.get("ALGO_PLATFORM", "")
    return ["--python-platform", name, "--python-version", python.full] if name else []


def _neutralise(target: str, python: Interpreter) -> None:
    """The environment's interpreter is the image's, wherever this layer was made.

    Why  a link into this machine's folders would differ from machine to machine, and lead nowhere in a container
    """
    minor = f"python3.{python.version[1]}"
    for name, link in (("python", python.image_path), ("python3", "python"), (minor, "python")):
        path = f"{target}/bin/{name}"
        if os.path.lexists(path):
            os.unlink(path)  # noqa: PTH108 -- no pathlib in buildpacks
        os.symlink(link, path)  # noqa: PTH211 -- no pathlib in buildpacks
    with open(f"{target}/pyvenv.cfg", "w", encoding="utf-8") as file:
        file.write(
            f"home = {os.path.dirname(python.image_path)}\n"  # noqa: PTH120 -- no pathlib in buildpacks
            f"implementation = CPython\nversion_info = {python.full}\ninclude-system-site-packages = false\n"
        )


def _run(command: list[str], context: Context, python: Interpreter, manager: Manager) -> None:
    from buildpacks.packs.algo_python.uv import run_uv

    run_uv(command, context.env, cwd=context.app, manager=manager, python=python.full)


def size_of(folder: str) -> int:
    """Bytes of all files below a folder."""
    total = 0
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif not entry.is_symlink():
                    total += entry.stat(follow_symlinks=False).st_size
    return total
