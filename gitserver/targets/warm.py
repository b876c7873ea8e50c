"""Warm parents: processes that have a release's imports done and fork the next one (design 6.6, runtime/zygote.py).

One for each app, scope and set of layers that holds interpreter, dependencies and runtime. It is started in the app's
own sandbox after a release serves, so that nobody waits for it, and ends with the last release that could use it.

Rules of this file
1. It saves time or it does nothing: no failure of it reaches a push.
2. It runs the app's dependencies, so it is not believed: a pid that it names is ours to handle only when the kernel
   says that it is its child and the app's user.
3. Production and everything else never share a parent: a fork can look into its siblings.
4. Only where new folders can be shown to it without showing it other apps' (graft.py), or where nothing is hidden
   from anybody anyway: not at the user level, nor with Landlock alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from gitserver.errors import Json, Problem
from gitserver.push import PRODUCTION_BRANCH
from gitserver.settings import Settings
from gitserver.targets.contract import Spec
from gitserver.targets.environment import SEARCH_PATHS, SHIM, is_shim
from gitserver.targets.family import Family
from gitserver.targets.graft import graft, prune
from gitserver.targets.instance import NO_LIFE, Folder, Life, Note, read_stat
from gitserver.targets.lodging import Lodging, layer_paths
from gitserver.targets.probe import Isolation
from gitserver.targets.sandbox import Level, SandboxPlan
from gitserver.targets.spawn import SandboxFailed, spawn

_LOG = logging.getLogger("algo.warm")
_WARM_UP_S, _ASK_S, _LOOK_S = 180.0, 5.0, 0.02
_MAX_IMPORTS_BYTES = 64 * 1024
_UNKNOWN_STATUS = 255
_KEPT_ENVIRONMENT = (*SEARCH_PATHS, "LANG", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")


def can_be_warm(isolation: Isolation) -> bool:
    """Whether rule 4 allows warm parents here."""
    if isolation.level == Level.NAMESPACE:
        return True
    return isolation.level == Level.NONE and not isolation.landlock


@dataclass(slots=True)
class _Parent:
    """A running warm parent. shown: readable folders that its namespace has. Guarded by its own lock."""

    folder: Folder
    family: Family
    child: subprocess.Popen[bytes]
    shown: set[Path]
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_ready: bool = False


class WarmChild:
    """A fork of a warm parent: not our child, so the parent is asked how it ended."""

    def __init__(self, life: Life, parent_socket: Path) -> None:
        self.pid = life.pid
        self._life, self._parent_socket = life, parent_socket
        self._status: int | None = None

    def poll(self) -> int | None:
        """None while it runs, else its exit status, negative for a signal; 255 when nobody knows any more."""
        if self._status is None and not self._life.is_alive():
            self._status = self._ask()
        return self._status

    def wait(self, timeout: float) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        deadline_at = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline_at:
                raise subprocess.TimeoutExpired(SHIM, timeout)
            time.sleep(_LOOK_S)
        return status

    def _ask(self) -> int:
        try:
            with _connect(self._parent_socket) as connection:
                connection.sendall(json.dumps({"op": "exit", "pid": self.pid}).encode() + b"\n")
                status = _read_line(connection).get("status")
        except (OSError, ValueError):
            return _UNKNOWN_STATUS
        return status if isinstance(status, int) else _UNKNOWN_STATUS


class WarmParents:
    """All warm parents of one target. Threads may call it."""

    def __init__(self, settings: Settings, lodging: Lodging) -> None:
        self._settings, self._lodging = settings, lodging
        self._root = settings.run_dir / "warm"
        self._root.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._parents: dict[str, _Parent] = {}
        self._users: dict[str, str] = {}  # instance -> key
        self._grafts: dict[str, tuple[str, list[Path]]] = {}
        self._is_closed = False
        for path in sorted(self._root.iterdir()):
            self._clear(Folder(path=path))

    def want(self, spec: Spec, facts: Mapping[str, Json]) -> None:
        """A release serves: its like will be started again. Returns at once; the parent warms up by itself."""
        key = self._key(spec)
        if key is None:
            return
        with self._lock:
            self._users[spec.instance] = key
            if self._is_closed or key in self._parents:
                return
        threading.Thread(target=self._warm_up, args=(key, spec, facts), name=f"warm-{key}", daemon=True).start()

    def unwant(self, instance: str) -> None:
        """An instance will not be started again: its parent ends when no other instance could use it."""
        with self._lock:
            key = self._users.pop(instance, None)
            unused = None if key is None or key in self._users.values() else self._parents.pop(key, None)
        if unused is not None:
            self._stop(unused)

    def hide(self, instance: str) -> None:
        """An instance has ended: its folder is taken from its parent's view, before it is removed here."""
        with self._lock:
            key, paths = self._grafts.pop(instance, ("", []))
            parent = self._parents.get(key)
        if parent is None:
            return
        for path in paths:
            try:
                with parent.lock:
                    prune(parent.family.life.pid, path)
            except OSError as error:
                _LOG.debug("prune %s: %s", path, error)  # the parent has ended, and its view with it

    def fork(self, spec: Spec, plan: SandboxPlan, output: int) -> WarmChild | None:
        """The plan's process as a fork of a warm parent; None: start it afresh."""
        key = self._key(spec)
        with self._lock:
            parent = self._parents.get(key) if key is not None else None
        if key is None or parent is None or not parent.is_ready or list(plan.argv[1:]) != ["-P", "-m", SHIM]:
            return None
        try:
            with parent.lock:
                self._show(spec.instance, key, parent, plan)
                return _fork(parent, plan, output)
        except (OSError, ValueError) as error:
            _LOG.warning("warm start of %s: %s", spec.instance, error)
            return None

    def close(self) -> None:
        """End all parents; their children run on."""
        with self._lock:
            self._is_closed = True
            parents = list(self._parents.values())
            self._parents.clear()
        for parent in parents:
            self._stop(parent)

    # -- a parent's life ---------------------------------------------------------------------------------------

    def _key(self, spec: Spec) -> str | None:
        base = self._base_layers(spec)
        if not base or not is_shim(spec.image):
            return None
        scope = "production" if spec.label.split(" ")[0] == PRODUCTION_BRANCH else "other"
        parts = [str(spec.app_id), scope, str(spec.memory_mib), *(path.name for path in base)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def _base_layers(self, spec: Spec) -> list[Path]:
        """Layers that a parent has loaded from: they must be the same for every fork of it.

        Debian packages (usr/) are among them: the dynamic linker reads its search path once, when the parent starts.
        """
        return [
            path
            for path in layer_paths(self._settings, spec.image)
            if (path / SHIM).is_dir() or (path / "pyvenv.cfg").exists() or (path / "usr").is_dir()
        ]

    def _warm_up(self, key: str, spec: Spec, facts: Mapping[str, Json]) -> None:
        try:
            parent = self._start(key, spec, facts)
        except (OSError, SandboxFailed, Problem) as error:
            _LOG.warning("warm parent of %s: %s", spec.instance, error)
            return
        with self._lock:
            is_wanted = not self._is_closed and key in self._users.values() and key not in self._parents
            if is_wanted:
                self._parents[key] = parent
        deadline_at = time.monotonic() + _WARM_UP_S
        while is_wanted and parent.child.poll() is None and time.monotonic() < deadline_at:
            if parent.folder.publish() and _answers(parent.folder.socket):
                parent.is_ready = True
                return
            with self._lock:
                is_wanted = self._parents.get(key) is parent
            time.sleep(_LOOK_S)
        with self._lock:
            if self._parents.get(key) is parent:
                del self._parents[key]
        if is_wanted:
            _LOG.warning("warm parent of %s did not get ready: %s", spec.instance, parent.folder.tail(3))
        self._stop(parent)

    def _start(self, key: str, spec: Spec, facts: Mapping[str, Json]) -> _Parent:
        name = f"warm-{key}"
        folder = Folder(path=self._root / key)
        uid = self._lodging.uid(spec.app_id)
        folder.make(uid)
        if folder.bind is None:
            raise OSError("the state folder's path is too long for a socket")
        command = self._lodging.plan(replace(spec, instance=name, env={}), folder, None)
        base = self._base_layers(spec)
        readable = [path for path in map(Path, command.readable) if not self._is_in_store(path) or path in base]
        state = self._settings.state
        rooms = [(state / "images" / "sha256", False), (state / "layers" / "sha256", False), (state / "views", False),
                 (self._settings.run_dir / "instances", True)]  # fmt: skip
        arguments = ["-P", "-m", f"{SHIM}.zygote", "--socket", str(folder.bind), "--imports", _names(facts)]
        plan = replace(
            command,
            argv=[command.argv[0], *arguments],
            env={name: _in_layers(name, value) for name, value in command.env.items() if name in _KEPT_ENVIRONMENT}
            | {"HOME": str(folder.io / "home"), "TMPDIR": str(folder.io / "tmp")},
            cwd=str(folder.io),
            readable=[str(path) for path in readable],
            rooms=[(str(path), is_written) for path, is_written in rooms] if self._is_hidden() else [],
        )
        output = folder.open_log()
        try:
            child = spawn(plan, stdout=output, stderr=subprocess.STDOUT)
        finally:
            os.close(output)
        life = Life(pid=child.pid, start_ticks=read_stat(child.pid, zombies=True) or 0)
        Note(life=life, address="", app_id=spec.app_id, label="warm", image_digest="", facts=None).write(folder)
        # No mark: its children carry their parent's environment, and they are not its family.
        family = Family(mark="", life=life, group=self._lodging.group(name))
        return _Parent(folder=folder, family=family, child=child, shown=set(readable))

    def _is_hidden(self) -> bool:
        return self._lodging.isolation.level == Level.NAMESPACE

    def _is_in_store(self, path: Path) -> bool:
        return any(path.is_relative_to(self._settings.state / name) for name in ("images", "layers", "views"))

    def _show(self, instance: str, key: str, parent: _Parent, plan: SandboxPlan) -> None:
        """What the plan's process sees, its parent's namespace must have."""
        if not self._is_hidden():
            return
        new = [path for path in map(Path, plan.readable) if path not in parent.shown and self._is_in_store(path)]
        writable = [Path(path) for path in plan.writable]
        graft(parent.family.life.pid, new, writable)
        parent.shown.update(new)
        with self._lock:
            self._grafts[instance] = (key, writable)

    def _stop(self, parent: _Parent) -> None:
        parent.family.terminate()
        parent.family.wait(2.0)
        self._bury(parent.folder, parent.family)
        with suppress(subprocess.TimeoutExpired):  # the kernel is slow to let go of it; nobody needs to wait
            parent.child.wait(5)

    def _clear(self, folder: Folder) -> None:
        """A parent of a worker before us: its socket died with that worker's knowledge of it."""
        note = Note.read(folder)
        life = NO_LIFE if note is None else note.life
        self._bury(folder, Family(mark="", life=life, group=self._lodging.group(f"warm-{folder.path.name}")))

    def _bury(self, folder: Folder, family: Family) -> None:
        family.kill()
        if family.group is not None:
            family.group.remove()
        folder.remove()


def _in_layers(name: str, value: str) -> str:
    """Search paths by way of the layers themselves: the image that they lead through goes before the parent does."""
    return ":".join(map(os.path.realpath, value.split(":"))) if name in SEARCH_PATHS else value


def _names(facts: Mapping[str, Json]) -> str:
    listed = facts.get("imports")
    names = [name for name in listed if isinstance(name, str) and "," not in name] if isinstance(listed, list) else []
    text = ",".join(names)
    return text if len(text) <= _MAX_IMPORTS_BYTES else text[:_MAX_IMPORTS_BYTES].rpartition(",")[0]


def _fork(parent: _Parent, plan: SandboxPlan, output: int) -> WarmChild | None:
    with _connect(parent.folder.socket) as connection:
        request = {"op": "fork", "env": dict(plan.env), "cwd": plan.cwd, "hold": True}
        line = json.dumps(request).encode() + b"\n"
        socket.send_fds(connection, [line[:1]], [output, output])
        connection.sendall(line[1:])
        answer = _read_line(connection)
        if answer.get("ok") is not True:
            _LOG.info("warm parent refuses: %s", str(answer.get("why"))[:200])
            return None
        pid = answer.get("pid")
        if not isinstance(pid, int) or not _is_child(pid, parent.family.life.pid, plan.uid):
            raise ValueError(f"the warm parent named {pid!r}, which is no child of its own")
        life = Life(pid=pid, start_ticks=read_stat(pid) or 0)
        for path in plan.join:
            Path(path).write_text(str(pid), encoding="ascii")
        connection.sendall(b'{"op": "go"}\n')
    return WarmChild(life, parent.folder.socket)


def _is_child(pid: int, parent_pid: int, uid: int | None) -> bool:
    """What the kernel says of a process. Source: proc(5), status."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    found = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    own = str(os.getuid() if uid is None else uid)
    return found.get("PPid") == str(parent_pid) and set(found.get("Uid", "").split()) == {own}


def _answers(path: Path) -> bool:
    try:
        with _connect(path) as connection:
            connection.sendall(b'{"op": "ping"}\n')
            return _read_line(connection).get("ok") is True
    except (OSError, ValueError):
        return False


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_ASK_S)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _read_line(connection: socket.socket) -> dict[str, Json]:
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(65536)
        if not part or len(data) > 1 << 20:
            raise ValueError("the answer has no end")
        data += part
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("the answer is no object")  # noqa: TRY004 -- one kind of refusal
    return value


__all__: Sequence[str] = ["WarmChild", "WarmParents", "can_be_warm"]
