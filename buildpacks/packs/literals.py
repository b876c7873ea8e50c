"""The text of an expression where it stands fast: literals, constants of a module, paths made of them.  Pure.

A path that begins at __file__ or at the working folder is told as `//app/...`: below the repository.
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Mapping

from buildpacks.packs.sources import full_name

APP = "//app/"
_SAME = frozenset({"os.path.abspath", "os.path.realpath", "os.path.normpath", "os.fspath", "str", "pathlib.Path",
                   "pathlib.PurePath", "os.path.expanduser"})  # fmt: skip
_SAME_METHODS = frozenset({"resolve", "absolute", "as_posix", "expanduser"})


def text_of(node: ast.expr | None, known: Mapping[str, str], names: Mapping[str, str], file: str) -> str | None:
    """The text, None when it depends on anything that is not written there.

    known  constants of the module, see constants_of
    names  what the module imports, see sources.imported_names
    """
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.Name(id="__file__"):
            return f"{APP}{file}"
        case ast.Name(id=name):
            return known.get(name)
        case ast.JoinedStr(values=values):
            parts = [text_of(value.value if isinstance(value, ast.FormattedValue) else value, known, names, file)
                     for value in values]  # fmt: skip
            return None if None in parts else "".join(part for part in parts if part is not None)
        case ast.BinOp(left=left, op=ast.Add() | ast.Div() as op, right=right):
            first, second = text_of(left, known, names, file), text_of(right, known, names, file)
            if first is None or second is None:
                return None
            return first + second if isinstance(op, ast.Add) else posixpath.join(first, second)
        case ast.Attribute(value=inner, attr="parent"):
            text = text_of(inner, known, names, file)
            return None if text is None else posixpath.dirname(text)
        case ast.Attribute() as attribute:
            return known.get(full_name(attribute, {}))
        case ast.Call() as call:
            return _text_of_call(call, known, names, file)
        case _:
            return None


def _text_of_call(call: ast.Call, known: Mapping[str, str], names: Mapping[str, str], file: str) -> str | None:
    name = full_name(call.func, names)
    parts = [text_of(arg, known, names, file) for arg in call.args]
    texts = [part for part in parts if part is not None]
    if name in {"os.getcwd", "pathlib.Path.cwd"}:
        return APP
    if isinstance(call.func, ast.Attribute) and call.func.attr in _SAME_METHODS and not call.args:
        return text_of(call.func.value, known, names, file)
    if not texts or len(texts) != len(parts):
        return None
    if name in {"os.path.join", "posixpath.join"} or (name == "pathlib.Path" and len(texts) > 1):
        return posixpath.join(*texts)
    if name == "os.path.dirname":
        return posixpath.dirname(texts[0])
    return texts[0] if name in _SAME else None


def constants_of(tree: ast.Module, names: Mapping[str, str], file: str) -> dict[str, str]:
    """Names that a module gives a fixed text, once: MODEL = os.path.join(HERE, "model.pkl")."""
    known: dict[str, str] = {}
    twice: set[str] = set()
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                text = text_of(value, known, names, file)
                if name in known or name in twice or text is None:
                    twice.add(name)
                    known.pop(name, None)
                else:
                    known[name] = text
            case _:
                pass
    return known
