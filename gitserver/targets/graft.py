"""Shows a folder of this machine to a process that already runs in a mount namespace of its own, and takes it back.

A warm parent's view is fixed when it starts; the next release's image and folder come later. A detached copy of the
folder's mount is made here and attached there, at the same path, by a thread that enters the namespace and ends in it.
Binding everything from the start was rejected: other apps' images lie in the same store.

Source  open_tree(2), move_mount(2), mount_setattr(2) (kernel 5.12), setns(2); the numbers are the same on every
        architecture
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC, _AT_FDCWD, _AT_EMPTY_PATH = 1, os.O_CLOEXEC, -100, 0x1000
_MOVE_MOUNT_F_EMPTY_PATH, _MNT_DETACH = 4, 2
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_CLONE_FS, _CLONE_NEWNS, _MS_PRIVATE = 0x200, 0x20000, 1 << 18
_WAIT_S = 10.0

_libc = ctypes.CDLL(None, use_errno=True)


def graft(pid: int, readable: Sequence[Path], writable: Sequence[Path]) -> None:
    """Bind folders into the namespace of a process. Raises OSError; some may be bound then.

    The way to each folder must lie in a place that is the server's alone there: it is made by name.
    """
    wanted = [(path, _ATTR_RDONLY) for path in readable] + [(path, 0) for path in writable]
    with ExitStack() as stack:
        copies = []
        for path, extra in wanted:
            copy = _clone(path, extra)
            stack.callback(os.close, copy)
            copies.append((copy, path))

        def attach() -> None:
            for copy, path in copies:
                path.mkdir(parents=True, exist_ok=True)
                _call(_libc.syscall(_SYS_MOVE_MOUNT, copy, b"", _AT_FDCWD, bytes(path), _MOVE_MOUNT_F_EMPTY_PATH))

        _inside(pid, attach)


def prune(pid: int, path: Path) -> None:
    """Take a folder away again. Raises OSError."""
    _inside(pid, lambda: _call(_libc.umount2(bytes(path), _MNT_DETACH)))


def _clone(path: Path, extra: int) -> int:
    copy = _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, bytes(path), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)
    _call(copy)
    attributes = struct.pack("=4Q", extra | _ATTR_NOSUID | _ATTR_NODEV, 0, _MS_PRIVATE, 0)
    try:
        _call(_libc.syscall(_SYS_MOUNT_SETATTR, copy, b"", _AT_EMPTY_PATH, attributes, ctypes.c_size_t(32)))
    except OSError:
        os.close(copy)
        raise
    return int(copy)


def _inside(pid: int, act: Callable[[], None]) -> None:
    """Run something in a process' mount namespace: in a thread, for the whole server must not go there."""
    failures: list[BaseException] = []
    descriptor = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def enter() -> None:
        try:
            _call(_libc.unshare(_CLONE_FS))  # root, working folder and umask of this thread alone
            os.umask(0o022)  # the server's own is tighter; the way to a folder must be passable
            _call(_libc.setns(descriptor, _CLONE_NEWNS))
            act()
        except BaseException as error:  # noqa: BLE001 -- carried to the caller, whichever it is
            failures.append(error)

    thread = threading.Thread(target=enter, name="graft", daemon=True)
    thread.start()
    thread.join(_WAIT_S)
    if thread.is_alive():
        raise TimeoutError("the mount namespace does not answer")
    os.close(descriptor)
    if failures:
        raise failures[0]


def _call(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
