"""The command that starts an app, by the convention of its framework.

Where to listen is told by the flags or variables that each framework documents, never by changed code.

Sources  https://docs.gunicorn.org/en/stable/settings.html ; https://www.uvicorn.org/settings/ ;
         https://docs.streamlit.io/develop/api-reference/configuration/config.toml ;
         https://www.gradio.app/guides/environment-variables ; https://dash.plotly.com/reference#app.run ;
         https://docs.bentoml.com/en/latest/reference/bentoml/cli.html ; https://lightning.ai/docs/litserve
"""

from __future__ import annotations

import ast
import os
import re

from buildpacks.packs.app_objects import ASGI, Found
from buildpacks.packs.sources import parse_source, read_source, top_statements

_BENTOFILE = re.compile(r"^service:\s*[\"']?([\w./-]+):(\w+)", re.MULTILINE)
_HOST = "${HOST:-0.0.0.0}"
# LitServer.run() has its port in the code; its own server is asked for ours. A client file would be written beside it.
LITSERVE = (
    "import os, runpy, sys, litserve as ls\n"
    "run, where = ls.LitServer.run, {'host': os.environ.get('HOST', '0.0.0.0'), 'port': int(os.environ['PORT'])}\n"
    "ls.LitServer.run = lambda self, *args, **given: run(self, **{**given, **where, 'generate_client_file': False})\n"
    "sys.argv = sys.argv[1:]\n"
    "sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')\n"
)


def with_exec(line: str) -> str:
    # exec: the app gets SIGTERM itself. It stands behind the variables that only this one command is to see.
    words = line.split(" ")
    first = next(number for number, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
    return " ".join([*words[:first], "exec", *words[first:]])


def command_line(app: str, found: Found) -> str:
    """The command as a Procfile has it."""
    file, framework = found.file, found.framework
    name = found.name
    if framework == "streamlit":
        return (
            f"streamlit run {file} --server.port $PORT --server.address {_HOST} --server.headless true "
            "--browser.gatherUsageStats false"
        )
    if framework == "gradio":
        return f"GRADIO_SERVER_PORT=$PORT GRADIO_SERVER_NAME={_HOST} python {file}"
    if framework == "litserve":
        return f"python {file}"
    module, folder = _module(app, file)
    if framework == "bentoml":
        where = f" --working-dir {folder}" if folder else ""
        return f"bentoml serve {_bento_target(app) or f'{module}:{name}'} --port $PORT --host {_HOST}{where}"
    if framework == "dash":
        name = _dash_server(app, file)
        if not name:
            return f"python {file}"
    if framework in ASGI or (framework == "django" and file.endswith("asgi.py")):
        where = f" --app-dir {folder}" if folder else ""
        factory = " --factory" if name.endswith("()") else ""
        return f"uvicorn {module}:{name.removesuffix('()')} --host {_HOST} --port $PORT{factory}{where}"
    where = f" --chdir {folder}" if folder else ""
    target = f"'{module}:{name}'" if name.endswith("()") else f"{module}:{name}"
    return f"gunicorn {target} --bind {_HOST}:$PORT{where}"


def _module(app: str, file: str) -> tuple[str, str]:
    """Dotted name of a file and the folder to start in: its own when it imports its neighbours by their bare names."""
    stem, folder = file.removesuffix(".py"), file.rpartition("/")[0]
    tree = parse_source(app, file) if folder else None
    if tree is None:
        return stem.replace("/", "."), ""
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        for module in modules:
            first = f"{folder}/{module.split('.')[0]}"
            if os.path.isfile(f"{app}/{first}.py") or os.path.isdir(f"{app}/{first}"):  # noqa: PTH112, PTH113 -- no pathlib
                return stem.rpartition("/")[2], folder
    return stem.replace("/", "."), ""


def _dash_server(app: str, file: str) -> str:
    """The WSGI app of a Dash file: `server = app.server`, or the one that was given to Dash(server=...)."""
    tree = parse_source(app, file)
    for node in top_statements(tree.body) if tree is not None else ():
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Attribute(attr="server")):
                return name
            case ast.Assign(value=ast.Call(keywords=keywords)):
                for keyword in keywords:
                    if keyword.arg == "server" and isinstance(keyword.value, ast.Name):
                        return keyword.value.id
            case _:
                pass
    return ""


def _bento_target(app: str) -> str:
    match = _BENTOFILE.search(read_source(app, "bentofile.yaml").decode("utf-8", "replace"))
    return f"{match[1].removesuffix('.py')}:{match[2]}" if match else ""
