"""Projects without a lock: conda's files, Poetry's versions, setup files, and the Python that they ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.packs.algo_python.conda import parse_environment
from buildpacks.packs.algo_python.projects import caret, parse_setup_cfg, parse_setup_py
from buildpacks.packs.algo_python.wanted import Wanted, read_wanted
from buildpacks.packs.cnb import PackFailed
from tests.services.package_lists import refusal, tree

# -- conda


def test_condas_packages_become_those_that_have_wheels() -> None:
    text = (
        "name: x  # a name\nchannels:\n  - defaults\ndependencies:\n  - python=3.8.5\n  - numpy=1.19.2=py38h54aff64_0\n"
        '  - "pandas>=1.1,<2"\n  - conda-forge::opencv=4.5\n  - pytorch\n  - mkl=2020.2\n  - pip\n  - pip:\n'
        "    - flask==1.1.2\nprefix: /home/ann/x\n"
    )
    found = parse_environment(text, "environment.yml")
    assert [line for _, line in found.lines] == [
        "numpy==1.19.2", "pandas>=1.1,<2", "opencv-python-headless==4.5.*", "torch", "flask==1.1.2",
    ]  # fmt: skip
    assert found.python == "==3.8.5.*"
    assert found.changes[-1] == "environment.yml: left out, wheels hold them inside or this system needs none: mkl, pip"


def test_what_only_conda_has_is_refused_together() -> None:
    with pytest.raises(PackFailed) as caught:
        parse_environment("dependencies:\n- r-base=4\n- numpy\n- gdal\n", "environment.yml")
    assert caught.value.fields == {"file": "environment.yml", "names": ["r-base", "gdal"]}


@pytest.mark.parametrize("item", ["- &a numpy", "- {numpy: 1}", "- numpy: {a: b}", "numpy", "- |"])
def test_yaml_beyond_plain_lists_is_refused_with_its_line(item: str) -> None:
    with pytest.raises(PackFailed) as caught:
        parse_environment(f"dependencies:\n  - six\n  {item}\n", "environment.yml")
    assert (caught.value.code, caught.value.fields["line"]) == ("conda-syntax", 3)


# -- projects


@pytest.mark.parametrize(
    ("spec", "clauses"),
    [("^1.2.3", ">=1.2.3,<2"), ("^0.2.3", ">=0.2.3,<0.3"), ("^0.0.3", ">=0.0.3,<0.0.4"), ("~1.2.3", ">=1.2.3,<1.3"),
     ("~1", ">=1,<2"), ("1.2.3", "==1.2.3"), ("1.2.*", "==1.2.*"), ("*", ""), (">=1, <2", ">=1,<2")],
)  # fmt: skip
def test_poetrys_versions_become_clauses(spec: str, clauses: str) -> None:
    assert caret(spec, "f") == clauses


def test_setup_files_are_read_and_never_run(tmp_path: Path) -> None:
    text = (
        "import os\nfrom setuptools import setup\nNEED = ['six', 'idna>=3']\nsetup(install_requires=NEED)\nos.abort()\n"
    )
    assert parse_setup_py(text).specs == ["six", "idna>=3"]
    cfg = "[options]\npython_requires = >=3.8\ninstall_requires =\n    six\n    idna>=3  # why\n"
    assert parse_setup_cfg(cfg).specs == ["six", "idna>=3"]
    assert refusal(tmp_path, {"setup.py": "setup(\n install_requires=read('r'))\n"}) == (
        "setup-computed", {"file": "setup.py", "line": 2, "what": "install_requires"},
    )  # fmt: skip


# -- Python


@pytest.mark.parametrize(
    ("text", "spec", "exact"),
    [("python-3.7.3\n", "==3.7.*", "3.7.3"), ("3.10\n", "==3.10.*", ""), ("Python-3.9.x", "==3.9.*", ""),
     ("\ufeffpython-3.8.1\r\n", "==3.8.*", "3.8.1")],
)  # fmt: skip
def test_runtime_txt_asks_for_a_minor_version_and_is_deprecated(
    tmp_path: Path, text: str, spec: str, exact: str
) -> None:
    found = read_wanted(tree(tmp_path, {"runtime.txt": text}), {})
    assert (found.spec, found.exact, found.reason) == (spec, exact, "runtime.txt")
    minor = spec[2:-2]
    assert found.note == f"runtime.txt is deprecated: git rm runtime.txt && echo {minor} > .python-version"


def test_a_malformed_runtime_txt_is_quoted_and_another_languages_is_left(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as caught:
        read_wanted(tree(tmp_path / "a", {"runtime.txt": "the newest\n"}), {})
    assert caught.value.fields == {"file": "runtime.txt", "found": "the newest"}
    assert read_wanted(tree(tmp_path / "b", {"runtime.txt": "r-4.1-2021-12-01\n"}), {}) == Wanted("", "default")


def test_tool_versions_are_asked_after_the_files_made_for_it(tmp_path: Path) -> None:
    app = tree(tmp_path, {".tool-versions": "nodejs 20\npython 3.12.1\n"})
    assert read_wanted(app, {}, Wanted(">=3.9", "elsewhere")).reason == ".tool-versions"
    tree(tmp_path, {"runtime.txt": "python-3.9"})
    assert read_wanted(app, {}).reason == "runtime.txt"
    tree(tmp_path, {".python-version": "3.11"})
    assert read_wanted(app, {}).reason == ".python-version"
