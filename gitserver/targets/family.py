"""Everything that belongs to an instance, found and ended, daemonised grandchildren included."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from gitserver.targets.cgroup import Cgroup
from gitserver.targets.instance import Life

MARK = "ALGO_INSTANCE"  # in every instance's environment: finds what left its session, where there is no control group
_LOOK_S = 0.01
_KILL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One instance's processes. group: None where this machine has no control groups."""

    instance: str
    life: Life
    group: Cgroup | None

    def pids(self) -> list[int]:
        """All of them that run now."""
        if self.group is not None:
            return self.group.processes()
        mark = f"{MARK}={self.instance}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (_session(entry) == self.life.pid or mark in _environ(entry)):
                found.append(int(entry))
        return [pid for pid in found if pid != os.getpid()]

    def memory_mib(self) -> float:
        """Resident memory in all, shared pages counted once each (proportional set size)."""
        return sum(_pss_kib(pid) for pid in self.pids()) / 1024

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


def _session(pid: str) -> int:
    fields = _stat_fields(pid)
    return int(fields[3]) if fields else -1


def _is_running(pid: int) -> bool:
    fields = _stat_fields(str(pid))
    return bool(fields) and fields[0] not in {"Z", "X"}


def _stat_fields(pid: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _environ(pid: str) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # somebody else's


def _pss_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
