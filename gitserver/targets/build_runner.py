"""Runs the children of a build in the sandbox: buildpacks.order.Runner over this machine's processes."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from buildpacks.order import BuildFailed, Child
from gitserver.errors import Problem
from gitserver.settings import Settings
from gitserver.targets.build_lines import pass_on
from gitserver.targets.family import Family
from gitserver.targets.instance import MARK, Life, read_stat
from gitserver.targets.lodging import Lodging
from gitserver.targets.probe import Isolation
from gitserver.targets.ready import ReadyLauncher
from gitserver.targets.sandbox import Level, SandboxPlan
from gitserver.targets.spawn import SandboxFailed, hand_over_plan, spawn

WHEEL_UID = 19999  # executes nothing of anybody's repository; owns the wheel cache that all apps share
MEMORY_MIB = 4096
_MEMORY_LOOK_S = 1.0


class SandboxRunner:
    """One build's children, one after the other."""

    def __init__(
        self, settings: Settings, isolation: Isolation, app_id: int, cancelled: threading.Event,
        *, memory_mib: int = MEMORY_MIB, ready: ReadyLauncher | None = None,
    ) -> None:  # fmt: skip
        self._memory_mib, self._ready = memory_mib, ready
        self._settings, self._isolation, self._app_id, self._cancelled = settings, isolation, app_id, cancelled
        self._lodging = Lodging(settings=settings, isolation=isolation)

    def __call__(self, child: Child, log: Callable[[str], None]) -> int:
        """Exit status.

        Raises  BuildFailed('build-timeout' | 'cancelled' | 'build-memory'), Problem('sandbox-failed')
        """
        uid = None
        if self._isolation.level >= Level.USER:
            uid = WHEEL_UID if child.trusted else self._lodging.uid(self._app_id)
            assert uid is not None
            hand_over(child, uid, self._settings)
        name = f"build-{self._app_id}-{threading.get_ident()}"
        group = self._lodging.group(name)
        try:
            process = self._started(child, self._plan(child, uid, name))
        except SandboxFailed as failed:
            if group is not None:
                group.remove()
            raise Problem("sandbox-failed", step=failed.step, detail=failed.why) from failed
        life = Life(pid=process.pid, start_ticks=read_stat(process.pid, zombies=True) or 0)
        family = Family(mark=self._lodging.mark(name), life=life, group=group)
        watch = _Watch(family, self._cancelled, time.monotonic() + child.timeout_s, self._memory_mib)
        try:
            status = self._follow(process, watch, log)
            if watch.is_over or (group is not None and group.oom_kills() > 0 and status != 0):
                raise BuildFailed("build-memory", limit_mib=self._memory_mib)
            if status is None:
                raise BuildFailed("build-timeout", seconds=int(child.timeout_s))
        finally:
            family.kill()  # what it left running has no business any more
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
            if group is not None:
                group.remove()
            if self._ready is not None:
                self._ready.refill()
        return status if status >= 0 else 128 - status

    def _started(self, child: Child, plan: SandboxPlan) -> subprocess.Popen[bytes]:
        waiting = None
        if self._ready is not None and self._ready.script.is_run_by([*child.argv]):
            waiting = self._ready.take()
        if waiting is not None:
            with suppress(BrokenPipeError):  # it ended while it waited: an interpreter is started, as ever
                return hand_over_plan(waiting, plan)
        return spawn(plan, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _plan(self, child: Child, uid: int | None, name: str) -> SandboxPlan:
        plan = self._lodging.enclose(
            name, uid, [path for path in child.readable if path.exists()], child.writable, memory_mib=self._memory_mib
        )
        return replace(
            plan, argv=child.argv, env={**child.env, MARK: self._lodging.mark(name)}, cwd=str(child.cwd),
            parent=os.getpid(), places=[(str(folder), path) for path, folder in child.places.items()],
        )  # fmt: skip

    def _follow(self, process: subprocess.Popen[bytes], watch: _Watch, log: Callable[[str], None]) -> int | None:
        """Pass lines on until the process has ended; its status, None when its time was over first."""
        pass_on(process, log, watch.has_time)
        if watch.is_over:
            return None
        try:
            return process.wait(max(0.1, watch.deadline_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None


class _Watch:
    """The ends that a build does not choose itself."""

    def __init__(self, family: Family, cancelled: threading.Event, deadline_at: float, memory_mib: int) -> None:
        self.deadline_at, self.is_over, self._memory_mib = deadline_at, False, memory_mib
        self._family, self._cancelled, self._looked_at = family, cancelled, time.monotonic()

    def has_time(self) -> bool:
        """Whether it may go on. Raises BuildFailed('cancelled')."""
        if self._cancelled.is_set():
            raise BuildFailed("cancelled")
        now = time.monotonic()
        if self._family.group is None and now - self._looked_at > _MEMORY_LOOK_S:
            self._looked_at = now
            self.is_over = self._family.is_over(self._memory_mib)
        return now < self.deadline_at and not self.is_over


def hand_over(child: Child, uid: int, settings: Settings) -> None:
    """Make a child's workspace its user's: its job, operator's settings included, is readable by nobody else.

    The app's cached layers go along: the server wrote them, with modes that nobody else can read.
    """
    own = (settings.state / "builds", settings.state / "cache" / "apps")
    readable = [path for path in child.readable if path.exists() and any(map(path.is_relative_to, own))]
    for path in (*readable, *child.writable):
        give_away(path, uid)


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
