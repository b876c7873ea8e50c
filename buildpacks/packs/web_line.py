"""A Procfile's `web:` line, looked at before anything is started: what it names must be there, and hear of $PORT.

Rules of this file
1. Only what is certain is refused: a line with shell in it that is not understood here is started as it is.
2. A refusal says where the app really is, and gives the line to write.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from buildpacks.packs.app_objects import describe, find_apps
from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.fixed_ports import refuse_fixed_port
from buildpacks.packs.sources import parse_source, top_statements

# Program -> the package that has it.
PROGRAMS = {
    "gunicorn": "gunicorn", "uvicorn": "uvicorn", "hypercorn": "hypercorn", "daphne": "daphne",
    "waitress-serve": "waitress", "streamlit": "streamlit", "flask": "flask", "bentoml": "bentoml", "gradio": "gradio",
    "chainlit": "chainlit", "voila": "voila", "panel": "panel", "litserve": "litserve",
}  # fmt: skip
_WORKERS = {"uvicorn": "uvicorn", "gevent": "gevent", "eventlet": "eventlet", "tornado": "tornado"}
_FLAGS = frozenset({
    "--preload", "--reload", "--daemon", "-D", "--capture-output", "--enable-stdio-inheritance", "--check-config",
    "--no-sendfile", "--reuse-port", "--factory", "--proxy-headers", "--no-proxy-headers", "--no-access-log",
    "--access-log", "--use-colors", "--no-use-colors", "--no-server-header", "--no-date-header", "-R",
})  # fmt: skip
# Where these listen when nothing tells them, and what tells them. gunicorn reads PORT itself.
_UNTOLD = {
    "uvicorn": (8000, "--host 0.0.0.0 --port $PORT"),
    "streamlit run": (8501, "--server.port $PORT --server.address 0.0.0.0"),
    "flask run": (5000, "--host 0.0.0.0 --port $PORT"),
    "bentoml serve": (3000, "--port $PORT"),
}
_TARGET = re.compile(r"([A-Za-z_][\w.]*)(?::(.+))?")
_PORT = re.compile(r"(?:.*:)?(\d{2,5})")
_STRANGE = re.compile(r"[`|<>(){}*?!]|\$\(|\bif\b|\bfor\b|\bwhile\b")
_REQUIREMENTS = ("requirements.txt", "pyproject.toml", "Pipfile", "environment.yml", "uv.lock", "poetry.lock")


class Started(NamedTuple):
    """The last command of a web line. folder: where an earlier `cd` went; words: without exec and variables."""

    folder: str
    words: list[str]


def split_line(line: str) -> Started | None:
    """What the line starts in the end; None for one that a shell alone understands."""
    import shlex

    folder, words = "", list[str]()
    for part in re.split(r"&&|;|\n", line):
        target = re.sub(r"\$\{?\w+(?::-[^}]*)?\}?", "$", part)  # ${PORT:-8000} is a value like $PORT
        if _STRANGE.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", target)):
            return None
        try:
            words = shlex.split(part)
        except ValueError:
            return None
        while words and (words[0] == "exec" or re.match(r"[A-Za-z_]\w*=", words[0])):
            words = words[1:]
        if len(words) == 2 and words[0] == "cd" and not words[1].startswith(("/", "$", "~", "..")):
            folder = os.path.normpath(f"{folder}/{words[1]}" if folder else words[1])
    return Started(folder, words) if words else None


def prepares(line: str) -> bool:
    """Whether other commands than `cd` run before the one that serves: they may bring files that are not here now."""
    return any(part.split()[:1] != ["cd"] for part in re.split(r"&&|;|\n", line)[:-1])


def check_web_line(app: str, line: str) -> None:
    """Look at the last command of a line.

    Raises  PackFailed: web-file-missing, web-module-missing, web-name-missing, web-port-literal, web-port-untold,
            web-fixed-port
    """
    started = split_line(line)
    if started is None:
        return
    program, rest = os.path.basename(started.words[0]), started.words[1:]  # noqa: PTH119 -- no pathlib in buildpacks
    if re.fullmatch(r"python[\d.]*", program):
        if rest[:1] == ["-m"]:
            program, rest = (rest[1], rest[2:]) if len(rest) > 1 else ("", [])
        else:
            _check_script(app, started.folder, next((word for word in rest if not word.startswith("-")), ""))
            return
    match program:
        case "gunicorn" | "uvicorn" | "hypercorn" | "daphne":
            _check_port(app, line, program, rest)
            _check_target(app, started.folder, rest)
        case "streamlit" | "flask" | "bentoml":
            _check_port(app, line, program, rest)
            if program == "streamlit" and rest[:1] == ["run"]:
                _check_file(app, started.folder, next((word for word in rest[1:] if word.endswith(".py")), ""))
        case "node" | "sh" | "bash" | "ruby" | "Rscript":
            _check_file(app, started.folder, next((word for word in rest if not word.startswith("-")), ""))
        case _:
            pass


def entry_file(app: str, line: str) -> str:
    """The Python file of the repository that a line starts, "" when there is none or it cannot be told."""
    started = split_line(line)
    if started is None:
        return ""
    for word in started.words:
        match = _TARGET.fullmatch(word)
        files = [word] if word.endswith(".py") else [_module_file(app, started.folder, match[1])] if match else []
        for file in files:
            path = os.path.normpath(f"{started.folder}/{file}" if started.folder and word == file else str(file))
            if file and os.path.isfile(f"{app}/{path}"):  # noqa: PTH113 -- no pathlib in buildpacks
                return path
    return ""


def packages_of(line: str) -> list[dict[str, str]]:
    """Packages of the programs that a line starts, each giving way to a user who names it."""
    started = split_line(line)
    if started is None:
        return []
    why = "the Procfile's web line starts it"
    words = [word for word in started.words if word not in {"python", "python3", "-m"}]
    found = [PROGRAMS[words[0]]] if words and words[0] in PROGRAMS else []
    for option, value in _options(started.words):
        if option in {"-k", "--worker-class"}:
            found += [package for name, package in _WORKERS.items() if value.startswith(name)]
    return [{"spec": package, "why": why, "written_by": ""} for package in dict.fromkeys(found)]


def starts_python(line: str) -> bool:
    """Whether a line starts the interpreter itself, which an image has only when somebody asks for it."""
    started = split_line(line)
    return started is not None and bool(started.words) and started.words[0] in {"python", "python3"}


def _check_script(app: str, folder: str, file: str) -> None:
    if not file.endswith(".py"):
        return
    _check_file(app, folder, file)
    refuse_fixed_port(app, f"{folder}/{file}" if folder else os.path.normpath(file))


def _check_file(app: str, folder: str, file: str) -> None:
    path = os.path.normpath(f"{folder}/{file}" if folder else file)
    if not file or file.startswith(("/", "$", "-")) or os.path.exists(f"{app}/{path}"):
        return
    raise PackFailed("web-file-missing", file=path, found=_near(app, path) or _apps(app) or ["nothing like it"])


def _near(app: str, path: str) -> list[str]:
    """Files of the same name in another case or another folder, two levels deep."""
    wanted, found = path.rpartition("/")[2].lower(), []
    for folder in ("", *sorted(entry.name for entry in os.scandir(app) if entry.is_dir(follow_symlinks=False))):
        here = f"{app}/{folder}" if folder else app
        found += [f"{folder}/{n}" if folder else n for n in sorted(os.listdir(here)) if n.lower() == wanted]
    return found[:5]


def _apps(app: str) -> list[str]:
    return [describe(app, one) for one in find_apps(app)][:5]


def _check_target(app: str, folder: str, rest: Sequence[str]) -> None:
    """`gunicorn shop.web:app`: the module is a file here, and the name is one of its own."""
    target = _positional(rest)
    match = _TARGET.fullmatch(target)
    if match is None:
        return
    options = dict(_options(rest))
    where = options.get("--chdir", "") or options.get("--app-dir", "") or options.get("--pythonpath", "") or folder
    if where.startswith(("/", "$", "..")):
        return
    where = os.path.normpath(where) if where not in {"", "."} else ""
    module, name = match[1], (match[2] or "application").split("(")[0]
    file = _module_file(app, where, module)
    if file is None:
        top = f"{where}/{module.split('.')[0]}" if where else module.split(".")[0]
        if not os.path.isdir(f"{app}/{top}") and _is_required(app, module.split(".")[0]):  # noqa: PTH112 -- no pathlib
            return
        wanted = f"{where}/{module.replace('.', '/')}.py" if where else f"{module.replace('.', '/')}.py"
        raise PackFailed("web-module-missing", module=module, file=wanted, found=_apps(app) or ["nowhere that I see"])
    names = _top_names(parse_source(app, file))
    if names is not None and name.split(".")[0] not in names:
        mine = [describe(app, one) for one in find_apps(app) if one.file == file]
        raise PackFailed(
            "web-name-missing", module=module, name=name, file=file, found=mine or _apps(app) or ["no app"]
        )


def _module_file(app: str, folder: str, module: str) -> str | None:
    stem = "/".join(part for part in (folder, module.replace(".", "/")) if part)
    for file in (f"{stem}.py", f"{stem}/__init__.py"):
        if os.path.isfile(f"{app}/{file}"):  # noqa: PTH113 -- no pathlib in buildpacks
            return file
    return None


def _is_required(app: str, package: str) -> bool:
    """Whether a file of requirements speaks of it: then the module may come from there."""
    wanted = re.compile(rf"\b{re.escape(package).replace('_', '[-_.]')}\b".encode(), re.IGNORECASE)
    for file in _REQUIREMENTS:
        try:
            with open(f"{app}/{file}", "rb") as opened:
                data = opened.read(4 << 20)
        except OSError:
            continue
        if wanted.search(data.replace(b"\0", b"")):  # UTF-16 is read well enough for a name
            return True
    return False


def _top_names(tree: ast.Module | None) -> set[str] | None:
    """Names that a module has when it was imported; None when that cannot be told from its tree."""
    names: set[str] = set()
    for node in top_statements(tree.body) if tree is not None else ():
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names |= {alias.asname or alias.name.split(".")[0] for alias in aliases}
            case _:
                names |= {
                    inner.id
                    for inner in ast.walk(node)
                    if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
                }
    return None if tree is None or names & {"*", "__getattr__"} else names


def _check_port(app: str, line: str, program: str, rest: Sequence[str]) -> None:
    """A number where $PORT belongs, or nothing where the program has a number of its own."""
    options = dict(_options(rest))
    names = {"gunicorn": ("-b", "--bind"), "hypercorn": ("-b", "--bind"), "daphne": ("-p", "--port")}
    for name in names.get(program, ("--port", "-p", "--server.port", "--server-port")):
        match = _PORT.fullmatch(options.get(name, ""))
        if match is not None:
            raise PackFailed("web-port-literal", option=name, value=options[name], port=int(match[1]))
    untold = next(
        (_UNTOLD[name] for name in (program, *(f"{program} {word}" for word in rest)) if name in _UNTOLD), None
    )
    # A variable of that name, a socket, an earlier command or a file of settings may tell it.
    is_told = "PORT" in line or "--uds" in options or "--fd" in options or re.search(r"&&|;", line) is not None
    if untold is not None and not is_told and not os.path.exists(f"{app}/.streamlit/config.toml"):
        raise PackFailed("web-port-untold", program=program, port=untold[0], options=untold[1])


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, word in enumerate(words):
        if word.startswith("-"):
            name, has_value, value = word.partition("=")
            if not has_value and name not in _FLAGS and number + 1 < len(words):
                value = words[number + 1]
            yield name, value


def _positional(words: Sequence[str]) -> str:
    """The first word that is neither an option nor an option's value."""
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word.startswith("-"):
            is_value = "=" not in word and word not in _FLAGS
        else:
            return word
    return ""
