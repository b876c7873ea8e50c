"""Toolchains that the Python package index has as wheels: what installs Python's packages brings them, too.

Why  the operator's index settings, certificates, proxies and the network policy of builds hold for them as they are;
     a stack needs no second source. A wheel holds files only: nothing of it runs while it is installed.
"""

# ruff: noqa: PTH103 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re
import sys

from buildpacks.packs.algo_python.uv import NETWORK, ask_uv
from buildpacks.packs.cnb import Context, PackFailed


def install_wheel(context: Context, requirement: str, target: str, *, language: str, debian: str) -> str:
    """Unpack the newest wheel that fits into a folder. Returns its version.

    requirement  `name>=20,<21`
    language, debian  for people: `Go`, and the Debian package that an operator could install instead
    Raises       PackFailed('toolchain-missing')
    """
    name = re.split(r"[<>=~! ]", requirement)[0]
    platform = context.env.get("ALGO_PLATFORM", "")
    command = [
        "pip", "install", "--target", target, "--no-deps", "--no-build", "--quiet",
        "--link-mode", "copy", "--python", os.path.realpath(sys.executable), requirement,
        *(["--python-platform", platform] if platform else []),
    ]  # fmt: skip
    os.makedirs(target, exist_ok=True)
    done = ask_uv(command, context.env, cwd=context.layers)
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        if NETWORK.search(said):
            why = "the package index cannot be reached"
        else:
            why = f"no wheel fits {requirement}" if "unsatisfiable" in said else said[-300:]
        raise PackFailed("toolchain-missing", language=language, wanted=requirement, why=why, package=debian)
    folder = next(
        entry for entry in sorted(os.listdir(target)) if re.fullmatch(rf"{_escaped(name)}-.+\.dist-info", entry)
    )
    return folder.removesuffix(".dist-info").partition("-")[2]


def _escaped(name: str) -> str:
    return re.sub(r"[-_.]+", "[-_.]+", name)
