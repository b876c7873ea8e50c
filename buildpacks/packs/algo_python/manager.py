"""Which package manager a repository uses, and what its files ask for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.cnb import PackFailed

MAX_FILE_BYTES = 4 << 20
MAX_FILES = 50
_UNSUPPORTED = {"Pipfile": "Pipenv", "Pipfile.lock": "Pipenv", "poetry.lock": "Poetry", "environment.yml": "conda"}
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*([^;#]*)")
_INCLUDE = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)")
_URL_SECRET = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s@]+@", re.IGNORECASE)


class Manager(NamedTuple):
    """How the user declares packages.

    kind   requirements, pyproject, uv, none
    file   as people call it; '' for none
    files  everything that decides: repository path -> bytes
    named  canonical name -> the specifier that the user gave it ('' for none)
    lines  canonical name -> (file, line number, text)
    """

    kind: str
    file: str
    files: Mapping[str, bytes]
    named: Mapping[str, str]
    lines: Mapping[str, tuple[str, int, str]]


def read_manager(app: str) -> Manager:
    """Look at the repository's dependency files.

    Raises  PackFailed: two-managers, manager-not-served, requirements-syntax, requirements-outside, index-credentials
    """
    project = _read(app, "pyproject.toml")
    table = _project_table(project) if project is not None else None
    has = {name for name in ("requirements.txt", "uv.lock") if _is_file(app, name)}
    managers = {
        **({"pip": "requirements.txt"} if "requirements.txt" in has else {}),
        **({"uv": "uv.lock"} if "uv.lock" in has else {}),
        **({manager: name for name, manager in _UNSUPPORTED.items() if _is_file(app, name)}),
    }
    if table is not None and "dependencies" in table and "uv" not in managers and "Poetry" not in managers:
        managers["pyproject"] = "pyproject.toml"
    if len(managers) > 1:
        first, second = list(managers.values())[:2]
        raise PackFailed("two-managers", first=first, second=second)
    match list(managers):
        case []:
            return Manager("none", "", {}, {}, {})
        case ["pip"]:
            return _requirements(app)
        case ["uv"]:
            return _uv_lock(app, project)
        case ["pyproject"]:
            assert table is not None
            assert project is not None
            return _pyproject(table, project)
        case [name]:
            raise PackFailed("manager-not-served", manager=name, file=managers[name])
        case _:
            raise AssertionError(managers)


def canonical(name: str) -> str:
    """PEP 503's one spelling of a package name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hide_secrets(text: str) -> str:
    """URLs without the account in front of the host."""
    return re.sub(r"([a-z][a-z0-9+.-]*://)[^/\s@]+@", r"\1", text, flags=re.IGNORECASE)


def _requirements(app: str) -> Manager:
    files: dict[str, bytes] = {}
    named: dict[str, str] = {}
    lines: dict[str, tuple[str, int, str]] = {}
    waiting = ["requirements.txt"]
    while waiting:
        path = waiting.pop()
        if path in files:
            continue
        data = _read(app, path)
        if data is None or len(files) >= MAX_FILES:
            raise PackFailed("requirements-outside", file=path)
        files[path] = data
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            _refuse_secret(line, path, number)
            include = _INCLUDE.match(line)
            if include is not None:
                waiting.append(_join(path, include[1]))
                continue
            match = _NAME.match(line)
            if match is not None and "://" not in match[1]:
                named[canonical(match[1])] = match[2].strip()
                lines[canonical(match[1])] = (path, number, line.strip()[:200])
    return Manager("requirements", "requirements.txt", files, named, lines)


def _pyproject(table: Mapping[str, object], data: bytes) -> Manager:
    named, lines = _named(table.get("dependencies"), data)
    return Manager("pyproject", "pyproject.toml", {"pyproject.toml": data}, named, lines)


def _uv_lock(app: str, project: bytes | None) -> Manager:
    import tomllib

    lock = _read(app, "uv.lock")
    assert lock is not None
    if project is None:
        raise PackFailed("manager-not-served", manager="uv without pyproject.toml", file="uv.lock")
    try:
        packages = tomllib.loads(lock.decode()).get("package", [])
        named = {canonical(str(item["name"])): f"=={item['version']}" for item in packages if "version" in item}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackFailed("requirements-syntax", file="uv.lock", line=0, text="", message=str(error)) from error
    return Manager("uv", "uv.lock", {"uv.lock": lock, "pyproject.toml": project}, named, {})


def _project_table(data: bytes) -> Mapping[str, object] | None:
    import tomllib

    try:
        table = tomllib.loads(data.decode()).get("project")
    except ValueError as error:
        line = re.search(r"line (\d+)", str(error))
        raise PackFailed(
            "requirements-syntax", file="pyproject.toml", line=int(line[1]) if line else 0, text="", message=str(error)
        ) from error
    return table if isinstance(table, dict) else None


def _named(dependencies: object, data: bytes) -> tuple[dict[str, str], dict[str, tuple[str, int, str]]]:
    named: dict[str, str] = {}
    lines: dict[str, tuple[str, int, str]] = {}
    texts = data.decode("utf-8", "replace").splitlines()
    for item in dependencies if isinstance(dependencies, Sequence) and not isinstance(dependencies, str) else ():
        match = _NAME.match(str(item))
        if match is None:
            continue
        number = next((n for n, text in enumerate(texts, 1) if str(item) in text), 0)
        _refuse_secret(str(item), "pyproject.toml", number)
        named[canonical(match[1])] = match[2].strip()
        lines[canonical(match[1])] = ("pyproject.toml", number, str(item)[:200])
    return named, lines


def _refuse_secret(line: str, path: str, number: int) -> None:
    # A password in a file of the repository ends up in the lock, the log and the image. git@ is an account, no secret.
    match = _URL_SECRET.search(line.split(" #", 1)[0])
    if match is not None and not match[0].endswith("//git@"):
        raise PackFailed("index-credentials", file=path, line=number)


def _read(app: str, path: str) -> bytes | None:
    if path.startswith("/") or ".." in path.split("/") or not _is_file(app, path):
        return None
    with open(f"{app}/{path}", "rb") as file:
        return file.read(MAX_FILE_BYTES)


def _is_file(app: str, path: str) -> bool:
    return os.path.isfile(f"{app}/{path}")  # noqa: PTH113 -- no pathlib in buildpacks, packs/cnb.py says why


def _join(here: str, path: str) -> str:
    folder = here.rpartition("/")[0]
    return os.path.normpath(f"{folder}/{path}" if folder else path)
