"""Tries each isolation mechanism once, at the start, and says what releases will get. Never weaker than required."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitserver.errors import Problem
from gitserver.targets.cgroup import CgroupTree, find_tree
from gitserver.targets.sandbox import Level, Limits, SandboxPlan
from gitserver.targets.spawn import spawn

_PROBE_S = 20
NOBODY = 65534


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What this machine gives. mechanisms: name -> "yes", or why not."""

    level: Level
    landlock: bool
    cgroups: CgroupTree | None
    mechanisms: Mapping[str, str]


def probe_isolation(state: Path, *, required: str) -> Isolation:
    """Find the best level that works here.

    required  auto takes what there is; none, user, namespace: at least that
    Raises    Problem('isolation-missing', required=, found=, why=)
    """
    mechanisms: dict[str, str] = {}
    is_root = os.geteuid() == 0
    base = SandboxPlan(
        argv=["/bin/true"], env={}, cwd="/", level=Level.NONE, uid=None, readable=[], writable=[], hidden=[], join=[],
        limits=Limits(), landlock=False, dies_with_parent=True,
    )  # fmt: skip
    level = Level.NONE
    if is_root:
        mechanisms["user"] = _try(replace(base, level=Level.USER, uid=NOBODY))
        if mechanisms["user"] == "yes":
            level = Level.USER
            mechanisms["namespace"] = _try(replace(base, level=Level.NAMESPACE, uid=NOBODY, hidden=["/var/tmp"]))  # noqa: S108 -- covered, not used
            if mechanisms["namespace"] == "yes":
                level = Level.NAMESPACE
    else:
        mechanisms["user"] = mechanisms["namespace"] = "the server does not run as root"
    mechanisms["landlock"] = _try(replace(base, landlock=True))
    cgroups = find_tree(state)
    mechanisms["cgroup"] = "no writable control group" if cgroups is None else f"yes, version {cgroups.version}"
    if required != "auto" and level < Level[required.upper()]:
        raise Problem(
            "isolation-missing", required=required, found=level.name.lower(), why=mechanisms.get(required, "")
        )  # fmt: skip
    # In a namespace everything that Landlock would refuse is not there in the first place.
    landlock = mechanisms["landlock"] == "yes" and level < Level.NAMESPACE
    return Isolation(level=level, landlock=landlock, cgroups=cgroups, mechanisms=mechanisms)


def _try(plan: SandboxPlan) -> str:
    child = spawn(plan, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, said = child.communicate(timeout=_PROBE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return "the probe did not end"
    return "yes" if child.returncode == 0 else said.decode(errors="replace").strip() or f"status {child.returncode}"
