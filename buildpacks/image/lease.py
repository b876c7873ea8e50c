"""A lease on what lies in the store: how a running build and the collector stay out of each other's way.

A layer that a build adopts (because an earlier build sealed the same contents) is in no record yet when the collector
looks. So whoever adopts something renews it, and the collector takes nothing that is younger than its lease.

Rules of this file
1. renew() and the collector's "old enough? then rename it away" exclude each other, so that neither sees half of it.
2. Both hold the lock for a few system calls, never while anything is read, copied, deleted or run.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def renew(root: Path, path: Path) -> bool:
    """What lies at path is needed from now on, whatever its age; False when it is not there.

    root  of the layer store; path: a layer, an image's folder, a view below it
    """
    with _lock(root, fcntl.LOCK_SH):
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
    return True


@contextmanager
def collecting(root: Path) -> Iterator[None]:
    """Nobody renews while this is held: look at a time and rename, nothing longer."""
    with _lock(root, fcntl.LOCK_EX):
        yield


@contextmanager
def _lock(root: Path, kind: int) -> Iterator[None]:
    folder = root / "layers"
    folder.mkdir(parents=True, exist_ok=True)
    # flock ends with its process, so a killed one leaves nothing to clear.
    with (folder / ".lease").open("ab") as file:
        fcntl.flock(file, kind)
        yield
