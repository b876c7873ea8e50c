"""One started container as the docker target knows it: whether it lives, how it ended, and how it is ended.

Why  the kernel is asked first: a container lives and dies with its first process, whatever its engine is doing
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass

from gitserver.errors import Json, Problem
from gitserver.targets.cgroup import Cgroup, find_group
from gitserver.targets.containers import Engine
from gitserver.targets.contract import Spec
from gitserver.targets.docker_watch import ContainerWatch, ending_of
from gitserver.targets.instance import NO_LIFE, Folder, Life, Note, read_stat

_LOG = logging.getLogger("algo.docker")
_LIFE_LOOK_S = 0.01
_LOOKS = 100
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system has. Source: stat(2)
MAX_IO_BYTES, MAX_IO_FILES = 64 * 1024 * 1024, 1000
LAST_LINES_S = 3.0  # for the engine to hand over what an ended container wrote


@dataclass(slots=True)
class Live:
    """A started instance. Mutable: facts come when it is ready."""

    folder: Folder
    container: str
    life: Life
    address: str
    app_id: int
    label: str
    facts: Mapping[str, Json] | None
    memory_mib: int
    watch: ContainerWatch
    group: Cgroup | None
    is_stopping: bool = False
    oom_kills: int = 0

    @classmethod
    def begun(cls, engine: Engine, spec: Spec, folder: Folder, container: str, address: str) -> Live:
        """One that was started now. Raises Problem('engine-elsewhere'), Problem of the engine."""
        pid, started_at = _first_process(engine, container)
        return cls(
            folder=folder, container=container, address=address, app_id=spec.app_id, label=spec.label, facts=None,
            life=NO_LIFE if started_at is None else Life(pid=pid, start_ticks=started_at),
            memory_mib=spec.memory_mib, watch=ContainerWatch(engine, container, folder),
            group=find_group(pid) if pid > 0 else None,
        )  # fmt: skip

    @classmethod
    def found(cls, engine: Engine, folder: Folder, note: Note, container: str, memory_mib: int) -> Live:
        """One that an earlier worker started, as its note tells."""
        return cls(
            folder=folder, container=container, life=note.life, address=note.address, app_id=note.app_id,
            label=note.label, facts=note.facts, memory_mib=memory_mib,
            watch=ContainerWatch(engine, container, folder),
            group=find_group(note.life.pid) if note.life.is_alive() else None,
        )  # fmt: skip

    def status(self, engine: Engine) -> int | None:
        """None while it runs, then its exit status, when its last lines are in the log.

        Raises  Problem('engine-down') when it ended and the engine cannot say how
        """
        if self.life.is_alive():
            return None
        ending = self.watch.ending(LAST_LINES_S) or ending_of(engine.inspect(self.container))
        return 1 if ending.status is None else ending.status

    def was_oom(self) -> bool:
        """Whether the kernel killed any of it for memory."""
        ending = self.watch.ending(0)
        return (ending is not None and ending.was_oom) or self.count_oom_kills() > 0

    def count_oom_kills(self) -> int:
        """How many so far; the count of a group that is gone is the last one seen."""
        self.oom_kills = max(self.oom_kills, 0 if self.group is None else self.group.oom_kills())
        return self.oom_kills

    def takes_too_much_disk(self) -> bool:
        """Whether its folder here, which is for a socket and two reports, is filled with other things."""
        size_bytes = count = 0
        for _, folders, files, descriptor in os.fwalk(self.folder.io):
            for name in (*folders, *files):
                count += 1
                try:
                    size_bytes += os.lstat(name, dir_fd=descriptor).st_blocks * _BLOCK_BYTES
                except FileNotFoundError:
                    continue  # removed while we looked
                if count > MAX_IO_FILES or size_bytes > MAX_IO_BYTES:
                    return True
        return False

    def how_it_ended(self) -> str:
        """For the app's log."""
        ending = self.watch.ending(LAST_LINES_S)
        if self.was_oom():
            return f"ended: more than its {self.memory_mib} MiB of memory"
        if ending is None or ending.status is None:
            return "ended"
        return f"ended with signal {-ending.status}" if ending.status < 0 else f"ended with status {ending.status}"

    def send(self, engine: Engine, number: signal.Signals) -> None:
        """A signal to its first process, past an engine that does not answer."""
        try:
            engine.kill(self.container, number.name)
        except Problem as problem:
            _LOG.warning("%s gets %s without its engine: %s", self.folder.path.name, number.name, problem)
            if self.life.is_alive():
                try:
                    os.kill(self.life.pid, number)
                except (ProcessLookupError, PermissionError) as error:
                    _LOG.warning("%s: %s", self.folder.path.name, error)

    def wait_dead(self, seconds: float) -> bool:
        """Whether it ended in time."""
        deadline_at = time.monotonic() + seconds
        while self.life.is_alive():
            if time.monotonic() > deadline_at:
                return False
            time.sleep(_LIFE_LOOK_S)
        return True


def _first_process(engine: Engine, container: str) -> tuple[int, int | None]:
    """Pid and start time of a container's first process; (0, None) when it ended already."""
    pid = 0
    for _ in range(_LOOKS):
        state = engine.inspect(container)
        if state is None or not state.is_running:
            return 0, None
        pid = state.pid
        started_at = read_stat(pid, zombies=True)
        if started_at is not None:
            return pid, started_at
        time.sleep(_LIFE_LOOK_S)  # it ended, and the engine is about to notice
    raise Problem("engine-elsewhere", pid=pid)
