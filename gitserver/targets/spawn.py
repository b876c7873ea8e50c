"""Starts a child from a plan: the launcher with the plan on a descriptor, nothing inherited but what is named."""

from __future__ import annotations

import json
import os
import selectors
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gitserver.targets.sandbox import SandboxPlan

LAUNCHER = Path(__file__).with_name("launch.py")
_LAUNCH_S = 30.0  # the launcher takes milliseconds; a machine that swaps may take long
_MAX_REPORT_BYTES = 8192


class SandboxFailed(Exception):  # noqa: N818 -- the condition, for the operator
    """A step of the sandbox did not work, so the command was never executed."""

    def __init__(self, step: str, why: str) -> None:
        self.step, self.why = step, why
        super().__init__(f"{step}: {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A launcher that was started before its plan (ready.py). Its output is a pipe."""

    process: subprocess.Popen[bytes]
    plan_end: int
    report_end: int

    def close(self) -> None:
        """Nobody needs it: it ends."""
        os.close(self.plan_end)
        os.close(self.report_end)
        self.process.wait(_LAUNCH_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def hand_over_plan(waiting: Waiting, plan: SandboxPlan) -> subprocess.Popen[bytes]:
    """As spawn, by a launcher that waits. Raises SandboxFailed, BrokenPipeError: it had ended before."""
    try:
        with open(waiting.plan_end, "wb") as file:  # its end is the plan's
            file.write(plan.render())
        _await_exec(waiting.report_end)
    except BaseException:
        _abandon(waiting.process)
        raise
    finally:
        os.close(waiting.report_end)
    return waiting.process


def spawn(plan: SandboxPlan, *, stdout: int | IO[bytes], stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """The child in a session of its own, in its sandbox, executing its command.

    Its pid is the command's pid, for the launcher becomes the command. Exit status 127: there is no such program.
    Raises  SandboxFailed; nothing runs then
    """
    read_end, write_end = os.pipe()
    try:
        with tempfile.TemporaryFile() as file:  # a pipe's buffer could be smaller than the plan
            file.write(plan.render())
            file.flush()
            file.seek(0)
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(file.fileno()), str(write_end)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(file.fileno(), write_end),
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
                start_new_session=True,
            )
        os.close(write_end)
        write_end = -1
        try:
            _await_exec(read_end)
        except BaseException:
            _abandon(child)
            raise
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    return child


def _abandon(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _await_exec(read_end: int) -> None:
    """Returns when the report ends without a word: by the exec, or by an end of the launcher that nobody planned."""
    said, deadline_at = b"", time.monotonic() + _LAUNCH_S
    with selectors.DefaultSelector() as selector:
        selector.register(read_end, selectors.EVENT_READ)
        while len(said) < _MAX_REPORT_BYTES:
            if not selector.select(max(0.0, deadline_at - time.monotonic())):
                raise SandboxFailed("launcher", f"no answer within {_LAUNCH_S:.0f} s")
            part = os.read(read_end, _MAX_REPORT_BYTES)
            if not part:
                break
            said += part
    if said:
        report = json.loads(said)
        raise SandboxFailed(str(report["step"]), str(report["why"]))


def blocked_at(path: Path) -> Path | None:
    """The first folder on the way to a path that keeps other users out; None: anybody gets there."""
    for folder in reversed(path.resolve().parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def open_way(root: Path, paths: Sequence[Path]) -> None:
    """Let other users pass through the folders between root and each path: they still cannot list or read them.

    Needed where an app's user exists but no mount namespace could show it its folders alone. What lies beside the
    way keeps its own mode: the server makes its files and folders private.
    """
    for path in paths:
        if path.is_relative_to(root):
            for folder in (root, *(parent for parent in path.parents if parent.is_relative_to(root))):
                mode = folder.stat().st_mode
                if not mode & 0o001:
                    folder.chmod(stat.S_IMODE(mode) | 0o001)
