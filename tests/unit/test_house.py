"""The walls of the house, read from the sources: no shell, one door for each client, one place for the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gitserver", "buildpacks", "runtime", "k8s")
MAX_LINES = 400

# Who may import which client. A path ending in '/' means everything below it.
DOORS = {
    "dulwich": ("gitserver/remote/objects.py",),
    "asyncssh": ("gitserver/remote/ssh.py",),
    "sqlalchemy": ("gitserver/ledger/",),
    "alembic": ("gitserver/ledger/",),
    "flask": ("gitserver/web/", "gitserver/remote/http.py", "runtime/"),
    "gunicorn": ("gitserver/serve/", "gitserver/web/", "runtime/"),
    "click": ("gitserver/cli/",),
    "httpx": ("gitserver/cli/",),
    "docker": ("gitserver/targets/engine.py",),
    "requests": ("buildpacks/image/registry.py", "gitserver/targets/engine.py"),
}
# Who may read the process environment: the composition root, the command line, what runs inside build and model
# processes (there the environment is the interface), and the launcher between them.
READS_ENVIRONMENT = ("gitserver/settings.py", "gitserver/cli/", "gitserver/serve/", "buildpacks/packs/", "runtime/",
                     "buildpacks/lifecycle/", "gitserver/targets/launch.py")  # fmt: skip


def sources() -> list[Path]:
    """Every Python file of the four packages, scripts of the buildpacks included."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            is_script = path.suffix == "" and path.read_bytes()[:64].split(b"\n")[0].endswith(b"python3")
            if path.suffix == ".py" or is_script:
                found.append(path)
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_below(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or (place.endswith("/") and name.startswith(place)) for place in places)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def imports_of(tree: ast.Module) -> Iterator[str]:
    """Top-level names of what a module imports when it runs, at any depth; imports for types alone cost nothing."""
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def shell_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each way to a shell or to code made of text."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}:
            yield node.lineno, called
        if called.startswith(("os.spawn", "pty.spawn")) or called.endswith("create_subprocess_shell"):
            yield node.lineno, called
        for keyword in node.keywords:
            is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg == "shell" and not is_off:
                yield node.lineno, f"{called}(shell=...)"


def environment_reads(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each look at the process environment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.environb", "os.getenv"}:
            yield node.lineno, ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in {"environ", "getenv"})


SOURCES = sources()
every_source = pytest.mark.parametrize("path", SOURCES, ids=[name_of(path) for path in SOURCES])


@every_source
def test_sec_02_no_module_starts_a_shell_or_runs_text_as_code(path: Path) -> None:
    assert list(shell_calls(tree_of(path))) == []


@every_source
def test_each_client_is_imported_at_its_door_only(path: Path) -> None:
    name = name_of(path)
    wrong = [module for module in imports_of(tree_of(path)) if module in DOORS and not is_below(name, DOORS[module])]
    assert wrong == [], f"{name} imports {wrong}; allowed: {[DOORS[module] for module in wrong]}"


@every_source
def test_the_environment_is_read_where_it_may_be(path: Path) -> None:
    if not is_below(name_of(path), READS_ENVIRONMENT):
        assert list(environment_reads(tree_of(path))) == []


@every_source
def test_a_module_says_what_it_is_for_and_fits_in_a_head(path: Path) -> None:
    name = name_of(path)
    text = path.read_text(encoding="utf-8")
    if name == "runtime/__init__.py":
        assert text == "", "it must stay empty: the shim's files are found without importing flask"
        return
    if text:
        assert ast.get_docstring(ast.parse(text)), f"{name} has no docstring"
    assert text.count("\n") <= MAX_LINES, f"{name} has {text.count(chr(10))} lines"


def test_runtime_imports_itself_relatively_so_that_a_users_runtime_cannot_clash() -> None:
    wrong = [
        name_of(path)
        for path in SOURCES
        if name_of(path).startswith("runtime/") and "runtime" in imports_of(tree_of(path))
    ]
    assert wrong == []


def test_the_rules_see_what_they_forbid() -> None:
    bad = "import os, subprocess\nsubprocess.run('x', shell=True)\nos.system('x')\neval('1')\nprint(os.environ['A'])\n"
    tree = ast.parse(bad)
    assert [line for line, _ in shell_calls(tree)] == [2, 3, 4]
    assert list(environment_reads(tree)) == [(5, "os.environ")]
    assert list(imports_of(tree)) == ["os", "subprocess"]


def test_no_file_names_a_registry_or_the_folder_it_was_written_in() -> None:
    hosts = [
        ".".join(words) for words in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("maven", "org"))
    ]
    needles = [host.encode() for host in hosts]
    if len(ROOT.parts) > 2:  # a checkout directly below / may be called like an ordinary word
        needles.append(str(ROOT).encode())
    folders = (*PACKAGES, "tests", "examples", "benchmarks", "docs")
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                found += [(name_of(path), needle.decode()) for needle in needles if needle in content]
    assert found == []


def test_tests_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
