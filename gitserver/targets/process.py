"""The process target: releases are processes of this machine, in a sandbox, that outlive the worker that started them.

Rules of this file
1. An instance is its folder plus a living process; both are found again after any crash of ours.
2. start() and stop() of one instance never overlap: a lock a name.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from buildpacks.lifecycle.failure import LifecycleError
from buildpacks.lifecycle.launch import resolve
from gitserver.errors import Json, Problem
from gitserver.settings import Settings
from gitserver.targets.applog import AppLog
from gitserver.targets.cgroup import Cgroup
from gitserver.targets.contract import Running, Spec
from gitserver.targets.family import MARK, Family
from gitserver.targets.instance import Folder, Life, Note, read_stat, write_endpoint
from gitserver.targets.keeper import Keeper, Kept
from gitserver.targets.probe import Isolation, probe_isolation
from gitserver.targets.readiness import Watched, can_connect, wait_ready
from gitserver.targets.sandbox import Level, Limits, SandboxPlan, covered, interpreters
from gitserver.targets.spawn import spawn

FIRST_UID = 20000  # plus the app's id: users that no distribution gives out
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
SHIM = "_gitserver_runtime"
# A configuration may not take these from the platform: the first two lead calls astray, the rest load foreign code
# into a process before the app's own.
RESERVED = frozenset({"PORT", "HOME", "TMPDIR", "LD_PRELOAD", "LD_AUDIT", "PYTHONHOME"})


@dataclass(slots=True)
class _Live:
    """A started instance. Mutable: facts come when it is ready; child is None for one that was adopted."""

    folder: Folder
    family: Family
    address: str
    app_id: int
    label: str
    facts: Mapping[str, Json] | None
    child: subprocess.Popen[bytes] | None
    memory_mib: int


class ProcessTarget:
    """contract.Target over this machine's processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.run_dir / "instances"
        self._root.mkdir(parents=True, exist_ok=True)
        self.isolation: Isolation = probe_isolation(settings.state, required=settings.isolation)
        self._lock = threading.Lock()
        self._gates: dict[str, threading.Lock] = {}
        self._live: dict[str, _Live] = {}
        self._log = AppLog(settings.app_log)
        self._adopt()
        self._keeper = Keeper(Kept(is_alive=self._is_alive, start=self._restart, look=self._look, event=self._event))

    # -- contract ----------------------------------------------------------------------------------------------

    def start(self, spec: Spec, log: Callable[[str], None]) -> Running:  # noqa: ARG002 -- a process says nothing on the way
        """Start and wait until ready; a running instance of that name is returned as it is. Raises Problem."""
        with self._gate(spec.instance):
            running = self.find(spec.instance)
            if running is not None:
                return running
            return self._start(spec)

    def keep(self, spec: Spec) -> None:
        """From now on restart it when it ends."""
        self._keeper.keep(spec)

    def stop(self, instance: str, *, grace_s: float) -> None:
        """SIGTERM, SIGKILL after grace_s; returns when nothing of it is left."""
        self._keeper.forget(instance)
        with self._lock:
            live = self._live.get(instance)
        if live is not None:
            # Before the gate: a start that waits for readiness under it sees the end and lets go.
            live.family.terminate()
        with self._gate(instance):
            with self._lock:
                live = self._live.pop(instance, None)
            if live is not None:
                self._end(live, grace_s=grace_s)

    def find(self, instance: str) -> Running | None:
        """The instance if it is ready now."""
        with self._lock:
            live = self._live.get(instance)
        if live is None or live.facts is None or not live.family.life.is_alive():
            return None
        return Running(instance=instance, address=live.address, facts=live.facts)

    def instances(self) -> tuple[str, ...]:
        """Names of everything that runs here."""
        with self._lock:
            return tuple(sorted(self._live))

    def close(self) -> None:
        """Stop watching; instances go on as they are."""
        self._keeper.stop()
        if self.isolation.cgroups is not None:
            self.isolation.cgroups.remove()

    # -- starting ----------------------------------------------------------------------------------------------

    def _start(self, spec: Spec) -> Running:
        self._bury(spec.instance)
        folder = self._folder(spec.instance)
        uid = self._uid(spec.app_id)
        folder.make(uid)
        process = web_process(spec.image)
        is_shim = SHIM in " ".join(_words(process, "command"))
        port = None if is_shim and folder.socket is not None else free_port()
        address = f"unix:{folder.socket}" if port is None else f"tcp:127.0.0.1:{port}"
        plan = self._plan(spec, folder, process, uid, port)
        with folder.log.open("ab") as output:
            child = spawn(plan, stdout=output, stderr=subprocess.STDOUT)
        life = Life(pid=child.pid, start_ticks=read_stat(child.pid) or 0)
        family = Family(instance=spec.instance, life=life, group=self._group(spec.instance))
        live = _Live(
            folder=folder, family=family, address=address, app_id=spec.app_id, label=spec.label, facts=None,
            child=child, memory_mib=spec.memory_mib,
        )  # fmt: skip
        note = Note(
            life=life, address=address, app_id=spec.app_id, label=spec.label, image_digest=spec.image_digest, facts=None
        )  # fmt: skip
        note.write(folder)
        with self._lock:
            self._live[spec.instance] = live
        watched = Watched(
            folder=folder, address=address, port=None if is_shim else port, memory_mib=spec.memory_mib,
            ended=child.poll, pids=family.pids, oom=lambda: live.family.group is not None and _oom(live),
        )  # fmt: skip
        try:
            facts = wait_ready(watched, timeout_s=spec.ready_timeout_s)
        except BaseException:
            self._log.pull(spec.app_id, spec.label, folder.log)
            with self._lock:
                self._live.pop(spec.instance, None)
            self._end(live, grace_s=0)
            raise
        live.facts = facts
        Note(
            life=life, address=address, app_id=spec.app_id, label=spec.label, image_digest=spec.image_digest,
            facts=facts,
        ).write(folder)  # fmt: skip
        write_endpoint(folder, address)
        return Running(instance=spec.instance, address=address, facts=facts)

    def _plan(
        self, spec: Spec, folder: Folder, process: Mapping[str, Json], uid: int | None, port: int | None
    ) -> SandboxPlan:
        image = image_path(self._settings, spec.image_digest)
        layers = [layer_path(self._settings, diff_id) for diff_id in _layer_ids(spec.image)]
        env = self._environment(spec, folder, port)
        try:
            argv, env = resolve(image / "layers", _buildpack_ids(spec.image), process, env)
        except LifecycleError as error:
            raise Problem("launch-failed", detail=str(error)) from error
        # After the layers, so that an app's owner has the last word; never over the platform's own.
        env |= {name: value for name, value in spec.env.items() if not is_reserved(name)}
        group = self._group(spec.instance)
        if group is not None:
            group.make(memory_mib=spec.memory_mib, processes=Limits().processes)
        readable = [image, *layers, *interpreters(layers)]
        return SandboxPlan(
            argv=argv, env=env, cwd=str(image / "app" / _directory(process)), level=self.isolation.level, uid=uid,
            readable=[str(path) for path in readable], writable=[str(folder.io)], hidden=hidden_places(self._settings),
            join=group.join_files() if group is not None else [], limits=Limits(memory_mib=spec.memory_mib),
            landlock=self.isolation.landlock, dies_with_parent=False,
        )  # fmt: skip

    def _environment(self, spec: Spec, folder: Folder, port: int | None) -> dict[str, str]:
        """Made from nothing: what the platform says; layers and configuration come on top."""
        where = {"ALGO_BIND": f"unix:{folder.socket}"}
        if port is not None:
            where = {"PORT": str(port), "HOST": "127.0.0.1", "ALGO_BIND": f"127.0.0.1:{port}"}
        return {
            "PATH": SYSTEM_PATH,
            "HOME": str(folder.io / "home"),
            "TMPDIR": str(folder.io / "tmp"),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "ALGO_MODEL_NAME": spec.app_name.app,
            "ALGO_OWNER": spec.app_name.owner,
            "ALGO_MODEL_VERSION": spec.label,
            "ALGO_READY_FILE": str(folder.ready),
            "ALGO_TERMINATION_LOG": str(folder.termination),
            "ALGO_MAX_BODY_BYTES": str(self._settings.max_body_bytes),
            MARK: spec.instance,
            **where,
        }

    def _restart(self, spec: Spec) -> None:
        with self._gate(spec.instance):
            if self._keeper.is_kept(spec.instance) and self.find(spec.instance) is None:
                self._start(spec)

    # -- ending ------------------------------------------------------------------------------------------------

    def _end(self, live: _Live, *, grace_s: float) -> None:
        if grace_s > 0:
            live.family.terminate()
            live.family.wait(grace_s)
        live.family.kill()
        if live.child is not None:
            with suppress(subprocess.TimeoutExpired):
                live.child.wait(5)
        self._log.pull(live.app_id, live.label, live.folder.log)
        if live.family.group is not None:
            live.family.group.remove()
        live.folder.remove()

    def _bury(self, instance: str) -> None:
        """What is left of an earlier life of that name."""
        with self._lock:
            live = self._live.pop(instance, None)
        if live is not None:
            self._end(live, grace_s=0)

    # -- finding again -----------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Instances of a worker before us: the ready ones go on, the rest is cleared away."""
        for path in sorted(self._root.iterdir()):
            folder, instance = Folder(path=path), path.name
            note, group = Note.read(folder), self._group(path.name)
            life = note.life if note is not None else Life(pid=0, start_ticks=-1)
            live = _Live(
                folder=folder, family=Family(instance=instance, life=life, group=group),
                address=note.address if note is not None else "", app_id=note.app_id if note is not None else 0,
                label=note.label if note is not None else "", facts=note.facts if note is not None else None,
                child=None, memory_mib=self._settings.memory_mib,
            )  # fmt: skip
            if note is not None and note.facts is not None and life.is_alive() and can_connect(note.address):
                self._live[instance] = live
            else:
                self._end(live, grace_s=0)

    def _is_alive(self, instance: str) -> bool:
        with self._lock:
            live = self._live.get(instance)
        return live is not None and live.family.life.is_alive()

    def _look(self) -> None:
        with self._lock:
            found = list(self._live.values())
        for live in found:
            if live.child is not None:
                live.child.poll()  # a zombie is not alive
            self._log.pull(live.app_id, live.label, live.folder.log)
            if live.family.group is None and live.family.memory_mib() > live.memory_mib:
                self._log.event(live.app_id, live.label, f"ended: more than {live.memory_mib} MiB of memory")
                live.family.kill()

    def _event(self, spec: Spec, text: str) -> None:
        with self._lock:
            live = self._live.get(spec.instance)
        if live is not None and live.family.group is not None and _oom(live) and text.startswith("ended"):
            text = f"{text} (the kernel ended it at {live.memory_mib} MiB of memory)"
        self._log.event(spec.app_id, spec.label, text)

    # -- names -------------------------------------------------------------------------------------------------

    def _folder(self, instance: str) -> Folder:
        return Folder(path=self._root / instance)

    def _gate(self, instance: str) -> threading.Lock:
        with self._lock:
            return self._gates.setdefault(instance, threading.Lock())

    def _group(self, instance: str) -> Cgroup | None:
        return None if self.isolation.cgroups is None else self.isolation.cgroups.group(instance)

    def _uid(self, app_id: int) -> int | None:
        return None if self.isolation.level < Level.USER else app_uid(app_id)


def app_uid(app_id: int) -> int:
    """The user that an app's processes run as, where the server may choose."""
    return FIRST_UID + app_id


def is_reserved(name: str) -> bool:
    """Whether a configuration may not set this variable."""
    return name in RESERVED or name.startswith("ALGO_")


def hidden_places(settings: Settings) -> list[str]:
    """What no release and no build sees into: our state, people's homes, shared temporary folders."""
    places = [settings.state, Path.home(), Path("/root"), Path("/home"), *map(Path, ("/tmp", "/var/tmp", "/dev/shm"))]  # noqa: S108 -- hidden, not used
    return covered([place for place in places if place.is_dir()])


def image_path(settings: Settings, digest: str) -> Path:
    """Where the kitchen composed an image."""
    return settings.state / "images" / "sha256" / digest.removeprefix("sha256:")


def layer_path(settings: Settings, diff_id: str) -> Path:
    """Where the kitchen sealed a layer."""
    return settings.state / "layers" / "sha256" / diff_id.removeprefix("sha256:")


def web_process(image: Mapping[str, Json]) -> Mapping[str, Json]:
    """The process that answers calls: type web, else the default one. Raises Problem('no-web-process')."""
    processes = [process for process in _list(image, "processes") if isinstance(process, dict)]
    for process in processes:
        if process.get("type") == "web":
            return process
    for process in processes:
        if process.get("default"):
            return process
    raise Problem("no-web-process", found=[str(process.get("type")) for process in processes])


def free_port() -> int:
    """A port that was free a moment ago; a web process is told to take it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _oom(live: _Live) -> bool:
    return live.family.group is not None and live.family.group.oom_kills() > 0


def _layer_ids(image: Mapping[str, Json]) -> list[str]:
    return [
        str(layer["diff_id"])
        for layer in _list(image, "layers")
        if isinstance(layer, dict) and layer.get("kind") == "layer"
    ]


def _buildpack_ids(image: Mapping[str, Json]) -> list[str]:
    return [str(entry["id"]) for entry in _list(image, "buildpacks") if isinstance(entry, dict)]


def _directory(process: Mapping[str, Json]) -> str:
    value = process.get("working-dir")
    return value.lstrip("/") if isinstance(value, str) else ""


def _words(process: Mapping[str, Json], name: str) -> list[str]:
    value = process.get(name)
    return [str(word) for word in value] if isinstance(value, list) else []


def _list(image: Mapping[str, Json], name: str) -> list[Json]:
    value = image.get(name)
    return value if isinstance(value, list) else []
