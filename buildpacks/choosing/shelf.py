"""Fetched buildpacks in the state folder: by content, marked when they are used, gone when nobody asks for a month.

    git/<address>-<commit>/                files of a commit
    images/blobs, images/unpacked/<hex>/   packages, as they came and as folders

All of it can be fetched again, so nothing here is worth a backup.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

UNUSED_S = 30 * 86400.0
_FOLDERS = ("git", "images/unpacked", "images/drafts")
_BLOBS = "images/blobs/sha256"


def mark_used(path: Path) -> None:
    """Keep an entry for another UNUSED_S. Raises FileNotFoundError when it is not there any more."""
    os.utime(path)


def sweep(root: Path, *, now_s: float | None = None) -> list[str]:
    """Remove what was not used for UNUSED_S; the names that went. Two builds may do it at once."""
    oldest_s = (time.time() if now_s is None else now_s) - UNUSED_S
    gone = []
    for folder in _FOLDERS:
        for path in sorted((root / folder).glob("*")):
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_mtime < oldest_s:
                    shutil.rmtree(path, ignore_errors=True)
                    gone.append(f"{folder}/{path.name}")
    for path in sorted((root / _BLOBS).glob("*")):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < oldest_s:
                path.unlink()
                gone.append(f"{_BLOBS}/{path.name}")
    return gone
