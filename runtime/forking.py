"""Libraries that must not be loaded before a fork, noticed before they are: nothing is loaded twice.

Why  their import starts threads or graphs that a fork would lose. boot.py notices threads afterwards and begins anew,
     which costs a second import of seconds; these are known, so it begins anew before the first.
Source  gunicorn#2369 (TensorFlow), OpenNMT/CTranslate2#539; JAX warns of os.fork() itself
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType, TracebackType

UNFORKABLE = ("tensorflow", "jax", "ctranslate2")
# keras imports one of them at once; by its name alone it could be anybody's module.
_IMPORTS = re.compile(rf"^\s*(?:import|from)\s+(?:keras|{'|'.join(UNFORKABLE)})\b".encode(), re.MULTILINE)


def names_unforkable(app_dir: Path, file: str | None) -> bool:
    """Whether the entry file itself imports one of them: then the process can begin as it has to."""
    if file is None:
        return False
    try:
        return _IMPORTS.search((app_dir / file).read_bytes()) is not None
    except OSError:
        return False  # a missing file is told by who imports it


class ForkGuard:
    """A context around a load before the fork: the first import of such a library calls begin_anew(name) instead.

    begin_anew must not return.
    """

    def __init__(self, begin_anew: Callable[[str], None]) -> None:
        self._begin_anew = begin_anew

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Called by Python for every module that is not loaded yet; finds none itself."""
        del target
        # Many libraries ask whether one of them is there: what is not installed is no import.
        if name in UNFORKABLE and PathFinder.find_spec(name, path) is not None:
            self._begin_anew(name)
        return None
