"""Python files of a repository as syntax trees, and the names at their top; nothing is imported or run."""

from __future__ import annotations

import ast
import os

from buildpacks.packs.cnb import PackFailed

TYPE_CHECKING = False  # as in packs/cnb.py: typing costs more than a detection
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_SOURCE_BYTES = 2 << 20


def python_files(app: str, folder: str) -> list[str]:
    """Repository paths of the .py files in one folder ('' is the top), by name; links are not followed."""
    try:
        entries = list(os.scandir(f"{app}/{folder}" if folder else app))
    except OSError:
        return []
    names = sorted(item.name for item in entries if item.name.endswith(".py") and item.is_file(follow_symlinks=False))
    return [f"{folder}/{name}" if folder else name for name in names]


def read(app: str, file: str) -> bytes:
    """The file's bytes, b'' when it cannot be read."""
    try:
        with open(f"{app}/{file}", "rb") as source:
            return source.read(MAX_SOURCE_BYTES)
    except OSError:
        return b""


def parse(app: str, file: str) -> ast.Module | None:
    """The file's tree; None when there is no such file.

    Raises  PackFailed('syntax-error', file, line, text, message)
    """
    if not os.path.isfile(f"{app}/{file}"):  # noqa: PTH113 -- no pathlib in buildpacks, packs/cnb.py says why
        return None
    try:
        return ast.parse(read(app, file), filename=file)
    except SyntaxError as error:
        text = (error.text or "").strip()[:200]
        raise PackFailed("syntax-error", file=file, line=error.lineno or 0, text=text, message=error.msg) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise PackFailed("syntax-error", file=file, line=0, text="", message=str(error)) from error


def top(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements at the top of a module, those below `if` and `try` among them: optional imports are common."""
    for node in body:
        yield node
        match node:
            case ast.If():
                yield from top(node.body + node.orelse)
            case ast.Try():
                yield from top(node.body + node.orelse + node.finalbody)
                for handler in node.handlers:
                    yield from top(handler.body)
            case _:
                pass


def names(tree: ast.Module) -> dict[str, int]:
    """What the module defines as a function, imports or assigns at its top level, with the first line of each."""
    found: dict[str, int] = {}
    for node in top(tree.body):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found.setdefault(node.name, node.lineno)
            case ast.ImportFrom():
                for alias in node.names:
                    found.setdefault(alias.asname or alias.name, node.lineno)
            case ast.Assign():
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, node.lineno)
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.setdefault(name, node.lineno)
            case _:
                pass
    return found


def functions(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions that the module itself defines."""
    found: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    for node in top(tree.body):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = node
    return found


def classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    """Classes that the module itself defines."""
    return {node.name: node for node in top(tree.body) if isinstance(node, ast.ClassDef)}


def methods(node: ast.ClassDef) -> set[str]:
    """Names of a class' own methods."""
    return {item.name for item in node.body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))}


def imported(tree: ast.Module) -> set[str]:
    """Top names of the packages that the module imports anywhere at its top level."""
    found: set[str] = set()
    for node in top(tree.body):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def is_inside(path: str) -> bool:
    """Whether a path that a setting names can lie in the repository."""
    return bool(path) and not path.startswith("/") and ".." not in path.split("/")
