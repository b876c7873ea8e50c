"""The warm parent: a process that has done the slow imports and forks a model server per request.

    python -P -m _gitserver_runtime.zygote --socket PATH [--imports sklearn,numpy] [--imports-file READY_FILE]

It is started once per app and dependency layer, inside that app's sandbox, with that layer's interpreter and the
PYTHONPATH that holds this package; a fork inherits the isolation and needs only its own folder, environment and
output. --imports-file reads "imports" of a ready file: exactly the modules that the last release had loaded.
A module that cannot be imported is reported by ping and costs nothing else.

Protocol, on a Unix stream socket (mode 0600). One request per connection: one line of JSON; one line of JSON back.
    {"op": "ping"}     {"ok": true, "pid": N, "imports": [...], "failed": {module: why}, "memory_mib": F,
                        "children": [N]}
    {"op": "fork", "env": {...}, "cwd": "/abs", "hold": false}
                       with two descriptors as SCM_RIGHTS on the first byte: stdout, stderr. env is complete: it
                       replaces the environment, and holds ALGO_SERVE and friends as for a fresh start.
                       {"ok": true, "pid": N, "start_ticks": T}   T: field 22 of /proc/N/stat
                       {"ok": false, "why": "..."}   start a fresh process instead; nothing was forked
                       The child is a session and group leader with the default signals. With "hold": true it waits up
                       to 10 s for the line {"op": "go"} on the same connection, so that the client can put it into a
                       control group first; a connection that closes without it ends the child with status 75.
    {"op": "exit", "pid": N}   how a child ended: {"ok": true, "running": true}, or {"ok": true, "running": false,
                       "status": S}, S as subprocess writes it (-9: killed by 9), null: not one of the last 256 children
    {"op": "stop"}     {"ok": true}; the zygote ends, its children run on
SIGTERM is "stop". The children are the zygote's: it reaps them; watch them with a pidfd.

Why a fork is refused: another thread is running here (its locks would stay held in the child for ever), or the
request's environment sets a pool size other than 1 (libraries have read theirs already). What a fork shares with its
parent and a fresh start would not: the hash seed, and the modules of this package and of the dependency layer, so a
zygote must go when either layer changes.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .board import resident_bytes
from .budget import POOL_VARIABLES, native_thread_count, pool_size, usable_cpus

MAX_REQUEST_BYTES = 4 * 1024 * 1024
REQUEST_TIMEOUT_S = 10.0
NOT_RELEASED_STATUS = 75
KEPT_EXITS = 256
# What every kind of model server needs of ours; Flask is for pages.
OWN_IMPORTS = ("boot", "server", "pages", "zygote")
THIRD_IMPORTS = ("flask", "gunicorn.app.base", "gunicorn.workers.gthread", "gunicorn.arbiter")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkOrder:
    """One child, complete. env replaces the environment; hold: wait for the client's go."""

    env: Mapping[str, str]
    cwd: str
    hold: bool


def parse_fork(request: Mapping[str, Any]) -> ForkOrder:
    """Read a fork request. Raises ValueError that says what is wrong."""
    env, cwd, hold = request.get("env"), request.get("cwd"), request.get("hold", False)
    if not isinstance(env, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in env.items()):
        raise ValueError("env is not an object of strings")
    if not isinstance(cwd, str) or not cwd.startswith("/"):
        raise ValueError("cwd is not an absolute path")
    if not isinstance(hold, bool):
        raise ValueError("hold is not true or false")  # noqa: TRY004 -- one kind of refusal for a bad request
    return ForkOrder(env=env, cwd=cwd, hold=hold)


def why_not_fork(env: Mapping[str, str], threads: int, cpus: int) -> str | None:
    """The reason to start a fresh process instead, or None."""
    if threads > 1:
        return f"threads: {threads} are running in the warm parent"
    for name in POOL_VARIABLES:
        if env.get(name, "1") not in ("", "1"):
            return f"pools: {name}={env[name]}, the warm parent has 1"
    try:
        size = pool_size(cpus, int(env.get("ALGO_WORKERS") or 1), int(env.get("ALGO_THREADS") or 4))
    except (ValueError, ZeroDivisionError):
        return "settings: ALGO_WORKERS or ALGO_THREADS is not a number; a fresh start will say so"
    return f"pools: a fresh start would use {size} threads a call" if size > 1 else None


class Zygote:
    """One listening socket, one loop, no threads. run: what a child does once it is itself, returns its status."""

    def __init__(self, path: Path, run: Callable[[], int]) -> None:
        self._path, self._run = path, run
        self._imports: list[str] = []
        self._failed: dict[str, str] = {}
        self._children: set[int] = set()
        self._exits: OrderedDict[int, int] = OrderedDict()
        self._stopping = False
        self._listener = _listen(path)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def warm_up(self, modules: Sequence[str]) -> None:
        """Import each; then put everything aside from the collector, whose marks would unshare the pages."""
        gc.disable()
        for name in modules:
            try:
                importlib.import_module(name)
                self._imports.append(name)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 -- a broken package of the app must not keep the others cold
                self._failed[name] = f"{type(exc).__name__}: {exc}"
        gc.collect()
        gc.freeze()

    def serve(self) -> None:
        """Answer until told to stop."""
        signal.signal(signal.SIGTERM, self._stop_soon)
        signal.signal(signal.SIGINT, self._stop_soon)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only so that the loop wakes up
        signal.set_wakeup_fd(self._wake_write)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._stopping:
                for key, _ in selector.select(timeout=60):
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        os.read(self._wake_read, 512)
                self._reap()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _stop_soon(self, *_arguments: object) -> None:
        self._stopping = True

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._children.clear()
                return
            if pid == 0:
                return
            self._children.discard(pid)
            self._exits[pid] = os.waitstatus_to_exitcode(status)
            while len(self._exits) > KEPT_EXITS:
                self._exits.popitem(last=False)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(REQUEST_TIMEOUT_S)
            descriptors: list[int] = []
            try:
                request = _receive(connection, descriptors)
                reply = self._answer(request, connection, descriptors)
            except (ValueError, OSError) as exc:
                reply = {"ok": False, "why": f"request: {exc}"}
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            # A client that has gone does not need the answer; the child that it asked for lives all the same.
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(reply).encode() + b"\n")

    def _answer(self, request: Mapping[str, Any], connection: socket.socket, descriptors: list[int]) -> dict[str, Any]:
        operation = request.get("op")
        if operation == "ping":
            memory_mib = round(resident_bytes(os.getpid()) / 2**20, 1)
            known = {"pid": os.getpid(), "imports": self._imports, "failed": self._failed}
            return {"ok": True, **known, "memory_mib": memory_mib, "children": sorted(self._children)}
        if operation == "fork":
            return self._fork(parse_fork(request), connection, descriptors)
        if operation == "exit":
            self._reap()
            pid = request.get("pid")
            if pid in self._children:
                return {"ok": True, "running": True}
            return {"ok": True, "running": False, "status": self._exits.get(pid) if isinstance(pid, int) else None}
        if operation == "stop":
            self._stopping = True
            return {"ok": True}
        raise ValueError(f"unknown op {operation!r}")

    def _fork(self, order: ForkOrder, connection: socket.socket, descriptors: list[int]) -> dict[str, Any]:
        why = why_not_fork(order.env, native_thread_count(), usable_cpus())
        if why is not None:
            return {"ok": False, "why": why}
        if len(descriptors) != 2:
            raise ValueError(f"expected two descriptors, stdout and stderr, got {len(descriptors)}")
        if not Path(order.cwd).is_dir():
            return {"ok": False, "why": f"cwd: {order.cwd} is not there"}
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become(order, connection, descriptors)
        self._children.add(pid)
        return {"ok": True, "pid": pid, "start_ticks": _start_ticks(pid)}

    def _become(self, order: ForkOrder, connection: socket.socket, descriptors: list[int]) -> None:
        """In the child: leave everything of the parent, then be a model server. Never returns."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            released = not order.hold or _wait_for_go(connection)
            if released:
                _take_over(order, descriptors)
                status = self._run()
            else:
                status = NOT_RELEASED_STATUS
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
        except BaseException as exc:  # noqa: BLE001 -- the child must not fall back into the parent's loop
            sys.excepthook(type(exc), exc, exc.__traceback__)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            # Not sys.exit(): the parent's frames are below this one, and their clean-up is the parent's.
            os._exit(status)


def _take_over(order: ForkOrder, descriptors: Sequence[int]) -> None:
    os.dup2(descriptors[0], 1)
    os.dup2(descriptors[1], 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # both are text files over 1 and 2
    warm_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(order.env)
    fresh_path = [entry for entry in order.env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = fresh_path + [entry for entry in sys.path if entry not in (*warm_path, *fresh_path)]
    importlib.invalidate_caches()
    os.chdir(order.cwd)
    gc.enable()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()  # else every child would draw the same numbers; Python's own generator reseeds itself


def _wait_for_go(connection: socket.socket) -> bool:
    line = b""
    try:
        while not line.endswith(b"\n"):
            part = connection.recv(4096)
            if not part:
                return False
            line += part
    except OSError:
        return False
    return bool(json.loads(line).get("op") == "go")


def _receive(connection: socket.socket, descriptors: list[int]) -> Mapping[str, Any]:
    """One line and the descriptors that came with it, which are the caller's to close whatever happens."""
    received = b""
    size = array.array("i").itemsize
    while not received.endswith(b"\n"):
        part, ancillary, flags, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(4 * size), socket.MSG_CMSG_CLOEXEC)
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors += array.array("i", payload[: len(payload) - len(payload) % size])
        if flags & socket.MSG_CTRUNC:
            raise ValueError("too many descriptors")
        if not part:
            raise ValueError("it ended before its end of line")
        received += part
        if len(received) > MAX_REQUEST_BYTES:
            raise ValueError("it is too long")
    request = json.loads(received)
    if not isinstance(request, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 -- one kind of refusal for a bad request
    return request


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(16)
    return listener


def _start_ticks(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return int(stat.rpartition(")")[2].split()[19])


def _modules(arguments: argparse.Namespace) -> list[str]:
    package = __name__.rpartition(".")[0] or (__package__ or "")
    named = [*THIRD_IMPORTS, *(f"{package}.{name}" for name in OWN_IMPORTS if name != "zygote")]
    named += [name for name in arguments.imports.split(",") if name]
    if arguments.imports_file is not None:
        listed = json.loads(Path(arguments.imports_file).read_text(encoding="utf-8")).get("imports", [])
        named += [name for name in listed if isinstance(name, str)]
    return list(dict.fromkeys(named))


def main(argv: Sequence[str] | None = None) -> int:
    """Warm up and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="zygote", description="forks model servers from a warm parent")
    parser.add_argument("--socket", required=True, type=Path)
    parser.add_argument("--imports", default="")
    parser.add_argument("--imports-file")
    arguments = parser.parse_args(argv)
    for name in POOL_VARIABLES:  # before any import: a pool that was started could not be forked
        os.environ[name] = "1"
    from .boot import main as serve_model

    modules = _modules(arguments)
    zygote = Zygote(arguments.socket, serve_model)
    zygote.warm_up(modules)
    zygote.serve()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
