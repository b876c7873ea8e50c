"""User code that predicts, found by its syntax tree; nothing is imported or run."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from typing import NamedTuple

from buildpacks.packs.cnb import PackFailed

MAX_SOURCE_BYTES = 2 << 20
_ADK = frozenset({"Algorithmia", "algorithmia", "adk"})


class Entry(NamedTuple):
    """How user code is called. kind: function, class, algorithmia; file in the repository; name in the file."""

    kind: str
    file: str
    name: str


def find_entry(app: str, explicit: str) -> Entry | None:
    """The code that serves: BP_ENTRYPOINT (`file.py:name`), predict.py, an Algorithmia source; None when there is none.

    Raises  PackFailed: syntax-error, entrypoint-missing, ambiguous-entrypoint
    """
    if explicit:
        file, _, name = explicit.partition(":")
        tree = _parse(app, file) if _is_inside(file) else None
        if tree is None:
            raise PackFailed("entrypoint-missing", file=file, expected="the file that BP_ENTRYPOINT names")
        return _explicit(tree, file, name)
    tree = _parse(app, "predict.py")
    if tree is not None:
        return _predict_file(tree)
    return _find_algorithmia(app)


def _explicit(tree: ast.Module, file: str, name: str) -> Entry:
    if not name:
        return _predict_file(tree, file)
    if name in _classes(tree):
        return Entry("class", file, name)
    if name in _names(tree):
        return Entry("algorithmia" if name == "apply" else "function", file, name)
    raise PackFailed("entrypoint-missing", file=file, expected=f"'{name}', which BP_ENTRYPOINT names")


def _predict_file(tree: ast.Module, file: str = "predict.py") -> Entry:
    if "predict" in _names(tree):
        return Entry("function", file, "predict")
    classes = _classes(tree)
    if len(classes) > 1:
        raise PackFailed("ambiguous-entrypoint", file=file, names=classes)
    if classes:
        return Entry("class", file, classes[0])
    if "apply" in _names(tree):
        return Entry("algorithmia", file, "apply")
    raise PackFailed("entrypoint-missing", file=file, expected="a function predict, or a class with a method predict")


def _find_algorithmia(app: str) -> Entry | None:
    found = []
    for folder in ("src", ""):
        for file in sorted(_python_files(app, folder)):
            # A cheap look before a parse: most files of a repository are something else.
            source = _read(app, file)
            if b"def apply" not in source:
                continue
            tree = _parse(app, file)
            if tree is not None and "apply" in _names(tree) and (folder == "src" or _imports_adk(tree)):
                found.append(file)
    if len(found) > 1:
        raise PackFailed("ambiguous-entrypoint", file=", ".join(found), names=["apply"])
    return Entry("algorithmia", found[0], "apply") if found else None


def _python_files(app: str, folder: str) -> Iterator[str]:
    try:
        entries = list(os.scandir(f"{app}/{folder}" if folder else app))
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
            yield f"{folder}/{entry.name}" if folder else entry.name


def _read(app: str, file: str) -> bytes:
    try:
        with open(f"{app}/{file}", "rb") as source:
            return source.read(MAX_SOURCE_BYTES)
    except OSError:
        return b""


def _parse(app: str, file: str) -> ast.Module | None:
    if not os.path.isfile(f"{app}/{file}"):  # noqa: PTH113 -- no pathlib in buildpacks, packs/cnb.py says why
        return None
    try:
        return ast.parse(_read(app, file), filename=file)
    except SyntaxError as error:
        text = (error.text or "").strip()[:200]
        raise PackFailed("syntax-error", file=file, line=error.lineno or 0, text=text, message=error.msg) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise PackFailed("syntax-error", file=file, line=0, text="", message=str(error)) from error


def _names(tree: ast.Module) -> set[str]:
    """Names of functions that the module defines, imports or assigns at its top level."""
    names: set[str] = set()
    for node in _top(tree.body):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                names.add(node.name)
            case ast.ImportFrom():
                names.update(alias.asname or alias.name for alias in node.names)
            case ast.Assign():
                names.update(target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    return names


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    # `if` and `try` around a definition are common (optional imports); anything deeper is not an entry point.
    for node in body:
        yield node
        match node:
            case ast.If():
                yield from _top(node.body + node.orelse)
            case ast.Try():
                yield from _top(node.body + node.orelse + node.finalbody)
                for handler in node.handlers:
                    yield from _top(handler.body)
            case _:
                pass


def _classes(tree: ast.Module) -> list[str]:
    return [
        node.name
        for node in _top(tree.body)
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name == "predict" for item in node.body
        )
    ]


def _imports_adk(tree: ast.Module) -> bool:
    for node in _top(tree.body):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] in _ADK for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _ADK:
            return True
    return False


def _is_inside(path: str) -> bool:
    return bool(path) and not path.startswith("/") and ".." not in path.split("/")
