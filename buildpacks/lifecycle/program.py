"""How a buildpack's script is run: as any program, or, for the product's own, as a fork of this interpreter.

Our buildpacks are scripts for the very interpreter that runs the lifecycle, and starting it anew six times was half of
a code-only build. A fork has the standard library's modules already; what it executes is the same file, with the
same arguments, environment and working directory. Only scripts that lie beside this package are run so: another
platform's copy of our buildpacks has modules of its own.
"""

# os.path and os.open: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH120

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

TYPE_CHECKING = False  # typing takes longer to import than a fork takes
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OWN_PACKS = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "packs") + os.sep
_SHEBANG = b"#!/usr/bin/env -S python3 -IS\n"
# What nearly every script of ours imports: loaded before the fork, it is loaded once a build and not once a script.
_SHARED = ("buildpacks.packs.cnb", "hashlib")
_CRASHED = 1
_LOOK_S = 0.001
_LOOKS = 200


class Program:
    """A started script: subprocess.Popen with a process group of its own, or a fork of ours."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None) -> None:
        self._pid, self._process, self._status = pid, process, None if process is None else process.returncode

    def wait(self, timeout_s: float | None) -> int | None:
        """Its exit status, negative for a signal; None when it still runs after timeout_s (None: for ever)."""
        if self._process is not None:
            try:
                return self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return None
        deadline_at = None if timeout_s is None else time.monotonic() + timeout_s
        while self._status is None:
            pid, status = os.waitpid(self._pid, 0 if deadline_at is None else os.WNOHANG)
            if pid != 0:
                self._status = os.waitstatus_to_exitcode(status)
            elif deadline_at is not None and time.monotonic() >= deadline_at:
                break
            else:
                time.sleep(_LOOK_S)  # a pidfd would wait better; container engines' filters forbade it for long
        return self._status

    def kill(self) -> int:
        """End it now, with what it started; its exit status."""
        if self._process is not None:
            self.end_group()
        elif self._status is None:
            os.kill(self._pid, signal.SIGKILL)
        status = self.wait(None)
        assert status is not None
        return status

    def end_group(self) -> bool:
        """End what a script that is none of ours left running in its process group; whether there was anything.

        Several looks: a bomb forks while it is being killed.
        """
        if self._process is None:
            return False
        for look in range(_LOOKS):
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except ProcessLookupError:
                return look > 0
            except PermissionError:  # only zombies are left, or what became another user's
                return look > 0
            if self._process.poll() is not None:
                time.sleep(_LOOK_S)
        return True


def start(argv: Sequence[str], *, cwd: str, env: Mapping[str, str], output: int | None) -> Program:
    """Start a script. output: descriptor for what it writes; None: this process's own. Raises OSError."""
    if is_own(argv[0]):
        return Program(_fork(argv, cwd, env, output), None)
    process = subprocess.Popen(
        list(argv), cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output,
        stderr=None if output is None else subprocess.STDOUT, process_group=0,
    )  # fmt: skip
    return Program(process.pid, process)


def is_own(script: str) -> bool:
    """A script of the product's own, which is run as a fork: it is neither bounded nor timed here."""
    real = os.path.realpath(script)
    if not real.startswith(_OWN_PACKS) or not (sys.flags.isolated and sys.flags.no_site):
        return False
    with open(real, "rb") as file:
        return file.readline(len(_SHEBANG) + 1) == _SHEBANG


def _fork(argv: Sequence[str], cwd: str, env: Mapping[str, str], output: int | None) -> int:
    for name in _SHARED:
        import_module(name)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = _CRASHED
        try:
            status = _become(argv, cwd, env, output)
        finally:
            os._exit(status)
    return pid


def _become(argv: Sequence[str], cwd: str, env: Mapping[str, str], output: int | None) -> int:
    """In the child: run the script to its end; its exit status."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    if output is not None:
        os.dup2(output, 1)
        os.dup2(output, 2)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = list(argv)
    sys.dont_write_bytecode = True
    spec = spec_from_loader("__main__", SourceFileLoader("__main__", argv[0]))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["__main__"] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- told as any program tells it, and never the parent's
        sys.excepthook(*sys.exc_info())
        return _CRASHED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
