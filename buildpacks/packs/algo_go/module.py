"""A Go module, read as far as building it takes: its name, the Go that it asks for, its main packages.

Source  https://go.dev/ref/mod#go-mod-file
"""

# ruff: noqa: PTH112, PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re
from typing import NamedTuple

MAX_BYTES = 256 * 1024
_MODULE = re.compile(r'^module[ \t]+"?([^\s"]+)"?', re.MULTILINE)
_GO = re.compile(r"^go[ \t]+(\d+)\.(\d+)(?:\.(\d+))?", re.MULTILINE)
_TOOLCHAIN = re.compile(r"^toolchain[ \t]+go(\d+)\.(\d+)(?:\.(\d+))?", re.MULTILINE)
_MAIN = re.compile(rb"^package[ \t]+main\b", re.MULTILINE)
_IGNORED = re.compile(rb"^//(?:go:build|[ \t]*\+build)[ \t]+ignore\b", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_MAX_FILES = 500


class Main(NamedTuple):
    """A main package. folder '.' or `cmd/server`; name: what its program is called."""

    folder: str
    name: str


def read_go_mod(app: str) -> str:
    """go.mod's text, without comments."""
    with open(f"{app}/go.mod", "rb") as file:
        return re.sub(r"//.*", "", file.read(MAX_BYTES).decode("utf-8-sig", "replace"))


def wanted_go(text: str) -> tuple[int, int, int]:
    """The oldest Go that a module builds with: its `toolchain` line where that is newer than its `go` line."""
    found = [(int(m[1]), int(m[2]), int(m[3] or 0)) for m in (_GO.search(text), _TOOLCHAIN.search(text)) if m]
    return max(found, default=(1, 16, 0))


def find_mains(app: str) -> list[Main]:
    """Main packages where Go modules have them by convention: at the top, and in cmd/*."""
    match = _MODULE.search(read_go_mod(app))
    path = match[1] if match is not None else "app"
    name = next((part for part in reversed(path.split("/")) if part and not re.fullmatch(r"v\d+", part)), "app")
    found = [Main(".", name)] if _is_main(app) else []
    if os.path.isdir(f"{app}/cmd"):
        names = [name for name in sorted(os.listdir(f"{app}/cmd")) if _NAME.fullmatch(name)]
        found += [Main(f"cmd/{name}", name) for name in names if _is_main(f"{app}/cmd/{name}")]
    return found


def _is_main(folder: str) -> bool:
    if not os.path.isdir(folder):
        return False
    names = [name for name in sorted(os.listdir(folder)) if name.endswith(".go") and not name.endswith("_test.go")]
    for name in names[:_MAX_FILES]:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                head = file.read(64 * 1024)
            if _MAIN.search(head) and not _IGNORED.search(head):
                return True
    return False
