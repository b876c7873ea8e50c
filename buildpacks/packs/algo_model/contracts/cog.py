"""Cog: cog.yaml names the predictor; its build section names packages.

Source  cog 0.23.1: `predict:` (or `run:`) is "file.py:Name"; without a name it is Runner, then Predictor
"""

from __future__ import annotations

import os

from buildpacks.packs.algo_model.contracts.entry import Entry
from buildpacks.packs.algo_model.contracts.syntax import classes, functions, is_inside, methods, parse
from buildpacks.packs.cnb import PackFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Mapping

FILE = "cog.yaml"
KEYS = ("run", "predict")
UNNAMED = ("Runner", "Predictor")
_MAX_BYTES = 1 << 20


def find(app: str) -> Entry | None:
    """The predictor that cog.yaml names; None without cog.yaml, and for one that only builds an image.

    Raises  PackFailed: cog-yaml, entrypoint-missing, syntax-error
    """
    path = f"{app}/{FILE}"
    if not os.path.isfile(path):  # noqa: PTH113 -- no pathlib in buildpacks
        return None
    from buildpacks.yaml_subset import NotRead, parse_yaml  # late: most repositories come without this file

    with open(path, "rb") as file:
        data = file.read(_MAX_BYTES)
    try:
        document = parse_yaml(data, as_text=True)
    except NotRead as error:
        raise PackFailed("cog-yaml", message=str(error)) from error
    if document is None:
        return None
    if not isinstance(document, dict):
        raise PackFailed("cog-yaml", message="it has no KEY: VALUE at its top")
    found = [key for key in KEYS if isinstance(document.get(key), str) and document[key]]
    if len(found) > 1:
        raise PackFailed("cog-yaml", message="it has run and predict; one of them says what is called")
    if not found:
        return None
    named = document[found[0]]
    file_name, _, name = named.partition(":")
    tree = parse(app, file_name) if is_inside(file_name) else None
    if tree is None:
        raise PackFailed("entrypoint-missing", file=file_name, expected=f"the file that {FILE} names")
    why = f"{FILE} line {_line_of(data.decode('utf-8-sig'), found[0])}: {found[0]}: {named}"
    return Entry("cog", file_name, _entry_name(tree, file_name, name), why, _packages(document))


def is_predictor(node: ast.ClassDef) -> bool:
    """A class that derives from one of cog's."""
    import ast

    bases = {base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in node.bases}
    return bool(bases & {"BasePredictor", "BaseRunner"})


def _entry_name(tree: ast.Module, file: str, name: str) -> str:
    known = classes(tree)
    if not name:
        name = next((candidate for candidate in UNNAMED if candidate in known), "")
        if not name:
            raise PackFailed("entrypoint-missing", file=file, expected=f"a class {' or '.join(UNNAMED)}")
    elif name not in known and name not in functions(tree):
        raise PackFailed("entrypoint-missing", file=file, expected=f"'{name}', which {FILE} names")
    if name in known and not methods(known[name]) & set(KEYS) and not known[name].bases:
        raise PackFailed("entrypoint-missing", file=file, expected=f"a method predict in its class {name}")
    return name


def _packages(document: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    build = document.get("build")
    listed = build.get("python_packages") if isinstance(build, dict) else None
    return tuple((spec, FILE) for spec in listed if isinstance(spec, str)) if isinstance(listed, list) else ()


def _line_of(text: str, key: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if line.startswith(f"{key}:")), 0)
