"""Compiles a folder of Python sources to .pyc files that are the same bytes in every build. Run by path:

    python -s -S bytecode.py FOLDER IMAGE_PATH        with PYTHONHASHSEED=0

Rules of this file
1. unchecked-hash: an image's times are normalised, and a timestamp would be stale at every start (contracts 3).
2. Each chunk of files is compiled in a process forked from the same state, because marshal writes a reference flag by
   how many users an object happens to have in the process (https://github.com/python/cpython/issues/78274).
3. `tests` folders stay source: nobody imports them in production, and they are half of scipy's files.
4. It is run by the app's interpreter, which may be older than ours: no syntax above Python 3.8.
"""

from __future__ import annotations

import os
import py_compile
import sys
from typing import Iterator, List  # noqa: UP035 -- rule 4

CHUNK = 64
_SKIPPED = frozenset({"tests", "test", "__pycache__"})


def main(folder: str, image_path: str) -> int:
    """Compile everything below folder; returns 0, or 1 when a worker ended badly. A file with errors is left alone."""
    sources = sorted(_sources(folder))
    chunks = [sources[start : start + CHUNK] for start in range(0, len(sources), CHUNK)]
    if len(chunks) == 1:
        _compile(chunks[0], folder, image_path)
        return 0
    limit = len(os.sched_getaffinity(0))
    running = failed = 0
    for chunk in chunks:
        if running >= limit:
            failed += _wait()
            running -= 1
        if os.fork() == 0:
            status = 1
            try:
                _compile(chunk, folder, image_path)
                status = 0
            finally:
                os._exit(status)
        running += 1
    for _ in range(running):
        failed += _wait()
    return 1 if failed else 0


def _wait() -> int:
    return 1 if os.wait()[1] else 0


def _sources(folder: str) -> Iterator[str]:
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in names:
            if name.endswith(".py"):
                yield os.path.join(here, name)


def _compile(chunk: List[str], folder: str, image_path: str) -> None:  # noqa: UP006 -- rule 4
    for source in chunk:
        shown = image_path + source[len(folder) :]
        try:
            py_compile.compile(
                source, dfile=shown, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
            )
        except (py_compile.PyCompileError, ValueError, OSError, RecursionError):
            continue  # packages ship templates and other Pythons' sources; who imports one gets its own error then


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].rstrip("/"), sys.argv[2].rstrip("/")))
