"""The docker target: releases are containers of their images, that outlive the worker that started them.

Rules of this file
1. An instance is its folder plus a living container; both are found again after any crash of ours.
2. start() and stop() of one instance never overlap: a lock a name.
3. There is one watcher, our keeper: the engine's own restart policy stays off, or two would start one instance.
4. Only containers with this server's labels are ever looked at, and they are ended by id: names come back.
5. An engine that does not answer ends nothing: what lives without it serves, what ended waits for it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

from buildpacks.image.values import OutboundImage
from buildpacks.order import BuildFailed
from gitserver.errors import Json, Problem
from gitserver.settings import Settings
from gitserver.targets.applog import AppLog
from gitserver.targets.containers import ContainerSpec, Engine, Sent
from gitserver.targets.contract import Running, Spec
from gitserver.targets.docker_leftovers import Leftovers, Networks
from gitserver.targets.docker_live import LAST_LINES_S, MAX_IO_BYTES, MAX_IO_FILES, Live
from gitserver.targets.docker_plan import (
    IO_PATH,
    PORT,
    Command,
    Document,
    Naming,
    image_tag,
    is_dockerfile,
    plan_container,
    user_of,
)
from gitserver.targets.ending import wait_ended
from gitserver.targets.environment import runs_shim
from gitserver.targets.family import Family
from gitserver.targets.instance import (
    NO_LIFE,
    Folder,
    Note,
    read_plain,
    write_endpoint,
)
from gitserver.targets.keeper import Keeper, Kept
from gitserver.targets.listening import listeners_in
from gitserver.targets.readiness import Watched, is_listening, wait_ready
from gitserver.targets.roster import Roster

_LOG = logging.getLogger("algo.docker")
_INSTANCE = re.compile(r"[a-z0-9-]{1,60}")
_MEMORY_LOOK_S, _LOG_LOOK_S = 1.0, 0.25
_ENGINE_LOOK_S = 0.5
_KILL_S = 5.0
_PORT_TRIES = 3
# Statuses by which an engine says that it could not execute the command. Source: docker run, "Exit status"
_NO_COMMAND = {126: "cannot be executed", 127: "No such file or directory"}
_PORT_TAKEN = re.compile(r"port is already allocated|address already in use")


class DockerTarget:
    """contract.Target over a container engine of this machine.

    outbound  an image document to the image that an engine can be sent
    command   an image document and a process to what runs in the container
    """

    def __init__(
        self, settings: Settings, engine: Engine, outbound: Callable[[Document], OutboundImage], command: Command
    ) -> None:
        self._settings, self._engine, self._outbound, self._command = settings, engine, outbound, command
        self._naming = Naming.of(settings)
        self._root = settings.run_dir / "instances"
        self._root.mkdir(parents=True, exist_ok=True)
        self._roster: Roster[Live] = Roster()
        self._leftovers = Leftovers(engine, self._naming)
        self._networks = Networks(engine, self._naming)
        self._closed = threading.Event()
        self._log = AppLog(settings.app_log)
        self._memory_looked_at = self._logs_looked_at = 0.0
        self._adopt()
        kept = Kept(
            is_alive=self._roster.is_alive, start=self._restart, look=self._look, how_it_ended=self._how_it_ended,
            event=lambda spec, text: self._log.event(spec.app_id, spec.label, text),
        )  # fmt: skip
        self._keeper = Keeper(kept)

    # -- contract ----------------------------------------------------------------------------------------------

    def start(self, spec: Spec, log: Callable[[str], None]) -> Running:
        """Start and wait until ready; a running instance of that name is returned as it is. Raises Problem."""
        if not _INSTANCE.fullmatch(spec.instance):
            raise ValueError(f"not an instance's name: {spec.instance!r}")
        with self._roster.gate(spec.instance):
            return self._roster.find(spec.instance) or self._start(spec, log)

    def run(self, spec: Spec, log: Callable[[str], None]) -> None:
        """Run spec.process to its end; nothing of it stays. Raises Problem."""
        until = partial(wait_ended, timeout_s=spec.ready_timeout_s, log=log)
        with self._roster.gate(spec.instance), self._roster.starting(spec.instance):
            image = self._image(spec, log)
            self._bury(spec.instance)
            try:
                self._networks.join(spec.app_id, spec.instance)
                self._attempt(spec, image, until)
            finally:
                self._bury(spec.instance)
                self._networks.leave(spec.instance)
                self._roster.forget_port(spec.instance)

    def keep(self, spec: Spec) -> None:
        """From now on start it again when it ends."""
        self._keeper.keep(spec)

    def stop(self, instance: str, *, grace_s: float) -> None:
        """SIGTERM, SIGKILL after grace_s; its container is removed, later where the engine does not answer now."""
        self._keeper.forget(instance)
        live = self._roster.get(instance)
        if live is not None and grace_s > 0:
            # Before the gate: a start that waits for readiness under it sees the end and lets go. One that is not ready
            # has no calls to end, and as process 1 may not hear SIGTERM yet.
            live.is_stopping = True
            live.send(self._engine, signal.SIGTERM if live.facts is not None else signal.SIGKILL)
        with self._roster.stopping(instance):
            live = self._roster.pop(instance)
            self._roster.forget_port(instance)
            if live is not None:
                self._end(live, grace_s=grace_s)
            self._networks.leave(instance)

    def find(self, instance: str) -> Running | None:
        """The instance if it is ready now."""
        return self._roster.find(instance)

    def instances(self) -> tuple[str, ...]:
        """Names of everything that runs here, ours alone."""
        return self._roster.names()

    def tail(self, instance: str, lines: int) -> tuple[str, ...]:
        """The last lines that an instance wrote, oldest first."""
        return Folder(path=self._root / instance).tail(lines)

    def close(self) -> None:
        """Stop watching; instances go on as they are."""
        self._closed.set()
        self._keeper.stop()
        self._leftovers.close()
        for live in self._roster.all():
            live.watch.close()
        self._engine.close()

    # -- starting ----------------------------------------------------------------------------------------------

    def _start(self, spec: Spec, log: Callable[[str], None]) -> Running:
        with self._roster.starting(spec.instance):
            image = self._image(spec, log)
            self._bury(spec.instance)
            try:
                self._networks.join(spec.app_id, spec.instance)
                return self._attempt(spec, image, partial(wait_ready, timeout_s=spec.ready_timeout_s))
            except BaseException:
                if not self._keeper.is_kept(spec.instance):
                    self._networks.leave(spec.instance)
                    self._roster.forget_port(spec.instance)
                raise

    def _image(self, spec: Spec, log: Callable[[str], None]) -> str:
        """The engine's id of the image, which is there, complete and made for this machine. Raises Problem."""
        if is_dockerfile(spec.image):
            return str(spec.image["engine_image"])
        try:
            outbound = self._outbound(spec.image)
            arch = str(json.loads(outbound.config).get("architecture", ""))
            if arch != self._engine.facts().arch:
                raise Problem("wrong-architecture", image=arch, engine=self._engine.facts().arch)
            sent = self._engine.ensure(outbound, image_tag(spec), log)
        except BuildFailed as failed:
            raise Problem(failed.code, log=failed.log, **failed.fields) from failed
        if sent.layers_sent > 0:
            log(_what_was_sent(sent))
        return sent.image

    def _attempt(self, spec: Spec, image: str, until: Callable[[Watched], Mapping[str, Json]]) -> Running:
        """Ready (or what else `until` waits for), or nothing of the attempt stays. Raises Problem."""
        folder = Folder(path=self._root / spec.instance)
        user = user_of(spec.app_id, server_uid=os.geteuid(), server_gid=os.getegid())
        folder.make(user[0] if os.geteuid() == 0 else None)
        has_socket = runs_shim(spec) and folder.bind is not None
        try:
            container, port = self._birth(spec, image, folder, user, has_port=not has_socket)
        except BaseException:
            folder.remove()
            raise
        address = f"unix:{folder.socket}" if port is None else f"tcp:127.0.0.1:{port}"
        try:
            live = Live.begun(self._engine, spec, folder, container, address)
        except BaseException:
            self._leftovers.remove(container)
            folder.remove()
            raise
        note = Note(
            life=live.life, address=address, app_id=spec.app_id, label=spec.label, image_digest=spec.image_digest,
            facts=None,
        )  # fmt: skip
        watched = Watched(
            folder=folder, address=address, port=None if runs_shim(spec) else PORT, is_unix=has_socket,
            memory_mib=spec.memory_mib, ended=lambda: live.status(self._engine), oom=live.was_oom,
            listeners=lambda: listeners_in(live.life.pid), is_inside=True,
        )  # fmt: skip
        try:
            note.write(folder)
            self._roster.put(spec.instance, live)
            if self._roster.is_unwanted(spec.instance):
                live.is_stopping = True
                live.send(self._engine, signal.SIGKILL)
            facts = until(watched)
            if not spec.process:
                note.with_facts(facts).write(folder)
                write_endpoint(folder, address)
        except BaseException:
            self._roster.pop(spec.instance)
            self._end(live, grace_s=0)
            raise
        live.facts = facts
        return Running(instance=spec.instance, address=address, facts=facts)

    def _birth(
        self, spec: Spec, image: str, folder: Folder, user: tuple[int, int], *, has_port: bool
    ) -> tuple[str, int | None]:
        """A started container, and its port on this machine. Raises Problem; nothing is left in the engine then."""
        for left in reversed(range(_PORT_TRIES)):
            port = self._roster.port(spec.instance) if has_port else None
            planned = plan_container(
                self._settings, spec, self._command, folder, image=image, user=user, host_port=port
            )  # fmt: skip
            try:
                return self._create(planned, folder), port
            except Problem as problem:
                # Somebody took the port since we looked. One that callers know already is waited for.
                is_taken = bool(_PORT_TAKEN.search(str(problem)))
                if not is_taken or not left or self._keeper.is_kept(spec.instance):
                    raise
                self._roster.forget_port(spec.instance)
        raise AssertionError("the last try returns or raises")

    def _create(self, planned: ContainerSpec, folder: Folder) -> str:
        self._leftovers.spare(planned.name)
        container = self._engine.create(planned)
        try:
            (folder.path / "container").write_text(container, encoding="ascii")
            self._engine.start(container)
        except BaseException as error:
            state = None
            with suppress(Problem):  # the first one is the cause
                state = self._engine.inspect(container)
            self._leftovers.remove(container)
            if isinstance(error, Problem) and state is not None and state.exit_status in _NO_COMMAND:
                why = f"{planned.argv[0] if planned.argv else 'the entry point'}: {_NO_COMMAND[state.exit_status]}"
                raise Problem("start-crashed", how=f"status {state.exit_status}", log=(why,)) from error
            raise
        return container

    def _restart(self, spec: Spec) -> bool:
        self._wait_for_engine(spec)
        with self._roster.gate(spec.instance):
            if not self._keeper.is_kept(spec.instance) or self._roster.find(spec.instance) is not None:
                return False
            self._start(spec, lambda line: _LOG.info("%s: %s", spec.instance, line))
            return True

    def _wait_for_engine(self, spec: Spec) -> None:
        """Until the engine answers or nobody wants the instance: told once, tried often, for it costs nothing."""
        is_told = False
        while self._keeper.is_kept(spec.instance) and not self._closed.is_set():
            try:
                self._engine.inspect(self._naming.container(spec.instance))
                return
            except Problem as problem:
                if not is_told:
                    text = "the container engine does not answer; starts again when it does"
                    self._log.event(spec.app_id, spec.label, text)
                    _LOG.warning("%s: %s", spec.instance, problem)
                is_told = True
            self._closed.wait(_ENGINE_LOOK_S)

    # -- ending ------------------------------------------------------------------------------------------------

    def _end(self, live: Live, *, grace_s: float) -> None:
        if grace_s > 0:
            if not live.is_stopping:
                live.send(self._engine, signal.SIGTERM)
            live.wait_dead(grace_s)
        if live.life.is_alive():
            live.send(self._engine, signal.SIGKILL)
            live.wait_dead(_KILL_S)
        live.watch.ending(LAST_LINES_S)
        live.watch.close()
        self._leftovers.remove(live.container)
        self._log.pull(live.app_id, live.label, live.folder.log, ended=True)
        live.folder.remove()

    def _bury(self, instance: str) -> None:
        """What is left of an earlier life of that name."""
        live = self._roster.pop(instance)
        if live is not None:
            self._end(live, grace_s=0)

    # -- finding again -----------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Instances of a worker before us: the ready ones go on, with or without an engine; the rest goes."""
        for path in sorted(self._root.iterdir()):
            folder, note = Folder(path=path), Note.read(Folder(path=path))
            container = read_plain(path / "container").decode("ascii", "replace")
            if note is None or not container:
                # Half-made, or a process of the process target, which served on this state folder before.
                life = NO_LIFE if note is None else note.life
                Family(mark=f"{self._naming.mark}/{path.name}", life=life, group=None).kill()
                folder.remove()
                continue
            live = Live.found(self._engine, folder, note, container, self._settings.memory_mib)
            if live.facts is not None and live.life.is_alive() and is_listening(live.address):
                self._roster.put(path.name, live)
                self._roster.adopt_port(path.name, live.address)
                self._networks.adopt(live.app_id, path.name)
            else:
                self._end(live, grace_s=0)
        self._leftovers.sweep(self._roster.names())

    def _how_it_ended(self, instance: str) -> str:
        live = self._roster.get(instance)
        return "ended" if live is None else live.how_it_ended()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._logs_looked_at >= _LOG_LOOK_S:
            self._logs_looked_at = now
            for live in self._roster.all():
                self._log.pull(live.app_id, live.label, live.folder.log)
        if now - self._memory_looked_at >= _MEMORY_LOOK_S:
            self._memory_looked_at = now
            for live in self._roster.all():
                before = live.oom_kills
                if live.count_oom_kills() > before:
                    self._log.event(live.app_id, live.label, f"took more than its {live.memory_mib} MiB of memory")
                if live.life.is_alive() and live.takes_too_much_disk():
                    text = f"filled {IO_PATH} with more than {MAX_IO_BYTES // 2**20} MiB or {MAX_IO_FILES} files; ended"
                    self._log.event(live.app_id, live.label, text)
                    live.send(self._engine, signal.SIGKILL)


def _what_was_sent(sent: Sent) -> str:
    size = f"{sent.sent_bytes / 1e6:.1f} MB" if sent.sent_bytes >= 1e6 else f"{sent.sent_bytes / 1e3:.0f} kB"
    layers = "1 layer" if sent.layers_sent == 1 else f"{sent.layers_sent} layers"
    return f"Image: {layers} new, {size} sent to the engine"
