"""package.json, read as far as starting an app takes; nothing of it is run.

Sources  https://docs.npmjs.com/cli/v11/configuring-npm/package-json ;
         https://docs.npmjs.com/cli/v11/using-npm/scripts (`npm start` without a script runs server.js)
"""

# ruff: noqa: PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.toolchains.starts import Start

MAX_BYTES = 1024 * 1024
_SHELL = re.compile(r"[$`|&;<>(){}*?\[\]~#!\\=\n]")
_INSTALL_SCRIPTS = ("preinstall", "install", "postinstall", "prepare")


class Package(NamedTuple):
    """A package.json. engine: the range of engines.node, '' when it names none."""

    scripts: Mapping[str, str]
    main: str
    engine: str
    has_packages: bool
    is_locked: bool

    @property
    def builds(self) -> bool:
        """Whether it has a build of its own, as TypeScript apps do."""
        return "build" in self.scripts

    @property
    def installs(self) -> bool:
        """Whether it runs something of its own around an installation."""
        return any(name in self.scripts for name in _INSTALL_SCRIPTS)


def read_package(app: str) -> Package:
    """The repository's package.json. Raises PackFailed('package-json-syntax')."""
    try:
        with open(f"{app}/package.json", "rb") as file:
            document = json.loads(file.read(MAX_BYTES).decode("utf-8-sig"))
        if not isinstance(document, dict):
            raise TypeError("it is not in { }")
    except (TypeError, ValueError, RecursionError) as error:
        raise PackFailed("package-json-syntax", message=str(error)) from error
    scripts = document.get("scripts")
    engines = document.get("engines")
    main = document.get("main")
    return Package(
        scripts={k: v for k, v in scripts.items() if isinstance(v, str)} if isinstance(scripts, dict) else {},
        main=main if isinstance(main, str) else "",
        engine=str(engines.get("node") or "").strip() if isinstance(engines, dict) else "",
        has_packages=any(document.get(name) for name in ("dependencies", "devDependencies", "optionalDependencies")),
        is_locked=os.path.isfile(f"{app}/package-lock.json") or os.path.isfile(f"{app}/npm-shrinkwrap.json"),
    )


def find_start(app: str) -> Start | None:
    """scripts.start, else `main`, else server.js or index.js; None for a library.

    Raises  PackFailed('package-json-syntax')
    """
    package = read_package(app)
    line = package.scripts.get("start", "")
    if line:
        return Start(_command(line, package.scripts.get("prestart", "")), "package.json's start script")
    for file, why in ((package.main, "package.json's main"), ("server.js", "server.js"), ("index.js", "index.js")):
        if file and not file.startswith(("/", "..")) and os.path.isfile(f"{app}/{file}"):
            return Start(["node", file], why)
    return None


def _command(line: str, before: str) -> list[str]:
    """What `npm start` would run, without npm between the app and its signals."""
    if not before and not _SHELL.search(line):
        try:
            words = shlex.split(line)
        except ValueError:
            words = []  # a quote without its end: the shell says so at the start, with the line
        if words and words[0] == "node":
            return words
    script = f"{before} && {line}" if before else line
    is_one = not re.search(r"[|&;\n]", script) and not re.match(r"\w+=", script)
    return ["bash", "-c", f'export PATH="$PWD/node_modules/.bin:$PATH"; {"exec " if is_one else ""}{script}']
