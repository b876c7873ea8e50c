"""Repositories that are only files, and what reading their lists of packages ends with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from buildpacks.packs.algo_python.manager import read_manager
from buildpacks.packs.cnb import PackFailed


def tree(root: Path, files: Mapping[str, str | bytes]) -> str:
    """Write the files below root; its path."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(root)


def refusal(root: Path, files: Mapping[str, str | bytes], setting: str = "") -> tuple[str, dict[str, object]]:
    """Code and fields of the failure that read_manager ends with."""
    with pytest.raises(PackFailed) as caught:
        read_manager(tree(root, files), setting)
    return caught.value.code, caught.value.fields
