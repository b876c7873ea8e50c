"""Ports that stand in the code, found before anything is started: such a server never hears of $PORT."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from buildpacks.packs.app_objects import made_in
from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.sources import full_name, imported_names, parse_source, read_source, source_line, top_statements

# Where a server listens when it is not told: Flask and Dash's run(), LitServer.run(), uvicorn.run().
_RUNS = {"run": "port", "run_server": "port", "launch": "server_port"}
_DEFAULT_PORT = {"flask": 5000, "uvicorn": 8000}
_TOLD_BY_US = frozenset({"streamlit", "litserve"})


def refuse_fixed_port(app: str, file: str, *, only: Sequence[str] = ()) -> None:
    """Raises PackFailed('web-fixed-port') when starting the file listens on a port that stands in its code.

    only  frameworks to look for; without it all: app.run(port=5000), app.run() of Flask, uvicorn.run(app, port=8000),
          demo.launch(server_port=7860)
    """
    tree = parse_source(app, file)
    if tree is None:
        return
    names = imported_names(tree)
    kinds = {one.name: one.framework for one in made_in(tree, names, file)}
    for call, method in _started_servers(tree):
        owner = method.value.id if isinstance(method.value, ast.Name) else ""
        kind = "uvicorn" if full_name(method, names) == "uvicorn.run" else kinds.get(owner, "")
        if not kind or kind in _TOLD_BY_US or (only and kind not in only):
            continue
        port = _fixed_port(call, _RUNS[method.attr], kind, has_server_name=b"SERVER_NAME" in read_source(app, file))
        if port is not None:
            raise PackFailed(
                "web-fixed-port", file=file, line=call.lineno, port=port, text=source_line(app, file, call.lineno),
                change=f'{_RUNS[method.attr]}=int(os.environ["PORT"])',
            )  # fmt: skip


def _started_servers(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.Attribute]]:
    for statement in top_statements(tree.body):
        for node in ast.walk(statement) if isinstance(statement, ast.Expr) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _RUNS:
                yield node, node.func


def _fixed_port(call: ast.Call, option: str, kind: str, *, has_server_name: bool) -> int | None:
    """The number in the code, or the framework's own when the code names none; None when something else decides."""
    given: Mapping[str | None, ast.expr] = {keyword.arg: keyword.value for keyword in call.keywords}
    port = given.get(option) or (call.args[1] if kind == "flask" and len(call.args) > 1 else None)
    if port is not None:
        return port.value if isinstance(port, ast.Constant) and isinstance(port.value, int) else None
    # **options, and Flask's SERVER_NAME, may hold one that nobody sees here.
    return None if None in given or has_server_name else _DEFAULT_PORT.get(kind)
