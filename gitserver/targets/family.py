"""Everything that belongs to an instance, found and ended, daemonised grandchildren included."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from gitserver.targets.cgroup import Cgroup
from gitserver.targets.instance import MARK, Life, read_stat

_LOOK_S = 0.01
_KILL_S = 5.0
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One instance's processes.

    mark   what its environment holds under MARK: no other instance of any server on this machine has it
    group  None where this machine has no control groups; a process that leaves its session and clears its environment
           is lost sight of then
    """

    mark: str
    life: Life
    group: Cgroup | None

    def pids(self) -> list[int]:
        """All of them that run now."""
        if self.group is not None:
            return self.group.processes()
        mark = f"{MARK}={self.mark}".encode()
        session = self._session()
        return [
            pid
            for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if pid != os.getpid() and ((session and session == _session(pid)) or mark in _environ(pid))
        ]

    def _session(self) -> int | None:
        """Its session, while that number can only mean ours: a number in use by somebody else means that ours ended."""
        if self.life.pid <= 0:
            return None
        found = read_stat(self.life.pid, zombies=True)
        return self.life.pid if found in {None, self.life.start_ticks} else None

    def memory_mib(self) -> float:
        """Resident memory in all, pages that several share counted once: a slow look."""
        return sum(_pss_kib(pid) for pid in self.pids()) / 1024

    def is_over(self, limit_mib: int) -> bool:
        """Whether it takes more memory than it may."""
        # The sum that counts shared pages again and again is quick, and never too small.
        return sum(_resident_mib(pid) for pid in self.pids()) > limit_mib and self.memory_mib() > limit_mib

    def terminate(self) -> None:
        """SIGTERM to its process group; its children there hear it too."""
        if self.life.is_alive():
            _signal_group(self.life.pid, signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Whether the first process ended in time."""
        deadline_at = time.monotonic() + seconds
        while self.life.is_alive():
            if time.monotonic() > deadline_at:
                return False
            time.sleep(_LOOK_S)
        return True

    def kill(self) -> None:
        """SIGKILL to all that is left, until nothing is."""
        if self.group is not None:
            self.group.kill()
            return
        deadline_at = time.monotonic() + _KILL_S
        while time.monotonic() < deadline_at:
            left = [pid for pid in self.pids() if _is_running(pid)]
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it ended by itself
            time.sleep(_LOOK_S)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass  # it ended between look and signal


def user_tasks() -> int:
    """How many threads this user's processes have now: what RLIMIT_NPROC counts."""
    uid, count = os.geteuid(), 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{entry}").stat().st_uid == uid:
                count += len(os.listdir(f"/proc/{entry}/task"))
        except OSError:
            continue  # it ended meanwhile
    return count


def _session(pid: int) -> int:
    fields = _stat_fields(pid)
    return int(fields[3]) if fields else -1


def _is_running(pid: int) -> bool:
    fields = _stat_fields(pid)
    return bool(fields) and fields[0] not in {"Z", "X"}


def _stat_fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # somebody else's


def _resident_mib(pid: int) -> float:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0.0
    return int(pages) * _PAGE_BYTES / 1024**2


def _pss_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
