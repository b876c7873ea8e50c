"""A stack of Debian packages for tests: made once a machine, kept in the user's cache, linked into a test's state."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

from buildpacks.stack import debian, documents, mmdebstrap, retar
from buildpacks.stack.debian import StackOptions, build_stack
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack
from tests.services.debian import need_debian

NAME = "bookworm"
KEPT_S = 7 * 86400
_RECIPE = (debian, documents, mmdebstrap, retar)  # what decides the images' bytes, beside the packages of the day


def the_stack() -> Path:
    """The root of a StackStore that holds the stack `bookworm`; tests read it and never write.

    The first call on a machine takes one to two minutes. Without mmdebstrap the test is skipped, in CI it is installed.
    """
    return _the_stack()


def install_stack(state: Path, *, private: bool = False) -> Stack:
    """Put the stack into a server's state folder as its current one.

    private  real copies: for tests that damage them; without it files are hard links of the cache's
    """
    target = state / "stacks"
    if StackStore(root=target).current_name() is None:
        shutil.copytree(
            the_stack(),
            target,
            symlinks=True,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("locks", "drafts"),
            copy_function=shutil.copy2 if private else _link,
        )
    stack = StackStore(root=target).current()
    assert stack is not None
    return stack


@cache
def _the_stack() -> Path:
    need_debian("mmdebstrap")
    folder = _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"stack-{_recipe_digest()}"
    with (folder / "stack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.is_dir():
            draft = Path(tempfile.mkdtemp(dir=folder, prefix="draft-"))
            try:
                stack = build_stack(NAME, StackOptions(), StackStore(root=draft), os.environ, _silent)
                StackStore(root=draft).rootfs(stack.run)
                draft.chmod(0o755)
                draft.rename(final)
                _remove_old(folder)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return final


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "algo-tests"


def _recipe_digest() -> str:
    digest = hashlib.sha256()
    for module in _RECIPE:
        assert module.__file__ is not None
        digest.update(ast.dump(ast.parse(Path(module.__file__).read_bytes())).encode())  # remarks do not matter
    return digest.hexdigest()[:16]


def _remove_old(folder: Path) -> None:
    """Stacks of earlier recipes, half a gigabyte each; another checkout may be using a young one."""
    for path in folder.glob("stack-*/"):
        if time.time() - path.stat().st_mtime > KEPT_S:
            shutil.rmtree(path, ignore_errors=True)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another disk
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def _silent(line: str) -> None:
    """Tests that want the words of a build make one of their own."""
