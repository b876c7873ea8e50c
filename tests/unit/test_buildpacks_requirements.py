"""What people push as lists of packages: read line by line, each change told, nothing guessed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from buildpacks.packs.algo_python.clashes import Mend, explain_import_failure, find_bounds
from buildpacks.packs.algo_python.conda import parse_environment
from buildpacks.packs.algo_python.credentials import hide, open_indexes
from buildpacks.packs.algo_python.decoding import decode
from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.algo_python.locks import Locked, parse_lines, render_lock, split_lock
from buildpacks.packs.algo_python.manager import read_manager
from buildpacks.packs.algo_python.markers import holds, marker_env
from buildpacks.packs.algo_python.projects import caret, parse_setup_cfg, parse_setup_py
from buildpacks.packs.algo_python.requirements import clean
from buildpacks.packs.algo_python.wanted import Wanted, read_wanted
from buildpacks.packs.cnb import PackFailed
from gitserver.errors import Problem
from gitserver.settings import read_settings

LINUX = marker_env(Interpreter("/p", (3, 11, 7), "/usr/bin/python3.11"), {}, "x86_64")


def tree(root: Path, files: Mapping[str, str | bytes]) -> str:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(root)


def refusal(root: Path, files: Mapping[str, str | bytes], setting: str = "") -> tuple[str, dict[str, object]]:
    with pytest.raises(PackFailed) as caught:
        read_manager(tree(root, files), setting)
    return caught.value.code, caught.value.fields


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


# -- locks


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


# -- clashes


def test_a_bound_is_found_for_what_the_user_left_open() -> None:
    assert [(clash.dep, clash.bound) for clash in find_bounds({"flask": "==1.1.2", "jinja2": "==2.11.3"})] == [
        ("itsdangerous", "<2.1"), ("werkzeug", "<2.1"), ("markupsafe", "<2.1"),
    ]  # fmt: skip
    assert find_bounds({"flask": "==3.0.3"}) == []
    assert find_bounds({"pandas": "==1.5.3", "numpy": ">=1.20"}) == []
    assert [clash.dep for clash in find_bounds({"pandas": "==1.5.3", "numpy": ""})] == ["numpy"]


@pytest.mark.parametrize(
    ("message", "lock", "mend"),
    [
        ("ImportError: cannot import name 'escape' from 'jinja2' (/x)", "flask==1.1.2\njinja2==3.1.4\n",
         Mend(("flask 1.1.2", "jinja2 3.1.4"), "jinja2<3.1")),
        ("cannot import name 'soft_unicode' from 'markupsafe'", "jinja2==2.11.3\nmarkupsafe==2.1.5\n",
         Mend(("jinja2 2.11.3", "markupsafe 2.1.5"), "markupsafe<2.1")),
        ("ValueError: numpy.dtype size changed, may indicate binary incompatibility", "numpy==2.1\npandas==1.5.3\n",
         Mend(("pandas 1.5.3", "numpy 2.1"), "numpy<2")),
        ("TypeError: Descriptors cannot be created directly.", "protobuf==5.0\ntensorflow==2.8.0\n",
         Mend(("tensorflow 2.8.0", "protobuf 5.0"), "protobuf<3.21")),
        ('File "/d/site-packages/seaborn/x.py", line 1\nmodule \'numpy\' has no attribute \'float\'',
         "numpy==1.26.0\nseaborn==0.11\n", Mend(("seaborn", "numpy 1.26.0"), "numpy<1.24")),
        ("cannot import name 'escape' from 'jinja2'", "flask==3.0\njinja2==2.0\n", None),
        ("ModuleNotFoundError: No module named 'numpi'", "numpy==2.1\n", None),
    ],
)  # fmt: skip
def test_a_crash_at_import_names_the_pair_and_the_bound(message: str, lock: str, mend: Mend | None) -> None:
    assert explain_import_failure(message, lock) == mend


# -- secrets


def test_an_apps_own_index_goes_before_the_operators_and_its_netrc_is_private(tmp_path: Path) -> None:
    env = {
        "BP_INDEX_URL": "https://ann:CANARY@i.invalid/simple", "PIP_INDEX_URL": "https://o.invalid/simple",
        "BP_EXTRA_INDEX_URL": "https://e.invalid/simple", "UV_INDEX": "https://p.invalid/simple",
        "BP_NETRC": "machine i.invalid login ann password CANARY",
    }  # fmt: skip
    opened = open_indexes(env, str(tmp_path))
    assert opened.env["UV_DEFAULT_INDEX"] == "https://ann:CANARY@i.invalid/simple"
    assert "PIP_INDEX_URL" not in opened.env
    assert opened.env["UV_INDEX"] == "https://e.invalid/simple https://p.invalid/simple"
    netrc = Path(opened.netrc)
    assert netrc.read_text() == "machine i.invalid login ann password CANARY\n"
    assert netrc.stat().st_mode & 0o777 == 0o600


def test_no_form_of_a_secret_is_left_in_a_sentence() -> None:
    env = {
        "BP_INDEX_URL": "https://ann:CAN%40RY-1@i.invalid/CANARY-2/simple", "UV_INDEX": "https://CANARY-3@p.invalid/s",
        "BP_NETRC": "machine x login y password CANARY-4",
    }  # fmt: skip
    said = hide(
        "failed https://ann:CAN%40RY-1@i.invalid/CANARY-2/simple/six/ with CAN@RY-1, CANARY-3 and CANARY-4", env
    )
    assert "CAN" not in said
    assert said == "failed https://i.invalid/[BP_INDEX_URL]/six/ with ***, *** and ***"


@pytest.mark.parametrize(
    ("name", "text"),
    [("Pipfile", "[[source]]\nurl = 'https://ann:CANARY@i.invalid/simple'\n[packages]\nsix='*'\n"),
     ("environment.yml", "dependencies:\n- pip:\n  - --index-url https://ann:CANARY@i.invalid/simple\n"),
     ("poetry.lock", "[x]\nurl = 'https://CANARY@i.invalid/simple'\n")],
)  # fmt: skip
def test_a_password_in_any_of_these_files_is_refused(tmp_path: Path, name: str, text: str) -> None:
    code, fields = refusal(tmp_path, {name: text})
    assert code == "index-credentials"
    assert "CANARY" not in str(fields)


def test_the_operators_index_of_builds_for_processors_reaches_installs_and_is_checked(tmp_path: Path) -> None:
    options = {"state": str(tmp_path), "owner": "alice"}
    found = read_settings({**options, "torch_index": "https://i.invalid/simple"}, {})
    assert found.build_env == {"BP_TORCH_INDEX": "https://i.invalid/simple"}
    assert read_settings(options, {}).build_env == {}
    with pytest.raises(Problem) as caught:
        read_settings({**options, "torch_index": "ftp"}, {})
    assert caught.value.failure.code == "bad-setting"


def test_a_password_that_the_tool_fills_in_is_none(tmp_path: Path) -> None:
    text = "[[source]]\nurl = 'https://ann:${TOKEN}@i.invalid/simple'\n[packages]\nsix = '*'\n"
    assert read_manager(tree(tmp_path, {"Pipfile": text})).named == {"six": ""}
