"""CUDA libraries never twice: two packages of a lock that bring the same library, for CUDA of two majors.

Why     PyTorch, TensorFlow and XGBoost share the nvidia-* wheels only while all of them are built for the same CUDA;
        else an image has hundreds of megabytes twice, and some of the files have the same path, so that one wins
Source  names of the wheels: `nvidia-cublas-cu12`; since CUDA 13 `nvidia-cublas`, but `nvidia-nccl-cu13`
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from buildpacks.packs.algo_python.install import for_platform
from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.manager import canonical
from buildpacks.packs.cnb import Context, warn

_LIBRARY = re.compile(r"(nvidia-[a-z0-9-]+?)(?:-cu\d+)?")
_LINE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==\S+.*?# via ([^\n]*)", re.MULTILINE)
_LIMIT_S = 60


def find_twice(versions: Mapping[str, str]) -> list[list[str]]:
    """Packages of a lock that are the same library, two or more in each list. versions: canonical name -> version."""
    families: dict[str, list[str]] = {}
    for name in sorted(versions):
        match = _LIBRARY.fullmatch(name)
        if match is not None:
            families.setdefault(match[1], []).append(name)
    return [names for names in families.values() if len(names) > 1]


def warn_of_twice(context: Context, python: Interpreter, versions: Mapping[str, str]) -> None:
    """Say which CUDA libraries a lock has twice, and who asked for each."""
    twice = find_twice(versions)
    if not twice:
        return
    users = _users(context, python, versions)
    for names in twice:
        told = [f"{name} {versions[name]}{_for(users.get(name, []))}" for name in names]
        warn(f"CUDA twice: {' and '.join(told)} are one library for two versions of CUDA")
    warn("choose versions that are built for the same CUDA, or take one of them for processors (xgboost-cpu, "
         "tensorflow-cpu)")  # fmt: skip


def _for(users: list[str]) -> str:
    return f" (for {', '.join(users)})" if users else ""


def _users(context: Context, python: Interpreter, versions: Mapping[str, str]) -> dict[str, list[str]]:
    """Canonical name -> packages of the lock that need it; empty when no index tells."""
    from buildpacks.packs.algo_python.uv import ask_uv

    asked, output = f"{context.layers}/scratch/twice.txt", f"{context.layers}/scratch/twice.lock.txt"
    with open(asked, "w", encoding="utf-8") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in versions.items()))
    done = ask_uv(
        ["pip", "compile", asked, "--no-build", "--annotation-style", "line", "--no-header", "--quiet", "--python",
         python.path, *for_platform(context.env, python), "--output-file", output, "--upgrade"],
        {**context.env, "UV_HTTP_RETRIES": "0"}, cwd=context.app, timeout_s=_LIMIT_S,
    )  # fmt: skip
    if done.returncode != 0:
        return {}
    with open(output, encoding="utf-8") as file:
        found = _LINE.findall(file.read())
    return {
        canonical(name): [user for user in map(str.strip, users.split(",")) if not user.startswith("-r")]
        for name, users in found
    }
