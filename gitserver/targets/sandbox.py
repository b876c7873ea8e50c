"""What a child of the server may see and use, as one frozen plan.  Pure; launch.py carries it out.

Three levels (contracts/frameworks.md 7), each with all of the one before:
  none       own session, no new privileges, resource limits, constructed environment; Landlock where the kernel has it
  user       an unprivileged user of the app's own, no capabilities
  namespace  a private mount namespace: server state, homes and shared temporary folders are covered, and only the
             listed folders appear again, at the same paths
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
    """What a child may take. RLIMIT_AS is not among them: torch, Go and the JVM reserve far more than they use."""

    open_files: int = 65536
    processes: int = 1024
    file_bytes: int = 8 * 1024**3
    memory_mib: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPlan:
    """One child, complete.

    readable, writable  folders that exist for it beside the system's, at the same paths
    hidden              folders that it must not see into (namespace level)
    uid                 None: the server's own user
    join                cgroup.procs files to write its pid to
    dies_with_parent    build children do; models outlive a worker and are adopted
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    level: Level
    uid: int | None
    readable: Sequence[str]
    writable: Sequence[str]
    hidden: Sequence[str]
    join: Sequence[str]
    limits: Limits
    landlock: bool
    dies_with_parent: bool

    def render(self) -> bytes:
        """The form that launch.py reads."""
        return json.dumps(asdict(self)).encode()


def covered(paths: Sequence[Path]) -> list[str]:
    """Folders to hide, without those that lie inside another one."""
    real = sorted({path.resolve() for path in paths}, key=lambda path: len(path.parts))
    kept: list[Path] = []
    for path in real:
        if path != Path("/") and not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return [str(path) for path in kept]


def interpreters(layer_paths: Sequence[Path]) -> list[Path]:
    """Prefixes of the Pythons that layers point to but do not hold: a virtual environment is a link to one."""
    found: list[Path] = []
    for layer in layer_paths:
        for link in sorted((layer / "bin").glob("python*")):
            if link.is_symlink():
                real = link.resolve()
                prefix = real.parent.parent
                if not real.is_relative_to(layer) and prefix not in found and str(prefix) not in {"/", "/usr"}:
                    found.append(prefix)
    return found
