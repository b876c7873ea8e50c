"""Locks of other tools: what belongs here is read from their markers, groups and ways; their hashes are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.locks import Locked, parse_lines, render_lock, split_lock
from buildpacks.packs.algo_python.manager import read_manager
from buildpacks.packs.algo_python.markers import holds, marker_env
from buildpacks.packs.algo_python.wanted import read_wanted
from buildpacks.packs.cnb import PackFailed
from tests.services.package_lists import refusal, tree

LINUX = marker_env(Interpreter("/p", (3, 11, 7), "/usr/bin/python3.11"), {}, "x86_64")


POETRY = """
[[package]]
name = "six"
version = "1.16.0"
files = [{file = "six.whl", hash = "sha256:aa"}]
[package.dependencies]
colorama = {version = "*", markers = "sys_platform == 'win32'"}
[[package]]
name = "colorama"
version = "0.4.6"
files = [{file = "c.whl", hash = "sha256:bb"}]
[[package]]
name = "pytest"
version = "8.0"
files = [{file = "p.whl", hash = "sha256:cc"}]
[metadata]
python-versions = "^3.9"
"""
POETRY_PROJECT = (
    '[tool.poetry.dependencies]\npython = "^3.9"\nsix = "^1"\n[tool.poetry.group.dev.dependencies]\npytest="*"'
)


def test_a_poetry_lock_gives_its_main_group_with_its_hashes_and_nothing_else(tmp_path: Path) -> None:
    found = read_manager(tree(tmp_path, {"poetry.lock": POETRY, "pyproject.toml": POETRY_PROJECT}))
    assert found.locked is not None
    assert render_lock(found.locked, LINUX) == "six==1.16.0 \\\n    --hash=sha256:aa\n"
    assert found.python is not None
    assert found.python.spec == ">=3.9,<4"


def test_a_poetry_lock_of_version_2_names_its_groups(tmp_path: Path) -> None:
    lock = (
        '[[package]]\nname="a"\nversion="1"\ngroups=["main"]\nfiles=[]\n'
        '[[package]]\nname="b"\nversion="1"\ngroups=["dev"]\nfiles=[]\n'
        '[[package]]\nname="c"\nversion="1"\ngroups=["main"]\nmarkers="os_name == \'nt\'"\nfiles=[]\n'
    )
    found = read_manager(tree(tmp_path, {"poetry.lock": lock, "pyproject.toml": POETRY_PROJECT}))
    assert found.locked is not None
    assert render_lock(found.locked, LINUX) == "a==1\n"


def test_a_pipfile_lock_gives_its_default_group_and_its_python(tmp_path: Path) -> None:
    lock = (
        '{"_meta": {"requires": {"python_version": "3.10"}}, "develop": {"pytest": {"version": "==8"}}, "default": {'
        '"six": {"version": "==1.16.0", "hashes": ["sha256:aa"]},'
        '"x": {"git": "https://a.invalid/x", "ref": "1c0ffee"}}}'
    )
    found = read_manager(tree(tmp_path, {"Pipfile.lock": lock, "Pipfile": ""}))
    assert found.locked == [
        Locked("six", "1.16.0", ["sha256:aa"], ""), Locked("x", "", (), "", "git+https://a.invalid/x@1c0ffee"),
    ]  # fmt: skip
    assert read_wanted(str(tmp_path), found.files, found.python).spec == "==3.10.*"


def test_a_pylock_gives_hashes_of_all_its_files(tmp_path: Path) -> None:
    lock = (
        'lock-version = "1.0"\nrequires-python = ">=3.9"\n[[packages]]\nname = "six"\nversion = "1.16.0"\n'
        'sdist = {url = "u", hashes = {sha256 = "bb"}}\n'
        'wheels = [{url = "u", hashes = {sha256 = "aa"}}]\n[[packages]]\nname = "app"\ndirectory = {path = "."}\n'
    )
    found = read_manager(tree(tmp_path, {"pylock.toml": lock}))
    assert found.locked == [Locked("six", "1.16.0", ["sha256:aa", "sha256:bb"], "")]


@pytest.mark.parametrize(
    ("name", "text"),
    [("poetry.lock", "[[package]]\nversion = 1\n"), ("Pipfile.lock", "{"), ("pylock.toml", "packages = 3\n"),
     ("Pipfile.lock", '{"default": {"six": {"version": ">=1"}}}')],
)  # fmt: skip
def test_a_lock_that_is_none_is_named(tmp_path: Path, name: str, text: str) -> None:
    code, fields = refusal(
        tmp_path, {name: text, "pyproject.toml": POETRY_PROJECT} if "poetry" in name else {name: text}
    )
    assert (code, fields["file"]) == ("lock-bad", name)


def test_requirements_that_are_all_hashed_are_a_lock(tmp_path: Path) -> None:
    text = "six==1.16.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nx==1 ; os_name == 'nt' --hash=sha256:cc\n"
    found = read_manager(tree(tmp_path, {"requirements.txt": text}))
    assert found.kind == "hashed"
    assert found.locked is not None
    assert render_lock(found.locked, LINUX) == "six==1.16.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
    assert parse_lines(f"{text}idna==3\n") is None


def test_a_lock_is_split_into_packages() -> None:
    assert split_lock("--extra-index-url u\nA_b==1 \\\n    --hash=x\nc @ git+u\n") == {
        "a-b": "A_b==1 \\\n    --hash=x\n", "c": "c @ git+u\n",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("marker", "verdict"),
    [
        ("", True), ("sys_platform == 'win32'", False), ("python_version >= '3.10' and os_name == 'posix'", True),
        ("python_full_version < '3.11.8'", True), ("python_version in '3.10, 3.11'", True),
        ("'linux' not in sys_platform", False), ("(os_name == 'nt') or (python_version < '3.9' or extra == '')", True),
        ("platform_machine == 'arm64' or platform_python_implementation == 'CPython'", True),
        ("python_version == '3.11.*'", True), ("python_version ~= '3.8'", True), ("python_version != '3.11'", False),
    ],
)  # fmt: skip
def test_markers_are_judged_for_the_layers_place(marker: str, verdict: bool) -> None:
    assert holds(marker, LINUX) is verdict


@pytest.mark.parametrize("marker", ["python_version", "nothing == '1'", "(os_name == 'nt'", "os_name ; 'x'"])
def test_a_marker_that_nobody_can_read_is_refused(marker: str) -> None:
    with pytest.raises(PackFailed) as caught:
        holds(marker, LINUX)
    assert caught.value.code == "marker-bad"
