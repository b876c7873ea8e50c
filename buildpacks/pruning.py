"""What is no part of an app never reaches its image: virtual environments, packages, caches, histories, `.env`.

Rules of this file
1. Said once in the log, with the number of files; never silently.
2. node_modules stays where a package.json beside it says that a Node app may need it until its buildpack decides.
3. `.env` holds what its owner wanted to keep out of a repository: it is neither served nor read.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

# Folders that belong to a working copy, never to an image.
_FOLDERS = frozenset({
    ".git", ".hg", ".svn", ".venv", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints",
    ".tox", ".nox", ".cache", ".idea", ".vscode", ".eggs", ".Rproj.user", "__MACOSX",
})  # fmt: skip
_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_DOTENV = re.compile(r"\.env(?:\.(?!example$|sample$|template$|dist$)[\w.-]+)?")
_SHOWN = 12


def prune(app_dir: Path) -> list[str]:
    """Remove what is no part of an app. Returns lines for the log: what went, and what that means for `.env`."""
    gone: list[tuple[str, int]] = []
    secrets: list[str] = []
    for here, folders, files in os.walk(app_dir):
        at = os.path.relpath(here, app_dir)
        if "pyvenv.cfg" in files:
            gone += _environment(here, at, folders)
            if at != ".":
                folders.clear()
                continue
        for name in sorted(folders):
            path = os.path.join(here, name)
            if not Path(path).is_symlink() and _is_left_out(path, name, files):
                gone.append((_joined(at, name), _remove(path)))
                folders.remove(name)
        for name in files:
            if name in _FILES or _DOTENV.fullmatch(name):
                Path(here, name).unlink()
                (secrets if name not in _FILES else []).append(_joined(at, name))
    lines = [f"Left out of the image: {', '.join(_told(gone, secrets))}"] if gone or secrets else []
    if secrets:
        lines.append(f"{secrets[0]} sets nothing here; what the app needs of it: algo config set NAME=VALUE")
    return lines


def _is_left_out(path: str, name: str, beside: Sequence[str]) -> bool:
    if name == "node_modules":
        return "package.json" not in beside
    if name in _FOLDERS:
        return True
    # A virtual environment of old virtualenv, or one whose pyvenv.cfg was not committed.
    return any(Path(path, folder, "activate").is_file() for folder in ("bin", "Scripts")) and _has_packages(path)


def _has_packages(path: str) -> bool:
    for folder in ("lib", "Lib"):
        try:
            names = os.listdir(os.path.join(path, folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        if "site-packages" in names or any(re.fullmatch(r"python\d\.\d+", name) for name in names):
            return True
    return False


def _environment(here: str, at: str, folders: list[str]) -> list[tuple[str, int]]:
    """A folder with pyvenv.cfg. At the top of the repository only the environment's own part goes."""
    if at != ".":
        return [(at, _remove(here))]
    Path(here, "pyvenv.cfg").unlink()
    gone = [("pyvenv.cfg", 1)]
    for name in ("bin", "Scripts", "include", "Include", "lib", "Lib", "lib64"):
        path = os.path.join(here, name)
        is_its_own = name.lower() in {"include", "lib64"} or _has_packages(here) or os.path.exists(f"{path}/activate")
        if is_its_own and name in folders:
            gone.append((name, _remove(path)))
            folders.remove(name)
    return gone


def _remove(path: str) -> int:
    """How many files went."""
    if Path(path).is_symlink():
        Path(path).unlink()
        return 1
    count = sum(len(files) for _, _, files in os.walk(path))
    shutil.rmtree(path)
    return count


def _told(gone: Iterable[tuple[str, int]], secrets: Sequence[str]) -> list[str]:
    """`venv (9,000 files)`; many of one name (`__pycache__`) are one entry."""
    by_name: dict[str, list[tuple[str, int]]] = {}
    for path, count in gone:
        by_name.setdefault(path.rpartition("/")[2], []).append((path, count))
    told = [*secrets]
    for name, found in sorted(by_name.items()):
        count = sum(files for _, files in found)
        what = found[0][0] if len(found) == 1 else f"{len(found)} times {name}"
        told.append(f"{what} ({count:,} files)" if count > 1 else what)
    shown = [_printable(text) for text in told[:_SHOWN]]
    return [*shown, f"and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else shown


def _printable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _joined(at: str, name: str) -> str:
    return name if at == "." else f"{at}/{name}"
