"""The SSH host key's file: made once, never again. A key that cannot be read stops the server, and is not replaced.

Why     a new key makes every client refuse the server, or teaches its user to click such warnings away
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from gitserver.errors import Problem


def read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """The private key's text; made, synced and 0600 when there is none.

    Raises  Problem('host-key-unreadable', path=, detail=)
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Problem("host-key-unreadable", path=str(path), detail=str(error)) from error
    draft = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, make())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)  # not a rename: a key that another process made in between stays
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path.read_bytes()
