"""Cog: cog.yaml names the predictor; its build section names packages.

    predict, run          "file.py:Name"; without a name it is Runner, then Predictor
    python_version        read by algo/python, which chooses (packs/algo_python/wanted.py)
    python_requirements   a requirements file, python_packages: requirement lines. What the repository's own list at the
                          top says of a package comes first
    system_packages, run, gpu, cuda   told: what is Debian's belongs into an Aptfile

Source  cog 0.23.1, docs/yaml.md
"""

from __future__ import annotations

import os

from buildpacks.packs.algo_model.contracts.entry import Entry
from buildpacks.packs.algo_model.contracts.lists import listed_in
from buildpacks.packs.algo_model.contracts.syntax import classes, functions, is_inside, methods, parse, read
from buildpacks.packs.cnb import PackFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Mapping

FILE = "cog.yaml"
KEYS = ("run", "predict")
UNNAMED = ("Runner", "Predictor")
TOP_LIST, APTFILE = "requirements.txt", "Aptfile"
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
    name = _entry_name(tree, file_name, name)
    build = document.get("build")
    build = build if isinstance(build, dict) else {}
    return Entry("cog", file_name, name, why, _packages(app, build), _notes(app, build))


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


def _packages(app: str, build: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    path = build.get("python_requirements")
    of_file: tuple[tuple[str, str], ...] = ()
    if isinstance(path, str) and path:
        if not is_inside(path) or not os.path.isfile(f"{app}/{path}"):  # noqa: PTH113 -- no pathlib in buildpacks
            raise PackFailed("cog-yaml", message=f"python_requirements is {path}, which is no file of this repository")
        of_file = listed_in(app, path) if path != TOP_LIST else ()  # that one is read with all that it includes
    return *of_file, *((spec, FILE) for spec in _texts(build.get("python_packages")))


def _notes(app: str, build: Mapping[str, object]) -> tuple[str, ...]:
    notes = []
    here = read(app, APTFILE).decode("utf-8", "replace").split()
    wanted = " ".join(name for name in _texts(build.get("system_packages")) if name not in here)[:300]
    if wanted:
        notes.append(f"{FILE} names system packages, which are installed from a file {APTFILE} alone: "
                     f"printf '%s\\n' {wanted} >> {APTFILE}")  # fmt: skip
    if build.get("run"):
        notes.append(f"{FILE} has build.run commands, which are not run; what they install belongs into {APTFILE} or "
                     "python_packages")  # fmt: skip
    if build.get("gpu") == "true" or build.get("cuda"):
        notes.append(f"{FILE} asks for a GPU; builds for processors are installed unless BP_GPU says otherwise: "
                     "algo config set BP_GPU=1")  # fmt: skip
    return tuple(notes)


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _line_of(text: str, key: str) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) if line.startswith(f"{key}:")), 0)
