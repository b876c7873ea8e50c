"""Projects that declare packages without a lock: pyproject.toml, Poetry's tables, Pipfile, setup.cfg, setup.py.  Pure.

Nothing of the repository is executed: setup.py is read as a syntax tree, and refused where a value is computed.
Source  Poetry documentation "Dependency specification"; Pipenv's Pipfile; setuptools "Declarative config"
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.names import canonical
from buildpacks.packs.cnb import PackFailed


class Project(NamedTuple):
    """specs as PEP 508 writes them; python as PEP 440 clauses, '' for any."""

    specs: Sequence[str]
    python: str


def parse_poetry(tool: Mapping[str, object], file: str) -> Project:
    """[tool.poetry.dependencies]. Raises PackFailed('spec-bad')."""
    table = tool.get("dependencies")
    specs, python = [], ""
    for name, value in table.items() if isinstance(table, dict) else ():
        if canonical(name) == "python":
            python = caret(str(value), file) if isinstance(value, str) else ""
        else:
            specs += _poetry_specs(name, value, file)
    return Project(specs, python)


def parse_pipfile(document: Mapping[str, object], file: str) -> Project:
    """[packages] and [requires]. Raises PackFailed('spec-bad')."""
    packages, requires = document.get("packages"), document.get("requires")
    specs = []
    for name, value in packages.items() if isinstance(packages, dict) else ():
        specs += _poetry_specs(name, value, file)
    return Project(specs, pipfile_python(requires if isinstance(requires, dict) else {}))


def pipfile_python(requires: Mapping[str, object]) -> str:
    """Clauses of a Pipfile's `requires`, or of the lock's `_meta.requires`."""
    minor = re.match(r"\d+\.\d+", str(requires.get("python_full_version") or requires.get("python_version") or ""))
    return f"=={minor[0]}.*" if minor is not None else ""


def parse_setup_cfg(text: str) -> Project:
    """[options] of setup.cfg. Raises PackFailed('requirements-syntax')."""
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise PackFailed(
            "requirements-syntax", file="setup.cfg", line=getattr(error, "lineno", 0) or 0, text="",
            message=str(error)[:200],
        ) from error  # fmt: skip
    wanted = parser.get("options", "install_requires", fallback="")
    if wanted.strip().startswith("file:"):
        raise PackFailed("setup-computed", file="setup.cfg", line=0, what="install_requires")
    # A list over several lines has one requirement a line, whose `;` begins a marker; else `;` separates them.
    listed = wanted.splitlines() if "\n" in wanted else wanted.split(";")
    specs = [line.split(" #", 1)[0].strip() for line in listed]
    return Project([spec for spec in specs if spec], parser.get("options", "python_requires", fallback="").strip())


def parse_setup_py(text: str) -> Project:
    """install_requires and python_requires of a setup() call, where they are written out.

    Raises  PackFailed: syntax-error; setup-computed where only running the file would tell
    """
    import ast

    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise PackFailed(
            "syntax-error", file="setup.py", line=error.lineno or 0, message=error.msg,
            text=(error.text or "").strip()[:200],
        ) from error  # fmt: skip
    names = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    values: dict[str, object] = {"install_requires": [], "python_requires": ""}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func).rpartition(".")[2] != "setup":
            continue
        given = {keyword.arg for keyword in node.keywords}
        if None in given and "install_requires" not in given:  # setup(**options)
            raise PackFailed("setup-computed", file="setup.py", line=node.lineno, what="install_requires")
        for keyword in node.keywords:
            if keyword.arg in values:
                value = names.get(keyword.value.id) if isinstance(keyword.value, ast.Name) else keyword.value
                try:
                    values[keyword.arg] = ast.literal_eval(value) if value is not None else None
                except ValueError:
                    values[keyword.arg] = None
                if values[keyword.arg] is None:
                    raise PackFailed("setup-computed", file="setup.py", line=keyword.value.lineno, what=keyword.arg)
    wanted = values["install_requires"]
    specs = wanted.split("\n") if isinstance(wanted, str) else wanted
    listed = [str(spec).strip() for spec in specs] if isinstance(specs, list | tuple) else []
    return Project([spec for spec in listed if spec], str(values["python_requires"]))


def _poetry_specs(name: str, value: object, file: str) -> list[str]:
    if isinstance(value, list):
        return [spec for one in value for spec in _poetry_specs(name, one, file)]
    item: Mapping[str, object] = value if isinstance(value, dict) else {"version": value}
    if item.get("optional"):
        return []
    if "path" in item:  # a folder of the repository; '.' is the repository itself, whose files are there
        path = str(item["path"]).removeprefix("./").rstrip("/")
        return [] if path in {"", "."} else [path if path.startswith("..") else f"./{path}"]
    extras = item.get("extras")
    full = f"{name}[{','.join(map(str, extras))}]" if isinstance(extras, list) and extras else name
    marker = f" ; {item['markers']}" if item.get("markers") else ""
    if item.get("python"):
        marker = f"{marker} and {_python_marker(str(item['python']), file)}" if marker else (
            f" ; {_python_marker(str(item['python']), file)}"
        )  # fmt: skip
    if "git" in item:
        ref = item.get("rev") or item.get("ref") or item.get("tag") or item.get("branch")
        return [f"{full} @ git+{item['git']}{f'@{ref}' if ref else ''}{marker}"]
    if "url" in item or "file" in item:
        return [f"{full} @ {item.get('url') or item.get('file')}{marker}"]
    return [f"{full}{caret(str(item.get('version', '*')), file)}{marker}"]


def _python_marker(spec: str, file: str) -> str:
    clauses = [re.fullmatch(r"(\D+?)([\d.*]+)", clause) for clause in caret(spec, file).split(",")]
    return " and ".join(f"python_version {clause[1]} '{clause[2]}'" for clause in clauses if clause is not None)


def caret(spec: str, file: str) -> str:
    """Poetry's `^1.2`, `~1.2`, `1.2.*`, `1.2`, `*` as PEP 440 clauses. Raises PackFailed('spec-bad')."""
    if "||" in spec or "|" in spec:
        spec = spec.rpartition("|")[2]  # the last alternative is the newest, as people write them
    clauses = []
    for part in spec.replace(" ", "").split(","):
        match = re.fullmatch(r"(\^|~=|~|===|==|=|!=|>=|<=|>|<)?v?(\d[\w.+!*-]*|\*)", part)
        if match is None:
            raise PackFailed("spec-bad", file=file, text=spec[:100])
        operator, version = match[1] or "", match[2]
        if version == "*":
            continue
        if operator in {"^", "~"}:
            numbers = [int(number) for number in re.findall(r"\d+", version.split("-")[0])[:3]]
            clauses.append(f">={version},<{_next(operator, numbers)}")
        else:
            clauses.append(f"{'==' if operator in {'', '='} else operator}{version}")
    return ",".join(clauses)


def _next(operator: str, numbers: Sequence[int]) -> str:
    if operator == "~":
        at = min(1, len(numbers) - 1)
    else:
        at = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1)
    return ".".join(map(str, [*numbers[:at], numbers[at] + 1]))
