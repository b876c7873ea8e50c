"""environment.yml: the part of YAML that conda's files are written in, and what of it wheels can stand in for.  Pure.

Source  conda documentation, "Creating an environment file manually"; package match specifications
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.names import (
    ALIASES,
    CONDA_ALONE,
    CONDA_INSIDE_WHEELS,
    MACOS_ONLY,
    WINDOWS_ONLY,
    canonical,
    is_standard_library,
)
from buildpacks.packs.cnb import PackFailed

_SPEC = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*)\s*(.*)")
_VERSION = re.compile(r"[\w\s.,<>=!~*+|\[\]-]*")
_KEY = re.compile(r"([A-Za-z_-]+)\s*:\s*(.*)")


class CondaFile(NamedTuple):
    """What an environment file asks for.

    lines    requirement lines for packages that have wheels, and those of its pip part, with their line numbers
    python   PEP 440 clauses, '' for any
    changes  how conda's names and libraries were read
    """

    lines: Sequence[tuple[int, str]]
    python: str
    changes: Sequence[str]


def parse_environment(text: str, file: str) -> CondaFile:
    """Read the dependencies.

    Raises  PackFailed: conda-syntax for YAML beyond lists of plain words, conda-without-wheels with all names at once
    """
    lines: list[tuple[int, str]] = []
    inside: list[str] = []
    alone: list[str] = []
    changes: list[str] = []
    python = ""
    for number, part, item in _items(text, file):
        if part == "pip":
            lines.append((number, item))
            continue
        match = _SPEC.fullmatch(item.rpartition("::")[2].strip())
        if match is None or not _VERSION.fullmatch(match[2]):
            raise PackFailed("conda-syntax", file=file, line=number, text=item[:200])
        name, version = canonical(match[1].lstrip("_")), _pep440(match[2])
        if name == "python":
            python = version
        elif name in CONDA_INSIDE_WHEELS or name == "pip" or name in WINDOWS_ONLY | MACOS_ONLY:
            inside.append(name)
        elif CONDA_ALONE.fullmatch(name):
            alone.append(name)
        elif not is_standard_library(name):
            meant = ALIASES.get(name, name)
            if meant != name:
                changes.append(f"{file} line {number}: {name} read as {meant}")
            lines.append((number, f"{meant}{version}"))
    if alone:
        raise PackFailed("conda-without-wheels", file=file, names=alone)
    if inside:
        changes.append(f"{file}: left out, wheels hold them inside or this system needs none: {', '.join(inside)}")
    return CondaFile(lines, python, changes)


def _items(text: str, file: str) -> list[tuple[int, str, str]]:
    """(line number, 'conda' or 'pip', item) of the list `dependencies`."""
    found: list[tuple[int, str, str]] = []
    key, pip_indent = "", -1
    for number, raw in enumerate(text.split("\n"), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        if not line.strip() or line.strip() == "---":
            continue
        indent, body = len(line) - len(line.lstrip()), line.strip()
        top = _KEY.fullmatch(body) if indent == 0 and not body.startswith("-") else None
        if top is not None:
            key, pip_indent = top[1], -1
            if key == "dependencies" and top[2]:
                found += _flow(number, top[2], file)
            continue
        if key != "dependencies":
            continue
        if not body.startswith("-"):
            raise PackFailed("conda-syntax", file=file, line=number, text=body[:200])
        item = _unquote(body[1:].strip())
        if item.rstrip() in {"pip:", "'pip':", '"pip":'}:
            pip_indent = indent
            continue
        if pip_indent >= 0 and indent <= pip_indent:
            pip_indent = -1
        if not item or item[0] in "&*!|>{[" or item.endswith(":"):
            raise PackFailed("conda-syntax", file=file, line=number, text=body[:200])
        found.append((number, "pip" if pip_indent >= 0 else "conda", item))
    return found


def _flow(number: int, text: str, file: str) -> list[tuple[int, str, str]]:
    if not re.fullmatch(r"\[[^\[\]{}]*\]", text):
        raise PackFailed("conda-syntax", file=file, line=number, text=text[:200])
    return [(number, "conda", _unquote(item.strip())) for item in text[1:-1].split(",") if item.strip()]


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _pep440(version: str) -> str:
    """conda's match specification of a version as PEP 440 clauses: `=1.2` means 1.2.*, `1.2=py38_0` means 1.2."""
    text = version.strip().strip("[]")
    if not text or text == "*":
        return ""
    exact = re.fullmatch(r"={0,2}\s*([0-9][\w.!+]*)\s*(=\s*\S+)?", text)
    if exact is not None:
        fuzzy = text.startswith("=") and not text.startswith("==") and exact[2] is None
        return f"=={exact[1]}.*" if fuzzy else f"=={exact[1]}"
    wild = re.fullmatch(r"=?=?\s*([0-9][\w.]*?)\.?\*(=\S+)?", text)
    if wild is not None:
        return f"=={wild[1]}.*"
    return re.sub(r"\s+", "", text)
