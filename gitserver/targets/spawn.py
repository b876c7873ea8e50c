"""Starts a child from a plan: the launcher with the plan on a descriptor, nothing inherited but what is named."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from gitserver.targets.sandbox import SandboxPlan

LAUNCHER = Path(__file__).with_name("launch.py")


def spawn(plan: SandboxPlan, *, stdout: int | IO[bytes], stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """The child, in a session of its own; its pid is the command's pid, for the launcher becomes the command.

    Exit status 71 to 77: a step of the sandbox failed (it says which on stderr); 127: no such program
    """
    with tempfile.TemporaryFile() as file:  # a pipe's buffer could be smaller than the plan
        file.write(plan.render())
        file.flush()
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(file.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(file.fileno(),),
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            start_new_session=True,
        )


def can_reach(path: Path, uid: int) -> bool:
    """Whether a user without rights can traverse to a path: every folder on the way lets others through."""
    for folder in path.resolve().parents:
        status = os.stat(folder)
        if status.st_uid != uid and not status.st_mode & 0o001:
            return False
    return True
