"""Which package manager a repository uses, and what its files ask for.

Rules of this file
1. Only the top of the tree is looked at, and what those files include: a repository of 10,000 files costs no more.
2. The user's files are never changed: `texts` is what a resolver reads in their place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.names import canonical
from buildpacks.packs.algo_python.wanted import Wanted
from buildpacks.packs.cnb import PackFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildpacks.packs.algo_python.locks import Locked

MAX_FILE_BYTES = 4 << 20
CONDA_FILES = ("environment.yml", "environment.yaml")
SETTING = "BP_REQUIREMENTS"
_ONE_FILE = {
    "requirements": "requirements.txt", "uv": "uv.lock", "pylock": "pylock.toml", "poetry-lock": "poetry.lock",
    "pipfile-lock": "Pipfile.lock", "pipfile": "Pipfile",
}  # fmt: skip
# A password may hold an @ of its own.
_ACCOUNT = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s]+@", re.IGNORECASE)
_WRITTEN = re.compile(r"[a-z][a-z0-9+.-]*://([^/\s\"']+)@", re.IGNORECASE)
# git@ is an account, no secret; a name after $ is filled in by the tool that the file is for; a $ inside is a
# password's own.
_FILLED = r"\$(?:\{\w+\}|[A-Z][A-Z0-9_]*)"
_NO_SECRET = re.compile(rf"git|(?:[^:$]*:)?{_FILLED}|{_FILLED}:(?:{_FILLED}|x-oauth-basic)?")


class Manager(NamedTuple):
    """How the user declares packages.

    kind     requirements, pyproject, poetry, pipfile, conda, setup; of locks: uv, pylock, poetry-lock, pipfile-lock,
             hashed (a requirements file whose every line has hashes); none
    file     as people call it; '' for none
    files    everything that decides: repository path -> bytes; `folder/` -> sha256 of what is in it
    named    canonical name -> the specifier that the user gave it ('' for none)
    lines    canonical name -> (file, line number, text)
    texts    repository path -> what a resolver reads in its place; empty: the file itself
    changes  how lines were read, a sentence each
    python   what those files say of the Python
    locked   packages of a lock, '' markers and hashes included; None: they have to be resolved
    bounded  canonical name -> the specifier that a constraints file gives it, for names that nothing asks for
    """

    kind: str
    file: str
    files: Mapping[str, bytes]
    named: Mapping[str, str]
    lines: Mapping[str, tuple[str, int, str]]
    texts: Mapping[str, str] = {}
    changes: Sequence[str] = ()
    python: Wanted | None = None
    locked: Sequence[Locked] | None = None
    bounded: Mapping[str, str] = {}


def read_manager(app: str, setting: str = "") -> Manager:
    """Look at the repository's dependency files.

    setting  the file that decides where there are several (BP_REQUIREMENTS), '' for none
    Raises   PackFailed: two-managers, manager-not-served, requirements-syntax, requirements-outside,
             requirements-ambiguous, index-credentials, lock-bad, conda-syntax, conda-without-wheels, setup-computed
    """
    from buildpacks.packs.algo_python import declared

    names = set(os.listdir(app)) if os.path.isdir(app) else set()  # noqa: PTH112 -- no pathlib in buildpacks
    if setting:
        if not is_file(app, setting):
            raise PackFailed("requirements-setting", setting=SETTING, file=setting)
        names = {setting}
    found = _managers(app, names, setting)
    if len(found) > 1:
        first, second = list(found.values())[:2]
        raise PackFailed("two-managers", first=first, second=second)
    for kind, file in found.items():
        return declared.READERS[kind](app, file)
    return Manager("none", "", {}, {}, {})


def _managers(app: str, names: set[str], setting: str) -> dict[str, str]:
    """Kind of reader -> the file that people call it by, in the order in which two are named."""
    from buildpacks.packs.algo_python.declared import includes_requirements

    found = {kind: file for kind, file in _ONE_FILE.items() if file in names}
    if "pipfile-lock" in found:
        found.pop("pipfile", None)
    conda = next((file for file in CONDA_FILES if file in names), "")
    if conda:
        found["conda"] = conda
        if "requirements" in found and includes_requirements(app, conda):
            del found["requirements"]  # the one includes the other
    if "pyproject.toml" in names and not found.keys() & {"uv", "pylock", "poetry-lock"}:
        kind = _project_kind(app, beside_requirements="requirements" in found)
        found |= {kind: "pyproject.toml"} if kind else {}
    if not found and setting:
        return {"requirements": setting}
    return found or _by_other_names(app, names)


def _project_kind(app: str, *, beside_requirements: bool) -> str:
    from buildpacks.packs.algo_python.declared import belongs_to_project, read_project

    project = read_project(app)
    if project is None or (beside_requirements and belongs_to_project(app)):
        return ""
    if project.has_dependencies:
        return "pyproject"
    return "poetry" if project.has_poetry else ""


def _by_other_names(app: str, names: set[str]) -> dict[str, str]:
    from buildpacks.packs.algo_python.declared import find_other_names, setup_asks

    other = find_other_names(app, names)
    if other:
        return {"requirements": other}
    for file in ("setup.cfg", "setup.py"):
        if file in names and setup_asks(app, file):
            return {"setup": file}
    return {}


def hide_secrets(text: str) -> str:
    """URLs without the account in front of the host."""
    return _ACCOUNT.sub(r"\1", text)


def refuse_secret(text: str, path: str) -> None:
    """A password in a file of the repository ends up in the lock, the log and the image.

    Raises  PackFailed('index-credentials') with the line
    """
    if "@" not in text or "://" not in text:
        return
    for number, line in enumerate(text.split("\n"), 1):
        for match in _WRITTEN.finditer(line.split(" #", 1)[0]):
            if _NO_SECRET.fullmatch(match[1]) is None:
                raise PackFailed("index-credentials", file=path, line=number)


def read_file(app: str, path: str) -> bytes | None:
    """A file of the repository; None for a path that leaves it, or that is none.

    Raises  PackFailed('requirements-syntax') for one that is larger than 4 MiB
    """
    if path.startswith("/") or ".." in path.split("/") or not is_file(app, path):
        return None
    with open(f"{app}/{path}", "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:  # the first part of a list is another list
        message = f"it is larger than {MAX_FILE_BYTES >> 20} MiB"
        raise PackFailed("requirements-syntax", file=path, line=0, text="", message=message)
    return data


def is_file(app: str, path: str) -> bool:
    """Whether the repository has this file."""
    return os.path.isfile(f"{app}/{path}")  # noqa: PTH113 -- no pathlib in buildpacks, packs/cnb.py says why


__all__ = ["Manager", "canonical", "hide_secrets", "read_manager"]
