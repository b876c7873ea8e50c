"""Opening files of a pushed tree: never through a link, never a pipe that waits, never more than was asked for."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO


def open_plain(host_path: str) -> BinaryIO | None:
    """A regular file, open for reading; None for anything else, a link in its last part included."""
    try:
        descriptor = os.open(host_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def read_head(host_path: str, limit: int) -> bytes:
    """The first `limit` bytes of a regular file; empty when there is none."""
    file = open_plain(host_path)
    if file is None:
        return b""
    with file:
        return file.read(limit)


def is_file(host_path: str) -> bool:
    """A regular file lies there, not a link to one."""
    try:
        return stat.S_ISREG(os.lstat(host_path).st_mode)
    except OSError:
        return False
