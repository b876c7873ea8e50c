"""What people push as lists of packages: read line by line, each change told, nothing guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.packs.algo_python.decoding import decode
from buildpacks.packs.algo_python.manager import read_manager
from buildpacks.packs.algo_python.requirements import clean
from tests.services.package_lists import refusal, tree

# -- encodings


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"flask\r\nsix\r\n", ""),
        (b"\xff\xfe" + "flask\r\nsix\r\n".encode("utf-16-le"), "UTF-16"),
        (b"\xfe\xff" + "flask\r\nsix\r\n".encode("utf-16-be"), "UTF-16"),
        ("flask\nsix\n".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        (b"\xef\xbb\xbfflask\nsix\n", "UTF-8 with a byte-order mark"),
    ],
)
def test_a_file_is_read_whatever_editor_wrote_it(data: bytes, name: str) -> None:
    assert decode(data) == ("flask\nsix\n", name)


def test_an_accent_in_a_comment_of_an_old_editor_ends_nothing() -> None:
    assert decode(b"six  # d\xe9j\xe0 vu\n") == ("six  # déjà vu\n", "Latin-1")


# -- lines


@pytest.mark.parametrize(
    ("line", "read", "why"),
    [
        ("numpy == 1.2", "numpy == 1.2", ""),
        ("numpy=1.21.2=py38h20f2e39_0", "numpy==1.21.2", "read as numpy==1.21.2"),
        ("numpy = 1.21.2", "numpy==1.21.2", "read as numpy==1.21.2"),
        ("libgcc-ng=9.1.0=hdf63c60_0", "", "left out, wheels hold this library inside"),
        ("_libgcc_mutex=0.1=main", "", "left out, wheels hold this library inside"),
        ("pywin32==228", "", "left out, it exists for Windows only"),
        ("appnope==0.1.0", "", "left out, it exists for macOS only"),
        ("pkg-resources==0.0.0", "", "left out, it is a part of Debian's Python that no index has"),
        ("pickle", "", "left out, it is part of Python"),
        ("dataclasses==0.6", "", "left out, it is part of Python"),
        ("sklearn==0.0", "scikit-learn", "read as scikit-learn"),
        ("tensorflow-gpu==2.4.0", "tensorflow==2.4.0", "read as tensorflow==2.4.0"),
        ("torch==1.9.0+cu111", "torch==1.9.0", "read as torch==1.9.0, the server chooses the build"),
        ("-f https://a.invalid/whl/torch_stable.html", "",
         "left out, the server chooses where PyTorch's builds come from"),
        ("--trusted-host a.invalid", "", "left out, an option of pip that means nothing here"),
        ("six @ file:///C:/ci/six_1605/work", "six",
         "read as six of any version: the file is on another machine, and its name tells none"),
        ("six @ file:///tmp/x/six-1.16.0-py2.py3-none-any.whl#sha256=ab", "six==1.16.0",
         "read as six==1.16.0, the file is on another machine"),
        (r"C:\Users\ann\Downloads\GDAL-3.4.1-cp39-cp39-win_amd64.whl", "GDAL==3.4.1",
         "read as GDAL==3.4.1, the file is on another machine"),
        ("-e git+https://a.invalid/ann/tool.git@1c0ffee#egg=my_tool",
         "my_tool @ git+https://a.invalid/ann/tool.git@1c0ffee",
         "installed as a package, not as a link to a working copy"),
        ("-e .", "", "left out, the repository's own files are there without it"),
        ("-e libs/mine", "./libs/mine", "installed as a package, not as a link"),
        ("python==3.7", "", "left out, Python is chosen by .python-version"),
        ("git+https://a.invalid/x.git", "git+https://a.invalid/x.git", ""),
        ("x @ https://a.invalid/x.whl", "x @ https://a.invalid/x.whl", ""),
        ("flask=>2", "flask=>2", ""),
        ("==== what ====", "==== what ====", ""),
    ],
)  # fmt: skip
def test_a_line_is_read_as_it_was_meant_and_the_change_is_told(line: str, read: str, why: str) -> None:
    done = clean(f"six\n{line}  # note\n", "r.txt")
    assert done.text.split("\n")[1].removesuffix("  # note") == read
    assert list(done.changes) == ([f"r.txt line 2: {line}: {why}"] if why else [])


def test_hashes_and_continued_lines_are_no_requirements() -> None:
    text = "six==1.16.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\npickle\n"
    assert clean(text, "r").text == text.replace("pickle", "")


def test_the_output_of_pip_list_is_a_list_of_packages() -> None:
    assert clean("Package    Version\n---------- -------\nabsl-py    0.7.1\n", "r").text == "\n\nabsl-py==0.7.1\n"


def test_a_file_under_another_name_is_found_and_said(tmp_path: Path) -> None:
    found = read_manager(tree(tmp_path / "a", {"requirements_prod.txt": "six\n", "requirements-dev.txt": "pytest\n"}))
    assert (found.file, found.named) == ("requirements_prod.txt", {"six": ""})
    assert found.changes == ["requirements_prod.txt is read in place of requirements.txt, which is not there"]
    assert read_manager(tree(tmp_path / "b", {"requirements/base.txt": "six\n"})).file == "requirements/base.txt"
    assert read_manager(tree(tmp_path / "c", {"requirements-dev.txt": "pytest\n"})).kind == "none"


def test_several_files_that_could_stand_for_it_are_listed(tmp_path: Path) -> None:
    files = {"requirements_a.txt": "six\n", "requirements_b.txt": "idna\n"}
    assert refusal(tmp_path, files) == (
        "requirements-ambiguous",
        {"files": ["requirements_a.txt", "requirements_b.txt"], "first": "requirements_a.txt"},
    )
    assert read_manager(str(tmp_path), "requirements_b.txt").named == {"idna": ""}


def test_a_line_that_asks_for_the_repository_itself_brings_its_projects_packages(tmp_path: Path) -> None:
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["idna>=3"]\n'
    found = read_manager(tree(tmp_path, {"requirements.txt": "six\n-e .\n", "pyproject.toml": project}))
    assert (found.kind, found.named) == ("requirements", {"six": "", "idna": ">=3"})


def test_a_list_that_was_made_from_the_project_is_its_lock(tmp_path: Path) -> None:
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["six"]\n'
    made = "# This file is autogenerated by pip-compile with Python 3.11\nsix==1.16.0\n"
    assert read_manager(tree(tmp_path, {"requirements.txt": made, "pyproject.toml": project})).kind == "requirements"


# -- two managers


@pytest.mark.parametrize(
    ("files", "first", "second"),
    [
        ({"requirements.txt": "six", "environment.yml": "dependencies:\n- six\n"}, "requirements.txt",
         "environment.yml"),
        ({"requirements.txt": "six", "Pipfile": "[packages]\nsix='*'\n"}, "requirements.txt", "Pipfile"),
        ({"poetry.lock": "", "Pipfile.lock": "{}", "Pipfile": ""}, "poetry.lock", "Pipfile.lock"),
        ({"requirements.txt": "six", "pyproject.toml": "[tool.poetry.dependencies]\nsix='*'\n"}, "requirements.txt",
         "pyproject.toml"),
    ],
)  # fmt: skip
def test_two_managers_at_once_are_named_and_a_setting_decides(
    tmp_path: Path, files: dict[str, str], first: str, second: str
) -> None:
    assert refusal(tmp_path, files) == ("two-managers", {"first": first, "second": second})
    if first == "requirements.txt":
        assert read_manager(str(tmp_path), first).named == {"six": ""}


def test_an_environment_file_that_includes_requirements_is_one_manager(tmp_path: Path) -> None:
    environment = "dependencies:\n  - python=3.10\n  - pip:\n    - -r requirements.txt\n"
    found = read_manager(tree(tmp_path, {"environment.yml": environment, "requirements.txt": "six\npywin32\n"}))
    assert (found.kind, found.named) == ("conda", {"six": ""})
    assert sorted(found.files) == ["environment.yml", "requirements.txt"]
