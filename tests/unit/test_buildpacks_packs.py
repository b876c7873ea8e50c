"""Our buildpacks' decisions: what serves, which Python, which packages, what uv's errors mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.packs.algo_python.interpreter import choose
from buildpacks.packs.algo_python.manager import read_manager
from buildpacks.packs.algo_python.resolve import needed, pins, read_extras
from buildpacks.packs.algo_python.uv import explain_uv, uv_env
from buildpacks.packs.algo_python.wanted import Wanted, read_wanted, satisfies
from buildpacks.packs.cnb import PackFailed, human_size
from buildpacks.packs.procfile import make_command, parse_procfile


def tree(root: Path, **files: str) -> str:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def failure(caught: pytest.ExceptionInfo[PackFailed]) -> tuple[str, dict[str, object]]:
    return caught.value.code, caught.value.fields


# -- Procfile


def test_a_procfile_is_types_and_commands() -> None:
    text = b"# comment\n\nweb: gunicorn app:app --bind 0.0.0.0:$PORT\nworker:python w.py  \n"
    assert parse_procfile(text) == {"web": "gunicorn app:app --bind 0.0.0.0:$PORT", "worker": "python w.py"}


def test_a_line_that_is_none_is_named() -> None:
    with pytest.raises(PackFailed) as caught:
        parse_procfile(b"web: x\nrubbish\n")
    assert failure(caught) == ("procfile-syntax", {"line": 2, "text": "rubbish"})


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("python w.py --name 'two words'", ["python", "w.py", "--name", "two words"]),
        ("run --port $PORT", ["bash", "-c", "run --port $PORT"]),
        ("a && b", ["bash", "-c", "a && b"]),
        ("A=1 run", ["bash", "-c", "A=1 run"]),
        ("it's", ["bash", "-c", "it's"]),
    ],
)
def test_a_shell_only_where_one_is_needed(line: str, command: list[str]) -> None:
    assert make_command(line) == command


# -- Python


@pytest.mark.parametrize(
    ("spec", "yes", "no"),
    [
        ("==3.11.*", [(3, 11, 0), (3, 11, 9)], [(3, 12, 0)]),
        ("==3.11.7", [(3, 11, 7)], [(3, 11, 8)]),
        (">=3.10,<3.13", [(3, 10, 0), (3, 12, 9)], [(3, 9, 9), (3, 13, 0)]),
        ("~=3.11", [(3, 11, 0), (3, 14, 0)], [(3, 10, 0)]),
        ("~=3.11.2", [(3, 11, 5)], [(3, 11, 1), (3, 12, 0)]),
        ("!=3.11.*,>3.9", [(3, 12, 0)], [(3, 11, 4)]),
        ("", [(3, 8, 0)], []),
    ],
)
def test_versions_meet_specifiers(spec: str, yes: list[tuple[int, int, int]], no: list[tuple[int, int, int]]) -> None:
    assert [satisfies(v, spec) for v in yes + no] == [True] * len(yes) + [False] * len(no)


def test_a_specifier_that_nobody_can_read_is_no_answer() -> None:
    assert satisfies((3, 11, 0), "three") is None


def test_the_python_version_has_a_reason(tmp_path: Path) -> None:
    project = '[project]\nname = "x"\nrequires-python = ">=3.10"\n'
    app = tree(tmp_path, pyproject_DOT_toml=project)
    assert read_wanted(app, {}) == Wanted(">=3.10", "requires-python >=3.10 in pyproject.toml")
    tree(tmp_path, _DOT_python=" ")
    (tmp_path / ".python-version").write_text("# why\n3.12\n")
    assert read_wanted(app, {}) == Wanted("==3.12.*", ".python-version")
    (tmp_path / ".python-version").write_text("pypy3.9\n")
    with pytest.raises(PackFailed) as caught:
        read_wanted(app, {})
    assert failure(caught) == ("python-version-bad", {"file": ".python-version", "found": "pypy3.9"})
    assert read_wanted(str(tmp_path / "nowhere"), {}) == Wanted("", "default")


def test_a_python_that_is_not_here_names_those_that_are() -> None:
    import sys

    with pytest.raises(PackFailed) as caught:
        choose(Wanted("==3.1.*", ".python-version"), {"BP_PYTHONS": f"{sys.executable}:/nonexistent/python3.9"}, "")
    here = ".".join(map(str, sys.version_info[:3]))
    assert failure(caught) == ("python-missing", {"wanted": "3.1", "reason": ".python-version", "available": [here]})


# -- packages


def test_two_managers_at_once_are_named(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as caught:
        read_manager(tree(tmp_path, requirements_DOT_txt="flask", uv_DOT_lock="", pyproject_DOT_toml="[project]\n"))
    assert failure(caught) == ("two-managers", {"first": "requirements.txt", "second": "uv.lock"})


def test_pyproject_beside_its_lock_is_one_manager_and_tool_tables_are_none(tmp_path: Path) -> None:
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["flask>=3"]\n'
    lock = 'version = 1\n[[package]]\nname = "Flask"\nversion = "3.1"\n'
    assert read_manager(tree(tmp_path / "a", pyproject_DOT_toml=project, uv_DOT_lock=lock)).kind == "uv"
    assert read_manager(tree(tmp_path / "b", pyproject_DOT_toml="[tool.ruff]\n")).kind == "none"
    found = read_manager(tree(tmp_path / "c", pyproject_DOT_toml=project))
    assert (found.kind, found.named) == ("pyproject", {"flask": ">=3"})


def test_a_manager_that_we_do_not_serve_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as caught:
        read_manager(tree(tmp_path, uv_DOT_lock=""))
    assert failure(caught) == ("manager-not-served", {"manager": "uv without pyproject.toml", "file": "uv.lock"})


def test_included_files_belong_to_the_question(tmp_path: Path) -> None:
    app = tree(tmp_path, requirements_DOT_txt="-r more/base.txt\nflask\n", more__base_DOT_txt="-c c.txt\nnumpy<2\n",
               more__c_DOT_txt="scipy==1.1\n")  # fmt: skip
    found = read_manager(app)
    assert sorted(found.files) == ["more/base.txt", "more/c.txt", "requirements.txt"]
    assert found.named["numpy"] == "<2"


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "missing.txt"])
def test_a_file_outside_the_tree_is_not_included(tmp_path: Path, path: str) -> None:
    with pytest.raises(PackFailed) as caught:
        read_manager(tree(tmp_path, requirements_DOT_txt=f"-r {path}\n"))
    assert failure(caught) == ("requirements-outside", {"file": path})


def test_a_password_in_an_index_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as caught:
        read_manager(tree(tmp_path, requirements_DOT_txt="flask\n--index-url https://bob:CANARY@pkgs.invalid/simple\n"))
    assert failure(caught) == ("index-credentials", {"file": "requirements.txt", "line": 2})


def test_a_user_who_names_a_version_decides_it(tmp_path: Path) -> None:
    manager = read_manager(tree(tmp_path, requirements_DOT_txt="Scikit_Learn==1.5\nflask\n"))
    asked = read_extras([{"packages": [
        {"spec": "scikit-learn==1.9.1", "why": "m was written by it", "written_by": "1.9.1"},
        {"spec": "flask>=2.2", "why": "", "written_by": ""},
        {"spec": "gunicorn>=22", "why": "", "written_by": ""},
    ]}])  # fmt: skip
    assert [extra.spec for extra in needed(asked, manager)] == ["gunicorn>=22"]
    bare = read_manager(tree(tmp_path / "bare", requirements_DOT_txt="scikit-learn\n"))
    assert [extra.spec for extra in needed(asked, bare)] == ["scikit-learn==1.9.1", "flask>=2.2", "gunicorn>=22"]


def test_pins_are_read_out_of_a_lock() -> None:
    assert pins("Flask==3.1 \\\n    --hash=sha256:aa\nscikit_learn==1.9.1 ; x\n") == {
        "flask": "3.1",
        "scikit-learn": "1.9.1",
    }


def test_pip_settings_reach_uv_under_its_own_names(tmp_path: Path) -> None:
    env = uv_env({
        "PIP_INDEX_URL": "https://a.invalid", "PIP_FIND_LINKS": f"{tmp_path} /nonexistent", "PIP_CERT": "/c.pem",
        "SECRET": "x", "PATH": "/bin",
    })  # fmt: skip
    assert env["UV_DEFAULT_INDEX"] == "https://a.invalid"
    assert env["UV_FIND_LINKS"] == str(tmp_path)
    assert env["SSL_CERT_FILE"] == "/c.pem"
    assert "SECRET" not in env
    assert uv_env({"PIP_INDEX_URL": "https://a.invalid", "UV_DEFAULT_INDEX": "https://b.invalid"})[
        "UV_DEFAULT_INDEX"
    ] == ("https://b.invalid")


MISSING = """error: No solution found when resolving dependencies
  cause: Because nosuch-package was not found in the package registry and you require nosuch-package, we can conclude
         that your requirements are unsatisfiable.
"""
BAD_LINE = """error: Couldn't parse requirement in `requirements.txt` at position 6
  cause: no such comparison operator "=>"
"""
NO_WHEEL = """error: No solution found when resolving dependencies
  cause: Because wget==3.2 has no usable wheels and you require wget==3.2, we can conclude that your requirements are
         unsatisfiable.

hint: Wheels are required for `wget` because building from source is disabled for all packages
"""
CONTRADICTION = """error: No solution found when resolving dependencies
  cause: Because flask==3.0.0 depends on werkzeug>=3.0.0 and you require flask==3.0.0, and because you require
         werkzeug<2, we can conclude that your requirements are unsatisfiable.
"""
REQUIREMENTS = "numpy\nflask=>3\nnosuch-package\nflask==3.0.0\nwerkzeug<2\n"


@pytest.mark.parametrize(
    ("stderr", "wheels_only", "code", "fields"),
    [
        (MISSING, True, "requirement-missing",
         {"name": "nosuch-package", "where": "requirements.txt line 3", "text": "nosuch-package"}),
        (BAD_LINE, True, "requirements-syntax",
         {"file": "requirements.txt", "line": 2, "text": "flask=>3", "message": 'no such comparison operator "=>"'}),
        (NO_WHEEL, True, "needs-source-build", {"name": "wget", "python": "3.11.7"}),
        ("error: Failed to fetch: https://u:p@pkgs.invalid/simple/flask/\n  cause: client error\n  cause: dns error",
         True, "index-unreachable", {"url": "https://pkgs.invalid/simple/flask/", "cause": "dns error"}),
        ("error: Failed to fetch: https://pkgs.invalid/x\n  cause: HTTP status client error (401 Unauthorized) for url",
         True, "index-denied", {"url": "https://pkgs.invalid/x"}),
        ("error: something new happened", False, "dependencies-failed", {"output": "error: something new happened"}),
    ],
)  # fmt: skip
def test_uv_errors_become_facts(
    tmp_path: Path, stderr: str, wheels_only: bool, code: str, fields: dict[str, object]
) -> None:
    app = tree(tmp_path, requirements_DOT_txt=REQUIREMENTS)
    failed = explain_uv(stderr, cwd=app, manager=read_manager(app), python="3.11.7", wheels_only=wheels_only)
    assert (failed.code, failed.fields) == (code, fields)


def test_a_contradiction_names_both_lines(tmp_path: Path) -> None:
    app = tree(tmp_path, requirements_DOT_txt="numpy\nflask==3.0.0\nwerkzeug<2\n")
    failed = explain_uv(CONTRADICTION, cwd=app, manager=read_manager(app), python="3.11.7", wheels_only=True)
    assert failed.code == "requirements-conflict"
    assert failed.fields["lines"] == ["flask==3.0.0 (requirements.txt line 2)", "werkzeug<2 (requirements.txt line 3)"]


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (4100, "4.1 kB"), (213_000_000, "213 MB")])
def test_sizes_read_like_a_label(size: int, text: str) -> None:
    assert human_size(size) == text
