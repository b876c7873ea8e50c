"""Which R packages an app needs, read from its files; nothing of them runs.

    DESCRIPTION           Imports, Depends
    install.R, init.R     the names that install.packages() is given
    *.R                   library(x), require(x), requireNamespace("x"), x::f
    renv.lock             versions, to be told where Debian's are others

Source  Writing R Extensions, "The DESCRIPTION file"; renv, "Lockfiles"
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.procfile import decode

MAX_FILES, MAX_BYTES = 500, 1024 * 1024
# Packages that R itself brings. Source: rownames(installed.packages(priority = "base")).
BASE = frozenset({
    "base", "compiler", "datasets", "graphics", "grDevices", "grid", "methods", "parallel", "splines", "stats",
    "stats4", "tcltk", "tools", "utils", "R",
})  # fmt: skip
_NAME = r"[A-Za-z][A-Za-z0-9.]*[A-Za-z0-9]"
_USED = re.compile(
    rf"\b(?:library|require|requireNamespace|loadNamespace)\s*\(\s*[\"']?({_NAME})[\"']?\s*[,)]|(?<![\w.:])({_NAME}):::?[A-Za-z.`]"
)
_INSTALLED = re.compile(r"\binstall\.packages\s*\(\s*(c\s*\([^)]*\)|[\"'][^\"']+[\"'])")
_FIELD = re.compile(r"^(?:Imports|Depends):((?:.*\n?)(?:[ \t]+.*\n?)*)", re.MULTILINE)
_SKIPPED = frozenset({"tests", "renv", "packrat", "node_modules", "man", "vignettes", "data-raw"})


def needed_packages(app: str) -> list[str]:
    """Names of packages beside R's own, sorted."""
    found: set[str] = set()
    match_all = _FIELD.findall(_text(f"{app}/DESCRIPTION"))
    found.update(re.match(rf"\s*({_NAME})?", part)[1] or "" for field in match_all for part in field.split(","))  # type: ignore[index]
    for name in ("install.R", "init.R"):
        for match in _INSTALLED.finditer(_code(f"{app}/{name}")):
            found.update(re.findall(rf"[\"']({_NAME})[\"']", match[1]))
    for path in _scripts(app):
        for match in _USED.finditer(_code(path)):
            found.add(match[1] or match[2])
    return sorted(found - BASE - {"", "renv"})


def locked_versions(app: str) -> dict[str, str]:
    """Package -> version of renv.lock; {} without one. Raises PackFailed('renv-lock')."""
    text = _text(f"{app}/renv.lock")
    if not text:
        return {}
    try:
        packages = json.loads(text)["Packages"]
        return {name: str(package["Version"]) for name, package in packages.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PackFailed("renv-lock", message=f"{type(error).__name__} {error}"[:200]) from error


def debian_name(package: str) -> str:
    """How Debian calls an R package. Source: Debian R policy."""
    return f"r-cran-{package.lower()}"


def _scripts(app: str) -> Iterator[str]:
    left = MAX_FILES
    for here, folders, files in os.walk(app):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        for name in sorted(files):
            if name.endswith((".R", ".r", ".Rmd", ".qmd")) and left > 0:
                left -= 1
                yield f"{here}/{name}"


def _code(path: str) -> str:
    """A script without its comments; a # in a string ends a line, too, behind which no package is asked for."""
    return re.sub(r"#.*", "", _text(path))


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return decode(file.read(MAX_BYTES))
    except (FileNotFoundError, IsADirectoryError):
        return ""
