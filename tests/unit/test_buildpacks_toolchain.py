"""Byte-code of the buildpacks is there for the user that builds, whatever umask the server has."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildpacks.toolchain import _compile_for_everyone


@pytest.fixture(autouse=True)
def server_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def package(folder: Path, mode: int) -> Path:
    """A package with one module."""
    folder.mkdir()
    (folder / "pack.py").write_text("VALUE = 1\n", encoding="ascii")
    (folder / "pack.py").chmod(0o644)
    folder.chmod(mode)
    return folder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_the_server_compiled_can_be_read_by_the_user_that_builds(tmp_path: Path) -> None:
    folder = package(tmp_path / "packs", 0o755)
    _compile_for_everyone(folder)
    (compiled,) = (folder / "__pycache__").glob("*.pyc")
    assert (mode_of(folder / "__pycache__"), mode_of(compiled)) == (0o755, 0o644)


def test_byte_code_that_an_earlier_server_hid_is_shown(tmp_path: Path) -> None:
    folder = package(tmp_path / "packs", 0o755)
    _compile_for_everyone(folder)
    (compiled,) = (folder / "__pycache__").glob("*.pyc")
    compiled.chmod(0o600)
    _compile_for_everyone(folder)
    assert mode_of(compiled) == 0o644


def test_a_folder_that_is_its_owners_alone_stays_so(tmp_path: Path) -> None:
    folder = package(tmp_path / "packs", 0o700)
    _compile_for_everyone(folder)
    (compiled,) = (folder / "__pycache__").glob("*.pyc")
    assert (mode_of(folder / "__pycache__"), mode_of(compiled)) == (0o700, 0o600)
