"""Runs the children of a build in the sandbox: buildpacks.order.Runner over this machine's processes."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from buildpacks.order import BuildFailed, Child
from gitserver.settings import Settings
from gitserver.targets.cgroup import Cgroup
from gitserver.targets.family import MARK, Family
from gitserver.targets.instance import Life, read_stat
from gitserver.targets.probe import Isolation
from gitserver.targets.process import app_uid, hidden_places
from gitserver.targets.sandbox import Level, Limits, SandboxPlan
from gitserver.targets.spawn import spawn

WHEEL_UID = 19999  # executes nothing of anybody's repository; owns the wheel cache that all apps share
MEMORY_MIB = 4096
MAX_LINE_BYTES = 16 * 1024
_LOOK_S = 0.1
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class SandboxRunner:
    """One build's children, one after the other."""

    def __init__(self, settings: Settings, isolation: Isolation, app_id: int, cancelled: threading.Event) -> None:
        self._settings, self._isolation, self._app_id, self._cancelled = settings, isolation, app_id, cancelled

    def __call__(self, child: Child, log: Callable[[str], None]) -> int:
        """Exit status. Raises BuildFailed('build-timeout' | 'cancelled' | 'build-memory')."""
        uid = None
        if self._isolation.level >= Level.USER:
            uid = WHEEL_UID if child.trusted else app_uid(self._app_id)
            own = self._settings.state / "builds"
            # Its own workspace, job and operator's settings included, is readable by this user and nobody else.
            for path in (*(path for path in child.readable if path.is_relative_to(own)), *child.writable):
                give_away(path, uid)
        name = f"build-{self._app_id}-{threading.get_ident()}"
        group = None if self._isolation.cgroups is None else self._isolation.cgroups.group(name)
        if group is not None:
            group.make(memory_mib=MEMORY_MIB, processes=Limits().processes)
        process = spawn(self._plan(child, uid, name, group), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        family = Family(
            instance=name, life=Life(pid=process.pid, start_ticks=read_stat(process.pid) or 0), group=group
        )  # fmt: skip
        try:
            status = self._follow(process, child.timeout_s, log)
            if group is not None and group.oom_kills() > 0 and status != 0:
                raise BuildFailed("build-memory", limit_mib=MEMORY_MIB)
        finally:
            family.kill()  # what it left running has no business any more
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
            if group is not None:
                group.remove()
        return status if status >= 0 else 128 - status

    def _plan(self, child: Child, uid: int | None, name: str, group: Cgroup | None) -> SandboxPlan:
        return SandboxPlan(
            argv=child.argv, env={**child.env, MARK: name}, cwd=str(child.cwd), level=self._isolation.level, uid=uid,
            readable=[str(path) for path in child.readable if path.exists()],
            writable=[str(path) for path in child.writable], hidden=hidden_places(self._settings),
            join=group.join_files() if group is not None else [], limits=Limits(memory_mib=MEMORY_MIB),
            landlock=self._isolation.landlock, dies_with_parent=True,
        )  # fmt: skip

    def _follow(self, process: subprocess.Popen[bytes], timeout_s: float, log: Callable[[str], None]) -> int:
        assert process.stdout is not None
        deadline_at = time.monotonic() + timeout_s
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                if self._cancelled.is_set():
                    raise BuildFailed("cancelled")
                if time.monotonic() > deadline_at:
                    raise BuildFailed("build-timeout", seconds=int(timeout_s))
                if not selector.select(_LOOK_S):
                    # A daemon of the build's may hold the pipe open; the build itself is over when its process is.
                    if process.poll() is not None:
                        break
                    continue
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    break
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    log(_clean(line))
                if len(pending) > MAX_LINE_BYTES:
                    log(_clean(pending))
                    pending = b""
        if pending:
            log(_clean(pending))
        return process.wait(max(1.0, deadline_at - time.monotonic()))


def give_away(path: Path, uid: int) -> None:
    """Make a folder and all in it a build user's; links are not followed.

    A folder that is his already is left alone: it is a cache of his own, and may hold a hundred thousand files.
    """
    if path.stat().st_uid == uid:
        return
    for _, _, files, descriptor in os.fwalk(path, follow_symlinks=False):
        os.fchown(descriptor, uid, uid)
        for name in files:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            # A hard link of the server's own blob stays the server's: read-only for the build, as it should be.
            if found.st_nlink == 1:
                os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


def _clean(line: bytes) -> str:
    return _CONTROL.sub("", line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip("\r"))
