"""The scripts of a classic buildpack: their environment, and how each is run.

Source  https://devcenter.heroku.com/articles/buildpack-api; contracts buildpacks.md 2
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH103, PTH112, PTH113

from __future__ import annotations

import os
import subprocess
import sys

TYPE_CHECKING = False  # typing takes longer to import than a script takes
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildpacks.packs.cnb import Context

SLASH_APP = "/app"
# The newest stack whose C library is not newer than that of the images here: programs made for it run.
DEFAULT_STACK = "heroku-22"
STACK_SETTING = "BP_CLASSIC_STACK"
_OURS = ("CNB_", "ALGO_", "BP_", "BPL_", "GIT_")
MAX_OUTPUT_BYTES = 64 * 1024
# `export` is a script that a shell has to read; nothing of ours is pasted into this one.
_SOURCE = 'source "$1" >&2 && exec env -0'
# A shell's own, which change with every shell.
_SHELL_OWN = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "HOME", "BASH_ENV"})


class Scripts:
    """One classic buildpack in one build. root is its folder, which it may write and in which its scripts start."""

    __slots__ = ("app", "cache", "env", "env_dir", "name", "root")

    def __init__(self, context: Context, cache: str) -> None:
        self.root, self.app, self.cache = os.path.join(context.buildpack, "pack"), context.app, cache
        self.env_dir = make_env_dir(context)
        self.env = script_env(context.env)
        self.name = _name(context.buildpack)

    def has(self, script: str) -> bool:
        """Whether it brings bin/<script>."""
        path = f"{self.root}/bin/{script}"
        return os.path.isfile(path) and os.access(path, os.X_OK)

    def run(self, script: str, *arguments: str) -> int:
        """Run bin/<script>; what it writes goes to the log. Returns its status."""
        sys.stdout.flush()
        return subprocess.run(
            [f"{self.root}/bin/{script}", *arguments], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip

    def read(self, script: str, *arguments: str) -> tuple[int, str]:
        """Run bin/<script>; its status and what it wrote to standard output, at most 64 KiB."""
        sys.stdout.flush()
        done = subprocess.run(
            [f"{self.root}/bin/{script}", *arguments], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=sys.stdout, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout[:MAX_OUTPUT_BYTES].decode("utf-8", "replace")

    def exported(self) -> dict[str, str]:
        """Variables that its `export` changes, for the buildpacks behind it; empty when it has none."""
        path = f"{self.root}/export"
        if not os.path.isfile(path):
            return {}
        done = subprocess.run(
            ["bash", "-c", _SOURCE, "export", path], cwd=self.root, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=sys.stdout, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            from buildpacks.packs.cnb import PackFailed

            raise PackFailed("classic-export-failed", buildpack=self.name, status=done.returncode)
        return changed_variables(self.env, done.stdout)


def changed_variables(before: Mapping[str, str], after: bytes) -> dict[str, str]:
    """What differs in the output of `env -0`. A shell's own variables and exported functions are left out."""
    found = {}
    for entry in after.split(b"\0"):
        name, equals, value = os.fsdecode(entry).partition("=")
        if equals and name.isidentifier() and name not in _SHELL_OWN and before.get(name) != value:
            found[name] = value
    return found


def script_env(given: Mapping[str, str]) -> dict[str, str]:
    """What every script of the classic API finds: STACK, SOURCE_VERSION, REQUEST_ID, HOME; nothing of ours, no GIT_DIR.

    Configuration is not exported: it lies in ENV_DIR, one file a variable.
    """
    env = {name: value for name, value in given.items() if not name.startswith(_OURS)}
    env["STACK"] = given.get(STACK_SETTING) or DEFAULT_STACK
    env["SOURCE_VERSION"] = given.get("ALGO_CLASSIC_SOURCE_VERSION", "")
    env["REQUEST_ID"] = given.get("ALGO_CLASSIC_REQUEST_ID", "")
    if has_slash_app():
        env["HOME"] = SLASH_APP
    return env


def has_slash_app() -> bool:
    """Whether /app is there to be written: some buildpacks link what they install to where it will run."""
    return os.path.isdir(SLASH_APP) and os.access(SLASH_APP, os.W_OK)


def make_env_dir(context: Context) -> str:
    """ENV_DIR: BP_* of the app, and the variables that it hands over by name."""
    import shutil  # late: detection needs none of this

    folder = f"{context.layers}/env-dir"
    os.makedirs(folder, exist_ok=True)
    for source in (f"{context.platform}/env", context.env.get("ALGO_CLASSIC_ENV_DIR", "")):
        for entry in os.scandir(source) if source and os.path.isdir(source) else ():
            shutil.copyfile(entry.path, f"{folder}/{entry.name}")
    return folder


def _name(buildpack: str) -> str:
    import tomllib

    with open(f"{buildpack}/buildpack.toml", "rb") as file:
        return str(tomllib.load(file)["buildpack"]["name"])
