"""`algo serve`: keeps gateway, control plane, SSH and worker alive, each for itself.

Rules of this file
1. One of the four dies: it alone is started again, after a pause that grows while it keeps dying.
2. SIGTERM: what takes new work ends first (and finishes running calls), the worker last (and ends the models).
3. Nothing of the server's work happens here, so that nothing here can die of it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from types import FrameType

from gitserver.accounts.bootstrap import bootstrap
from gitserver.errors import Problem
from gitserver.ledger.store import Ledger
from gitserver.serve.greeting import describe_target
from gitserver.settings import Address, Settings, save_settings
from gitserver.targets.probe import probe_isolation

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _STEADY_S = 0.2, 30.0, 30.0
_LOOK_S = 0.1
_FRONT = ("gateway", "ssh", "web")
_WORKER_STOP_S = 20.0


@dataclass(slots=True)
class _Component:
    """One of the four. Mutable: the supervisor's own bookkeeping."""

    name: str
    child: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    start_at: float = 0.0


def serve(settings: Settings) -> int:
    """Run the server until SIGTERM or SIGINT; 0 when it stopped cleanly.

    Raises  Problem('already-serving' | 'address-taken' | 'ledger-too-new' | 'isolation-missing') before anything was
            started
    """
    os.umask(0o077)
    settings.state.mkdir(parents=True, exist_ok=True)
    settings.state.chmod(0o700)
    with _lock(settings), _Stop() as stop:
        settings = _with_ports(settings)
        for folder in (settings.run_dir, settings.state / "logs", settings.state / "git", settings.state / "builds"):
            folder.mkdir(mode=0o700, exist_ok=True)
        ledger = Ledger.open(settings.ledger_url)
        greeting = bootstrap(settings, ledger)
        ledger.close()
        isolation = probe_isolation(settings.state, required=settings.isolation)
        save_settings(settings, settings.run_dir / "settings.json")
        print(f"algo serves {settings.url} and ssh://git@{settings.ssh}, state in {settings.state}", flush=True)
        print(isolation.describe(), flush=True)
        for line in describe_target(settings):
            print(line, flush=True)
        if greeting is not None:
            print(greeting, flush=True)
        _supervise(settings, stop)
    return 0


class _Stop:
    """SIGTERM and SIGINT as a flag; handlers are put back, for tests run serve() in their own process."""

    def __init__(self) -> None:
        self.is_set = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> _Stop:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._set)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self.is_set = True


class _lock:  # noqa: N801 -- used as a function: with _lock(settings)
    """One server a state folder; the kernel lets go when it dies, however it dies."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.state / "lock"
        self._state = settings.state
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(self._file, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise Problem("already-serving", pid=pid, state=str(self._state)) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _with_ports(settings: Settings) -> Settings:
    """Port 0 becomes a free one, and a taken one is refused here, in words, before the first child starts."""
    return replace(
        settings, http=_probed(settings.http, option="http"), ssh=_probed(settings.ssh, option="ssh")
    )  # fmt: skip


def _probed(address: Address, *, option: str) -> Address:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise Problem(
                "address-taken", option=option, address=str(address), detail=os.strerror(error.errno or 0)
            ) from error
        return replace(address, port=probe.getsockname()[1])


def _supervise(settings: Settings, stop: _Stop) -> None:
    components = [_Component(name=name) for name in ("worker", *_FRONT)]
    try:
        while not stop.is_set:
            for component in components:
                _look_after(component, settings)
            time.sleep(_LOOK_S)
    finally:
        front = [component for component in components if component.name in _FRONT]
        _end(front, within_s=settings.drain_s + 5)
        _end([component for component in components if component.name not in _FRONT], within_s=_WORKER_STOP_S)


def _look_after(component: _Component, settings: Settings) -> None:
    now = time.monotonic()
    if component.child is None:
        if now >= component.start_at:
            component.child, component.started_at = _start(component.name, settings), now
        return
    status = component.child.poll()
    if status is None:
        if now - component.started_at > _STEADY_S:
            component.pause_s = _FIRST_PAUSE_S
        return
    print(
        f"algo: {component.name} ended with status {status}; again in {component.pause_s:.1f} s",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    component.child, component.start_at = None, now + component.pause_s
    component.pause_s = min(component.pause_s * 2, _LONGEST_PAUSE_S)


def _start(name: str, settings: Settings) -> subprocess.Popen[bytes]:
    # -P: a model repository in the working directory may have a folder called gitserver
    argv = [
        sys.executable, "-P", "-m", f"gitserver.serve.{name}", str(settings.run_dir / "settings.json"), str(os.getpid())
    ]  # fmt: skip
    # A group of its own: Ctrl-C in the terminal reaches the supervisor alone, which then ends the four in order.
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, process_group=0)


def _end(components: list[_Component], *, within_s: float) -> None:
    running = [component.child for component in components if component.child is not None]
    for child in running:
        if child.poll() is None:
            child.terminate()
    deadline_at = time.monotonic() + within_s
    for child in running:
        try:
            child.wait(max(0.1, deadline_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
