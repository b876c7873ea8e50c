"""Tries each isolation mechanism once, at the start, and says what releases will get. Never weaker than required."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitserver.errors import Problem
from gitserver.targets.cgroup import CgroupTree, find_tree
from gitserver.targets.sandbox import Level, Limits, SandboxPlan
from gitserver.targets.spawn import SandboxFailed, blocked_at, spawn

_PROBE_S = 20
NOBODY = 65534


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What this machine gives. mechanisms: name -> "yes", or why not."""

    level: Level
    landlock: bool
    private_proc: bool
    cgroups: CgroupTree | None
    mechanisms: Mapping[str, str]

    def describe(self) -> str:
        """One line for the operator: what releases get here, and why not more."""
        lacking = [f"no {name} ({found})" for name, found in self.mechanisms.items() if not found.startswith("yes")]
        return f"Isolation of releases: {self.level.name.lower()}" + (f"; {'; '.join(lacking)}" if lacking else "")


def probe_isolation(state: Path, *, required: str) -> Isolation:
    """Find the best level that works here.

    required  none: whatever there is; user, namespace: at least that; auto: what there is, but a server that runs as
              root never runs models as root
    Raises    Problem('isolation-missing', required=, found=, why=)
    """
    mechanisms: dict[str, str] = {}
    is_root = os.geteuid() == 0
    base = SandboxPlan(
        argv=["/bin/true"], env={}, cwd="/", level=Level.NONE, uid=None, readable=[], writable=[], hidden=[], rooms=[],
        join=[], limits=Limits(), landlock=False, private_proc=False, parent=os.getpid(),
    )  # fmt: skip
    level = Level.NONE
    if is_root:
        as_nobody = replace(base, level=Level.USER, uid=NOBODY)
        hidden = replace(as_nobody, level=Level.NAMESPACE, hidden=["/var/tmp"])  # noqa: S108 -- covered, not used
        mechanisms["user"] = _try(as_nobody)
        mechanisms["namespace"] = _try(hidden) if mechanisms["user"] == "yes" else mechanisms["user"]
        mechanisms["private /proc"] = mechanisms["namespace"]
        if mechanisms["namespace"] == "yes":
            level = Level.NAMESPACE
            mechanisms["private /proc"] = _try(replace(hidden, private_proc=True))
        elif mechanisms["user"] == "yes":
            places = {"Python": Path(sys.base_prefix), "state folder": state}
            blocked = {name: folder for name, path in places.items() if (folder := blocked_at(path)) is not None}
            if not blocked:
                level = Level.USER
            for name, folder in blocked.items():
                mechanisms["user"] = f"other users cannot pass {folder} to the server's {name}"
    else:
        mechanisms |= dict.fromkeys(("user", "namespace", "private /proc"), "the server does not run as root")
    mechanisms["landlock"] = _try(replace(base, landlock=True))
    cgroups = find_tree(state)
    mechanisms["cgroup"] = "no writable control group" if cgroups is None else f"yes, version {cgroups.version}"
    least = (Level.USER if is_root else Level.NONE) if required == "auto" else Level[required.upper()]
    if level < least:
        why = mechanisms[least.name.lower()]
        raise Problem("isolation-missing", required=least.name.lower(), found=level.name.lower(), why=why)
    return Isolation(
        level=level, landlock=mechanisms["landlock"] == "yes", private_proc=mechanisms["private /proc"] == "yes",
        cgroups=cgroups, mechanisms=mechanisms,
    )  # fmt: skip


def _try(plan: SandboxPlan) -> str:
    try:
        child = spawn(plan, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except SandboxFailed as failed:
        return str(failed)
    try:
        _, said = child.communicate(timeout=_PROBE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return "the probe did not end"
    return "yes" if child.returncode == 0 else said.decode(errors="replace").strip() or f"status {child.returncode}"
