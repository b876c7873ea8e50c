"""App objects in the syntax trees of a repository: `app = Flask(__name__)`, `def create_app()`, `import streamlit`."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.sources import (
    full_name,
    imported_names,
    local_file,
    local_imports,
    parse_source,
    python_files,
    read_source,
    source_line,
    top_statements,
)

# An app of one of these names is what people start; another beside it is a tool, an experiment or a part.
CONVENTIONAL = frozenset({
    "app.py", "main.py", "wsgi.py", "asgi.py", "application.py", "server.py", "api.py", "service.py",
    "streamlit_app.py",
})  # fmt: skip
FOLDERS = ("app", "src", "api", "backend", "server")
_MADE_BY = {
    "flask.Flask": "flask", "fastapi.FastAPI": "fastapi", "fastapi.applications.FastAPI": "fastapi",
    "starlette.applications.Starlette": "starlette", "quart.Quart": "quart", "dash.Dash": "dash",
    "gradio.Blocks": "gradio", "gradio.Interface": "gradio", "gradio.ChatInterface": "gradio",
    "gradio.TabbedInterface": "gradio", "bentoml.Service": "bentoml", "litserve.LitServer": "litserve",
}  # fmt: skip
_WORDS = tuple(sorted({name.split(".")[0].encode() for name in _MADE_BY} | {b"streamlit"}))
WSGI, ASGI = frozenset({"flask", "dash"}), frozenset({"fastapi", "starlette", "quart"})
_FACTORIES = ("create_app", "make_app", "get_app", "build_app")
_USUAL_NAMES = ("app", "application", "server")


class Found(NamedTuple):
    """An app object in a file: its framework, its name (`app`, `create_app()`), the line that makes it."""

    file: str
    framework: str
    name: str
    line: int


def find_apps(app: str) -> list[Found]:
    """Every app of the top folder, a Django project's; only without one, those of the folders where apps are put."""
    of_django = _django(app)
    if of_django:
        return [*of_django, *_find_in(app, python_files(app))]
    for folder in ("", *FOLDERS):
        found = _find_in(app, python_files(app, folder))
        if found:
            return found
    return []


def describe(app: str, found: Found) -> str:
    """`app.py line 5: app = Flask(__name__)`."""
    return f"{found.file} line {found.line}: {source_line(app, found.file, found.line)}"


def _django(app: str) -> list[Found]:
    if not os.path.isfile(f"{app}/manage.py"):  # noqa: PTH113 -- no pathlib in buildpacks
        return []
    from buildpacks.packs.django_apps import find_objects, find_project  # late: few repositories have a manage.py

    project = find_project(app)
    if project is None:
        return []
    return [Found(file, "django", name, line) for file, name, line in find_objects(app, project)]


def _find_in(app: str, files: Sequence[str]) -> list[Found]:
    found, parts = [], set()
    for file in files:
        # A cheap look before a parse: most files of a repository are something else.
        source = read_source(app, file)
        is_entry = os.path.basename(file) in CONVENTIONAL  # noqa: PTH119 -- no pathlib in buildpacks
        if not is_entry and not any(word in source for word in _WORDS):
            continue
        tree = parse_source(app, file)
        if tree is None:
            continue
        mine = _apps_of(app, file, tree)
        found += mine
        if mine:
            parts.update(local_imports(app, tree, file))
    roots = [one for one in found if one.file not in parts]
    return roots or found


def _apps_of(app: str, file: str, tree: ast.Module) -> list[Found]:
    names = imported_names(tree)
    made = made_in(tree, names, file) or _factories(tree, names, file) or _borrowed(app, tree, names, file)
    kinds = {one.framework for one in made}
    used = {full_name(node.func, names) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    methods = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    if "gradio.mount_gradio_app" in used or "launch" not in methods:
        made = [one for one in made if one.framework != "gradio"]
    if "run" not in methods:
        made = [one for one in made if one.framework != "litserve"]
    if (kinds & ASGI and any(name.endswith("WSGIMiddleware") for name in used)) or "dash" in kinds:
        made = [one for one in made if one.framework != "flask"]
    made += _bento_classes(tree, names, file)
    if not made:
        line = _imports_streamlit(tree)
        made = [Found(file, "streamlit", "", line)] if line else []
    return _one_of_each(made)


def made_in(tree: ast.Module, names: Mapping[str, str], file: str) -> list[Found]:
    """`app = Flask(__name__)`, `with gr.Blocks() as demo:`, wherever they run when the file is started."""
    found = []
    for node in top_statements(tree.body):
        for target, value in _named_values(node):
            framework = _framework(_innermost(value), names)
            if framework and isinstance(target, ast.Name):
                found.append(Found(file, framework, target.id, node.lineno))
    return found or _called_at_once(tree, names, file)


def _named_values(node: ast.stmt) -> list[tuple[ast.expr | None, ast.expr | None]]:
    match node:
        case ast.Assign(targets=[target, *_], value=value):
            return [(target, value)]
        case ast.AnnAssign(target=target, value=value):
            return [(target, value)]
        case ast.With(items=items):
            return [(item.optional_vars, item.context_expr) for item in items]
        case _:
            return []


def _innermost(value: ast.expr | None) -> ast.expr | None:
    """gr.Interface(...).queue(): the first call of the chain made it."""
    while (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and isinstance(value.func.value, ast.Call)
    ):
        value = value.func.value
    return value


def _called_at_once(tree: ast.Module, names: Mapping[str, str], file: str) -> list[Found]:
    """gr.Interface(...).launch() without a name, and servers that a main() makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _framework(node, names) in {"gradio", "litserve"}:
            return [Found(file, _framework(node, names), "", node.lineno)]
    return []


def _framework(value: ast.expr | None, names: Mapping[str, str]) -> str:
    if not isinstance(value, ast.Call):
        return ""
    name = full_name(value.func, names)
    if "." not in name:  # `from flask import *`
        name = next(
            (
                known
                for known in _MADE_BY
                if known.endswith(f".{name}") and f"{known.split('.')[0]}.*" in names.values()
            ),
            name,
        )
    return _MADE_BY.get(name, "")


def _factories(tree: ast.Module, names: Mapping[str, str], file: str) -> list[Found]:
    """`def create_app():` that makes an app and can be called as it is."""
    found = []
    for node in top_statements(tree.body):
        if not isinstance(node, ast.FunctionDef) or node.name not in _FACTORIES:
            continue
        args = node.args
        is_free = len(args.posonlyargs + args.args) == len(args.defaults) and None not in args.kw_defaults
        made = {_framework(inner, names) for inner in ast.walk(node) if isinstance(inner, ast.Call)}
        framework = next((kind for kind in ("fastapi", "starlette", "quart", "flask") if kind in made), "")
        if is_free and framework:
            found.append(Found(file, framework, f"{node.name}()", node.lineno))
    return found


def _borrowed(app: str, tree: ast.Module, names: Mapping[str, str], file: str) -> list[Found]:
    """wsgi.py: `from shop import create_app` and `app = create_app()`, or `from shop import app` alone."""
    found = []
    for node in top_statements(tree.body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call):
            origin = _origin(app, full_name(node.value.func, names), file)
            if origin is not None and origin.name.endswith("()"):
                found.append(Found(file, origin.framework, node.targets[0].id, node.lineno))
        elif isinstance(node, ast.ImportFrom) and os.path.basename(file) in {"wsgi.py", "asgi.py", "main.py", "run.py"}:  # noqa: PTH119
            for alias in node.names:
                origin = _origin(app, names[alias.asname or alias.name], file)
                if origin is not None and not origin.name.endswith("()"):
                    found.append(Found(file, origin.framework, alias.asname or alias.name, node.lineno))
    return found


def _origin(app: str, name: str, file: str) -> Found | None:
    module, _, wanted = name.rpartition(".")
    other = local_file(app, module, file) if module.strip(".") else None
    tree = parse_source(app, other) if other is not None and other != file else None
    if tree is None or other is None:
        return None
    names = imported_names(tree)
    known = [*made_in(tree, names, other), *_factories(tree, names, other)]
    return next((one for one in known if one.name.removesuffix("()") == wanted and one.framework in WSGI | ASGI), None)


def _bento_classes(tree: ast.Module, names: Mapping[str, str], file: str) -> list[Found]:
    return [
        Found(file, "bentoml", node.name, node.lineno)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for mark in node.decorator_list
        if full_name(mark.func if isinstance(mark, ast.Call) else mark, names) == "bentoml.service"
    ]


def _imports_streamlit(tree: ast.Module) -> int:
    """The line, 0 for none. Every file of a streamlit app imports it: which one is the app, _choose() finds."""
    for node in top_statements(tree.body):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "streamlit" for alias in node.names):
            return node.lineno
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "streamlit" and not node.level:
            return node.lineno
    return 0


def _one_of_each(found: Sequence[Found]) -> list[Found]:
    """Of several app objects of one framework in a file, the one of the usual name; all of them when none has it."""
    kept: list[Found] = []
    for framework in dict.fromkeys(one.framework for one in found):
        mine = [one for one in found if one.framework == framework]
        usual = [one for name in _USUAL_NAMES for one in mine if one.name == name][:1]
        # A page may define several gradio or litserve objects: the file is started, whichever of them it launches.
        kept += mine[:1] if framework in {"gradio", "litserve"} else usual or mine
    return kept
