"""What a child of the server may see and use, as one frozen plan.  Pure; launch.py carries it out.

Three levels (contracts/frameworks.md 7), each with all of the one before:
  none       own session, no new privileges, resource limits, constructed environment; Landlock where the kernel has it
  user       an unprivileged user of the app's own, no capabilities
  namespace  a private mount namespace: server state, homes, sockets of the system's services and shared temporary
             folders are covered, and only the listed folders appear again, at the same paths
Landlock (kernel 5.19) narrows each of them to the same list: files elsewhere on the machine cannot be opened, and
processes outside cannot be signalled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path


class Level(IntEnum):
    """How far a child is kept from everything else."""

    NONE = 0
    USER = 1
    NAMESPACE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may take. RLIMIT_AS is not among them: torch, Go and the JVM reserve far more than they use.

    processes       of this child, threads included: the control group's
    user_processes  RLIMIT_NPROC, which the kernel counts for the whole user; None: leave it
    """

    open_files: int = 65536
    processes: int = 1024
    user_processes: int | None = None
    file_bytes: int = 8 * 1024**3
    memory_mib: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPlan:
    """One child, complete.

    readable, writable  folders that exist for it beside the system's, at the same paths
    hidden              folders that it must not see into (namespace level)
    uid                 None: the server's own user
    rooms               folders, empty at first, in which more can be bound later, and whether to be written
    join                cgroup.procs files to write its pid to
    private_proc        other users' processes do not show in /proc (namespace level)
    parent              its end is the child's too: build children; None for models, which outlive a worker
    places              (folder, path): a writable folder that stands at a path which this machine need not have
                        (namespace level; elsewhere the path is what the machine has there)
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    level: Level
    uid: int | None
    readable: Sequence[str]
    writable: Sequence[str]
    hidden: Sequence[str]
    rooms: Sequence[tuple[str, bool]]
    join: Sequence[str]
    limits: Limits
    landlock: bool
    private_proc: bool
    parent: int | None
    places: Sequence[tuple[str, str]] = ()

    def render(self) -> bytes:
        """The form that launch.py reads."""
        return json.dumps(asdict(self)).encode()


def covered(paths: Sequence[Path]) -> list[Path]:
    """Folders to hide, without those that lie inside another one."""
    real = sorted({path.resolve() for path in paths}, key=lambda path: (len(path.parts), path))
    kept: list[Path] = []
    for path in real:
        if path != Path("/") and not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def interpreters(layer_paths: Sequence[Path], allowed: Sequence[Path]) -> list[Path]:
    """Prefixes of the Pythons that layers point to but do not hold: a virtual environment is a link to one.

    allowed  prefixes that may be shown, or folders of such prefixes. A build writes its layers' links, so a link says
             which interpreter, never which folder of this machine
    """
    found: list[Path] = []
    for layer in layer_paths:
        for link in sorted((layer / "bin").glob("python*")):
            prefix = link.resolve().parent.parent
            if link.is_symlink() and prefix not in found and (prefix in allowed or prefix.parent in allowed):
                found.append(prefix)
    return found


def resolver_folders() -> list[Path]:
    """Where the system's resolver configuration lies when it lies in /run, which is covered otherwise."""
    folder = Path("/etc/resolv.conf").resolve().parent
    return [folder] if folder.is_relative_to("/run") and folder != Path("/run") and folder.is_dir() else []
