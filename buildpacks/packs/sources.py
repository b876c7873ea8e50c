"""Python files of a repository as syntax trees: read, never imported.  Bounded in files and bytes.

Why  importing a file to look at it runs what stands in it: an upload, a training, a loop that reads stdin
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping

MAX_SOURCE_BYTES = 2 << 20
MAX_FILES = 200


def read_source(app: str, file: str) -> bytes:
    """The bytes of a file of the repository, b"" for what is none, leads out of it or is larger than a program is."""
    path = f"{app}/{file}"
    try:
        if not os.path.isfile(path) or not is_inside(app, path):  # noqa: PTH113 -- no pathlib in buildpacks
            return b""
        with open(path, "rb") as source:
            data = source.read(MAX_SOURCE_BYTES + 1)
    except (OSError, ValueError):
        return b""
    return data if len(data) <= MAX_SOURCE_BYTES else b""


def is_inside(app: str, path: str) -> bool:
    """Whether a path, links followed, stays in the repository."""
    root = os.path.realpath(app)
    return os.path.realpath(path).startswith(f"{root}/")


def parse_source(app: str, file: str) -> ast.Module | None:
    """A file's tree; None for one that Python itself could not read: whoever starts it says so, with the line."""
    source = read_source(app, file)
    if not source:
        return None
    import warnings  # late: only repositories with Python files get here

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a "\d" in somebody's file is no line of the push
            return ast.parse(source, filename=file)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def python_files(app: str, folder: str = "") -> list[str]:
    """Plain .py files of one folder by name, without tests and what belongs to tools; at most MAX_FILES."""
    try:
        with os.scandir(f"{app}/{folder}" if folder else app) as entries:
            names = sorted(e.name for e in entries if e.name.endswith(".py") and e.is_file(follow_symlinks=False))
    except OSError:
        return []
    kept = [name for name in names if not _is_of_tools(name)][:MAX_FILES]
    return [f"{folder}/{name}" if folder else name for name in kept]


def _is_of_tools(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name in {"setup.py", "conftest.py", "noxfile.py"}


def top_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when the file is imported or started: the module's own level, and if, try, with, for in it."""
    for node in body:
        yield node
        match node:
            case ast.If() | ast.For() | ast.While():
                yield from top_statements(node.body + node.orelse)
            case ast.With():
                yield from top_statements(node.body)
            case ast.Try():
                yield from top_statements(node.body + node.orelse + node.finalbody)
                for handler in node.handlers:
                    yield from top_statements(handler.body)
            case _:
                pass


def own_expressions(node: ast.stmt) -> Iterator[ast.AST]:
    """Every expression of one statement; not of the statements, functions and classes in it."""
    waiting: list[ast.AST] = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        waiting = list(node.decorator_list)
    while waiting:
        current = waiting.pop()
        if isinstance(current, (ast.Lambda, ast.ExceptHandler)):
            continue
        yield current
        waiting += [child for child in ast.iter_child_nodes(current) if not isinstance(child, ast.stmt)]


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Name in the file -> what it stands for: {"gr": "gradio", "Flask": "flask.Flask", "torch": "torch"}.

    A relative import keeps its dots: `from .main import app` gives {"app": ".main.app"}.
    """
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                names[alias.asname or alias.name] = f"{module.rstrip('.') or module}.{alias.name}"
    return names


def full_name(node: ast.expr, names: Mapping[str, str]) -> str:
    """`gr.Blocks` -> "gradio.Blocks"; "" for what is no chain of names."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([names.get(node.id, node.id), *reversed(parts)])


def local_file(app: str, module: str, beside: str) -> str | None:
    """The repository's file behind a module's name: at the top, or beside the file that imports it; None elsewhere."""
    folder = beside.rpartition("/")[0]
    if module.startswith("."):
        up = len(module) - len(module.lstrip("."))
        parents = folder.split("/") if folder else []
        if up - 1 > len(parents):
            return None
        places = ["/".join(parents[: len(parents) - (up - 1)])]
    else:
        places = [folder, ""] if folder else [""]
    path = module.lstrip(".").replace(".", "/")
    for place in places:
        stem = "/".join(part for part in (place, path) if part)
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            if os.path.isfile(f"{app}/{file}"):  # noqa: PTH113 -- no pathlib in buildpacks
                return file
    return None


def local_imports(app: str, tree: ast.Module, file: str) -> list[str]:
    """The repository's own files that a file imports anywhere in it, each once."""
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            joint = "" if base.endswith(".") else "."
            modules = [base, *(f"{base}{joint}{alias.name}" for alias in node.names)]
        for module in modules:
            other = local_file(app, module, file) if module.strip(".") else None
            if other is not None and other != file:
                found[other] = None
    return list(found)


def source_line(app: str, file: str, number: int) -> str:
    """The text of a line, for people: at most 120 characters."""
    lines = read_source(app, file).decode("utf-8", "replace").splitlines()
    return lines[number - 1].strip()[:120] if 0 < number <= len(lines) else ""
