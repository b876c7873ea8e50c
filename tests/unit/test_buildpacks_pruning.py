"""What is left out of an image, how it is told, and which folder is the app."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from buildpacks.pruning import prune

VENV = ("pyvenv.cfg", "bin/activate", "lib/python3.11/site-packages/numpy/__init__.py")


def fill(folder: Path, paths: Sequence[str]) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    return folder


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


CASES: Mapping[str, tuple[Sequence[str], Sequence[str], str]] = {
    "a virtual environment": ([f"venv/{path}" for path in VENV], [], "venv (3 files)"),
    "one in a folder": ([f"api/env/{path}" for path in VENV], [], "api/env (3 files)"),
    "one without pyvenv.cfg": ([f"env/{path}" for path in VENV[1:]], [], "env (2 files)"),
    "one of Windows": (["env/Scripts/activate", "env/Lib/site-packages/x.py"], [], "env (2 files)"),
    "one at the top": ([*VENV, "bin/python"], [], "bin (2 files), lib, pyvenv.cfg"),
    "packages of Node without a package.json": (["node_modules/x/index.js"], [], "node_modules"),
    "packages of Node beside a package.json": (
        ["node_modules/x/index.js", "package.json"], ["node_modules/x/index.js", "package.json"], "",
    ),
    "byte-code everywhere": (["__pycache__/a.pyc", "b/__pycache__/a.pyc"], [], "2 times __pycache__ (2 files)"),
    "notebooks' checkpoints": ([".ipynb_checkpoints/a.ipynb"], [], ".ipynb_checkpoints"),
    "folders that only sound so": (
        ["env/config.py", "bin/activate", "venv.py"], ["bin/activate", "env/config.py", "venv.py"], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_part_of_an_app_goes_and_is_said(name: str, tmp_path: Path) -> None:
    paths, kept, said = CASES[name]
    lines = prune(fill(tmp_path, [*paths, "app.py"]))
    assert left(tmp_path) == sorted([*kept, "app.py"])
    assert lines == ([f"Left out of the image: {said}"] if said else [])


@pytest.mark.parametrize("name", [".env", ".env.local", "api/.env.production"])
def test_dotenv_goes_and_the_way_to_set_values_is_said(name: str, tmp_path: Path) -> None:
    lines = prune(fill(tmp_path, [name, "app.py"]))
    assert left(tmp_path) == ["app.py"]
    assert lines == [
        f"Left out of the image: {name}",
        f"{name} sets nothing here; what the app needs of it: algo config set NAME=VALUE",
    ]


@pytest.mark.parametrize("name", [".env.example", ".env.template", ".environment", "dev.env"])
def test_examples_of_dotenv_stay(name: str, tmp_path: Path) -> None:
    assert prune(fill(tmp_path, [name])) == []
    assert left(tmp_path) == [name]


def test_links_are_never_followed(tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside", ["__pycache__/mine.pyc", "pyvenv.cfg", "bin/activate"])
    repo = fill(tmp_path / "repo", ["app.py"])
    (repo / "venv").symlink_to(outside)
    (repo / "__pycache__").symlink_to(outside / "__pycache__")
    (repo / "nowhere").symlink_to("gone")
    assert prune(repo) == []
    assert len(left(outside)) == 3
    assert (repo / "nowhere").is_symlink()


def test_a_name_in_no_encoding_is_told_without_breaking_the_log(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    fill(folder, ["__pycache__/a.pyc"])
    (line,) = prune(tmp_path)
    assert line.encode("utf-8")
    assert list(folder.iterdir()) == []


def test_many_things_are_told_in_one_line_that_ends(tmp_path: Path) -> None:
    paths = [f"part{number:03}/__init__.py" for number in range(30)]
    paths += [f"part{number:03}/venv{number:03}/pyvenv.cfg" for number in range(30)]
    (line,) = prune(fill(tmp_path, paths))
    assert line.endswith("and 18 more")
