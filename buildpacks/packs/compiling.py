"""Starts packs/bytecode.py with the app's own interpreter: byte-code belongs to the Python that will run it."""

from __future__ import annotations

import subprocess

from buildpacks.packs.cnb import PackFailed


def compile_folder(compiler: str, folder: str, image_path: str, cache: str = "") -> None:
    """Byte-code beside every source below folder, with image_path in place of folder inside it.

    compiler  ALGO_COMPILER: {"argv": [...], "env": {...}} that run the image's interpreter
    cache     ALGO_BYTECODE: a folder that keeps byte-code for later, written only by who may write it; '' for none
    Raises    PackFailed('python-broken') when the interpreter itself fails
    """
    import json

    from buildpacks.packs import bytecode

    how = json.loads(compiler)
    status = subprocess.run(
        [*how["argv"], "-s", "-S", "-W", "ignore", bytecode.__file__, folder, image_path, cache],
        env={**how["env"], "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    ).returncode  # under the build's own time limit
    if status != 0:
        raise PackFailed("python-broken", python=how["argv"][-1], status=status)
