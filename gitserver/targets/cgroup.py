"""The one door to control groups: memory and process limits of an instance, and what became of them.

Version 1 and 2 are served; where neither can be written (a user's own machine without delegation) find_tree() is
None, and the keeper measures memory itself.
Source  kernel documentation, cgroup-v1/memory.rst and cgroup-v2.rst
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_KILL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupTree:
    """Where the groups of one server lie: one folder a controller (version 1), or one folder in all (version 2)."""

    memory: Path
    pids: Path
    version: int

    def group(self, name: str) -> Cgroup:
        """The group of an instance; it exists after make()."""
        return Cgroup(memory=self.memory / name, pids=self.pids / name, version=self.version)

    def remove(self) -> None:
        """The server's own folder, when nothing is in it any more."""
        for path in {self.memory, self.pids}:
            try:
                path.rmdir()
            except OSError:
                pass  # an instance that outlives us is still in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroup:
    """One instance's group."""

    memory: Path
    pids: Path
    version: int

    def make(self, *, memory_mib: int, processes: int) -> None:
        """Create it with its limits; one that exists gets them anew. Raises OSError."""
        for path in {self.memory, self.pids}:
            path.mkdir(exist_ok=True)
        size_bytes = str(memory_mib * 1024 * 1024)
        if self.version == 1:
            _write(self.memory / "memory.limit_in_bytes", size_bytes)
            _write_if_there(self.memory / "memory.memsw.limit_in_bytes", size_bytes)
        else:
            _write(self.memory / "memory.max", size_bytes)
            _write_if_there(self.memory / "memory.swap.max", "0")
            _write_if_there(self.memory / "memory.oom.group", "1")
        _write(self.pids / "pids.max", str(processes))

    def join_files(self) -> list[str]:
        """What a process writes its pid to before it becomes the instance."""
        return sorted({str(self.memory / "cgroup.procs"), str(self.pids / "cgroup.procs")})

    def oom_kills(self) -> int:
        """How many processes the kernel killed for memory."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in _read(self.memory / name).splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill" and value.isdigit():
                return int(value)
        return 0

    def peak_mib(self) -> float | None:
        """The most that it ever used, page cache included; None when the kernel does not say."""
        text = _read(self.memory / ("memory.max_usage_in_bytes" if self.version == 1 else "memory.peak")).strip()
        return int(text) / 1024**2 if text.isdigit() else None

    def processes(self) -> list[int]:
        """Everything that runs in it, daemonised or not."""
        return [int(pid) for pid in _read(self.pids / "cgroup.procs").split()]

    def kill(self) -> None:
        """End all of it, however fast it forks; returns when nothing is left or after 5 s."""
        deadline_at = time.monotonic() + _KILL_S
        _write_if_there(self.pids / "pids.max", "0")  # nothing new is born meanwhile
        while time.monotonic() < deadline_at:
            alive = self.processes()
            if not alive:
                return
            for pid in alive:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it ended by itself
            time.sleep(0.005)

    def remove(self) -> None:
        """Take it away; a group that still has dying processes is tried again for a moment."""
        for path in {self.memory, self.pids}:
            for _ in range(100):
                try:
                    path.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)
                else:
                    break


def find_tree(state: Path) -> CgroupTree | None:
    """The groups of the server on this state folder, or None when this user cannot make any."""
    name = f"algo-{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}"
    for find in (_version_1, _version_2):
        tree = find(name)
        if tree is not None:
            probe = tree.group(f"probe-{os.getpid()}")
            try:
                probe.make(memory_mib=64, processes=16)
            except OSError:
                continue
            probe.remove()
            return tree
    return None


def find_group(pid: int) -> Cgroup | None:
    """The group that somebody else put a process into, to be read; None where this machine does not show it to us."""
    for line in _read(Path(f"/proc/{pid}/cgroup")).splitlines():
        _, names, path = line.split(":", 2)
        for version, base in ((1, _ROOT / "memory"), (2, _ROOT)):
            is_wanted = "memory" in names.split(",") if version == 1 else names == ""
            folder = base / path.lstrip("/")
            if is_wanted and path != "/" and (folder / "cgroup.procs").exists():
                return Cgroup(memory=folder, pids=folder, version=version)
    return None


def _version_1(name: str) -> CgroupTree | None:
    memory, pids = _own("memory"), _own("pids")
    if memory is None or pids is None:
        return None
    return _made(CgroupTree(memory=memory / name, pids=pids / name, version=1))


def _version_2(name: str) -> CgroupTree | None:
    # Controllers can be handed down from a group that has no processes of its own, or from the root: a service's own
    # group often does not qualify, the root does where we may write to it.
    for base in (_own(""), _ROOT):
        if base is None or not {"memory", "pids"} <= set(_read(base / "cgroup.controllers").split()):
            continue
        _write_if_there(base / "cgroup.subtree_control", "+memory +pids")
        if not {"memory", "pids"} <= set(_read(base / "cgroup.subtree_control").split()):
            continue
        tree = _made(CgroupTree(memory=base / name, pids=base / name, version=2))
        if tree is not None:
            _write_if_there(base / name / "cgroup.subtree_control", "+memory +pids")
            return tree
    return None


def _made(tree: CgroupTree) -> CgroupTree | None:
    try:
        for path in {tree.memory, tree.pids}:
            path.mkdir(exist_ok=True)
    except OSError:
        return None
    return tree


def _own(controller: str) -> Path | None:
    """Our own group of a controller ("" for version 2), where new ones may be made below it."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(",") if controller else names == "":
            mounted = _ROOT / controller if controller else _ROOT
            own = mounted / path.lstrip("/")
            found = own if own.is_dir() else mounted
            return found if os.access(found, os.W_OK) else None
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""  # gone with its instance, or unknown to this kernel


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")


def _write_if_there(path: Path, text: str) -> None:
    try:
        if path.exists():
            _write(path, text)
    except OSError:
        pass  # a limit that this kernel refuses; the others hold
