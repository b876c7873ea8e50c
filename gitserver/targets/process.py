"""The process target: releases are processes of this machine, in a sandbox, that outlive the worker that started them.

Rules of this file
1. An instance is its folder plus a living process; both are found again after any crash of ours.
2. start() and stop() of one instance never overlap: a lock a name.
3. A warm parent only ever saves time: whatever it does not do is done by a fresh start.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gitserver.errors import Json, Problem
from gitserver.settings import Settings
from gitserver.targets.applog import AppLog
from gitserver.targets.contract import Running, Spec
from gitserver.targets.ending import wait_ended
from gitserver.targets.environment import runs_shim
from gitserver.targets.family import Family
from gitserver.targets.instance import NO_LIFE, Folder, Life, Note, read_stat, write_endpoint
from gitserver.targets.keeper import Keeper, Kept
from gitserver.targets.listening import listeners_of
from gitserver.targets.lodging import Lodging
from gitserver.targets.probe import Isolation, probe_isolation
from gitserver.targets.readiness import Watched, is_listening, wait_ready
from gitserver.targets.roster import Roster
from gitserver.targets.spawn import SandboxFailed, spawn
from gitserver.targets.warm import WarmChild, WarmParents, can_be_warm

# Ends that say nothing of the app: a fork may have met what its parent did.
_DOUBTFUL = frozenset({"start-crashed", "start-timeout", "load-timeout"})
_INSTANCE = re.compile(r"[a-z0-9-]{1,60}")
_MEMORY_LOOK_S = 1.0
_LOG_LOOK_S = 0.25


class Child(Protocol):
    """A started process: subprocess.Popen, or a warm parent's child."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def poll(self) -> int | None:
        """None while it runs, else its exit status, negative for a signal."""
        ...

    def wait(self, timeout: float) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        ...


@dataclass(slots=True)
class _Live:
    """A started instance. Mutable: facts come when it is ready; child is None for one that was adopted."""

    folder: Folder
    family: Family
    address: str
    app_id: int
    label: str
    facts: Mapping[str, Json] | None
    child: Child | None
    memory_mib: int
    is_stopping: bool = False
    oom_kills: int = 0
    was_over: bool = False

    @property
    def life(self) -> Life:
        """Its first process."""
        return self.family.life


class ProcessTarget:
    """contract.Target over this machine's processes. warm: keep parents that have the imports done (warm.py)."""

    def __init__(self, settings: Settings, *, warm: bool = True) -> None:
        self._settings = settings
        self._root = settings.run_dir / "instances"
        self._root.mkdir(parents=True, exist_ok=True)
        self.isolation: Isolation = probe_isolation(settings.state, required=settings.isolation)
        self._lodging = Lodging(settings=settings, isolation=self.isolation)
        self._warm = WarmParents(settings, self._lodging) if warm and can_be_warm(self.isolation) else None
        self._roster: Roster[_Live] = Roster()
        self._log = AppLog(settings.app_log)
        self._memory_looked_at = self._logs_looked_at = 0.0
        self._adopt()
        kept = Kept(
            is_alive=self._roster.is_alive, start=self._restart, look=self._look, how_it_ended=self._how_it_ended,
            event=lambda spec, text: self._log.event(spec.app_id, spec.label, text),
        )  # fmt: skip
        self._keeper = Keeper(kept)

    # -- contract ----------------------------------------------------------------------------------------------

    def start(self, spec: Spec, log: Callable[[str], None]) -> Running:  # noqa: ARG002 -- a process says nothing on the way
        """Start and wait until ready; a running instance of that name is returned as it is. Raises Problem."""
        if not _INSTANCE.fullmatch(spec.instance):
            raise ValueError(f"not an instance's name: {spec.instance!r}")
        with self._roster.gate(spec.instance):
            return self.find(spec.instance) or self._start(spec)

    def run(self, spec: Spec, log: Callable[[str], None]) -> None:
        """Run spec.process to its end; nothing of it stays. Raises Problem."""
        with self._roster.gate(spec.instance):
            try:
                self._attempt(spec, partial(wait_ended, timeout_s=spec.ready_timeout_s, log=log), may_fork=False)
            finally:
                self._bury(spec.instance)
                self._roster.forget_port(spec.instance)

    def keep(self, spec: Spec) -> None:
        """From now on restart it when it ends."""
        self._keeper.keep(spec)
        running = self.find(spec.instance)
        if self._warm is not None and running is not None:
            self._warm.want(spec, running.facts)

    def stop(self, instance: str, *, grace_s: float) -> None:
        """SIGTERM, SIGKILL after grace_s; returns when nothing of it is left."""
        self._keeper.forget(instance)
        live = self._roster.get(instance)
        if live is not None and grace_s > 0:
            # Before the gate: a start that waits for readiness under it sees the end and lets go.
            live.is_stopping = True
            live.family.terminate()
        with self._roster.gate(instance):
            live = self._roster.pop(instance)
            self._roster.forget_port(instance)
            if live is not None:
                self._end(live, grace_s=grace_s)
        if self._warm is not None:
            self._warm.unwant(instance)

    def find(self, instance: str) -> Running | None:
        """The instance if it is ready now."""
        return self._roster.find(instance)

    def instances(self) -> tuple[str, ...]:
        """Names of everything that runs here."""
        return self._roster.names()

    def tail(self, instance: str, lines: int) -> tuple[str, ...]:
        """The last lines that an instance wrote, oldest first."""
        return Folder(path=self._root / instance).tail(lines)

    def close(self) -> None:
        """Stop watching; instances go on as they are."""
        self._keeper.stop()
        if self._warm is not None:
            self._warm.close()
        if self.isolation.cgroups is not None:
            self.isolation.cgroups.remove()

    # -- starting ----------------------------------------------------------------------------------------------

    def _start(self, spec: Spec) -> Running:
        """A fork of a warm parent where there is one; what fails without a reason of the app's own is started fresh."""
        until = partial(wait_ready, timeout_s=spec.ready_timeout_s)
        forked = self._attempt(spec, until, may_fork=True)
        if isinstance(forked, Running):
            return forked
        self._log.event(spec.app_id, spec.label, f"its warm parent is not used ({forked.failure.code}); starting fresh")
        fresh = self._attempt(spec, until, may_fork=False)
        if isinstance(fresh, Running):
            return fresh
        raise fresh

    def _attempt(
        self, spec: Spec, until: Callable[[Watched], Mapping[str, Json]], *, may_fork: bool
    ) -> Running | Problem:
        """Ready (or what else `until` waits for), or the Problem of a fork that may not be the app's.

        Raises  Problem for everything else
        """
        self._bury(spec.instance)
        folder = Folder(path=self._root / spec.instance)
        folder.make(self._lodging.uid(spec.app_id))
        shim = runs_shim(spec)
        port = None if shim and folder.bind is not None else self._roster.port(spec.instance)
        address = f"unix:{folder.socket}" if port is None else f"tcp:127.0.0.1:{port}"
        try:
            child = self._birth(spec, folder, port, may_fork=may_fork and shim)
        except BaseException:
            folder.remove()
            raise
        life = Life(pid=child.pid, start_ticks=read_stat(child.pid, zombies=True) or 0)
        live = _Live(
            folder=folder, family=self._family(spec.instance, life), address=address, app_id=spec.app_id,
            label=spec.label, facts=None, child=child, memory_mib=spec.memory_mib,
        )  # fmt: skip
        note = Note(
            life=life, address=address, app_id=spec.app_id, label=spec.label, image_digest=spec.image_digest, facts=None
        )  # fmt: skip
        watched = Watched(
            folder=folder, address=address, port=None if shim else port, is_unix=port is None,
            memory_mib=spec.memory_mib, ended=child.poll, listeners=lambda: listeners_of(live.family.pids()),
            oom=lambda: live.was_over or _oom_kills(live) > 0,
        )  # fmt: skip
        try:
            note.write(folder)
            self._roster.put(spec.instance, live)
            facts = until(watched)
            if not spec.process:
                note.with_facts(facts).write(folder)
                write_endpoint(folder, address)
        except BaseException as error:
            self._roster.pop(spec.instance)
            self._end(live, grace_s=0)
            is_doubtful = isinstance(error, Problem) and error.failure.code in _DOUBTFUL
            if isinstance(error, Problem) and is_doubtful and isinstance(child, WarmChild) and not live.is_stopping:
                return error
            raise
        live.facts = facts
        return Running(instance=spec.instance, address=address, facts=facts)

    def _birth(self, spec: Spec, folder: Folder, port: int | None, *, may_fork: bool) -> Child:
        plan = self._lodging.plan(spec, folder, port)
        output = folder.open_log()
        try:
            if self._warm is not None and may_fork:
                warm = self._warm.fork(spec, plan, output)
                if warm is not None:
                    return warm
            return spawn(plan, stdout=output, stderr=subprocess.STDOUT)
        except SandboxFailed as failed:
            raise Problem("sandbox-failed", step=failed.step, detail=failed.why) from failed
        finally:
            os.close(output)

    def _restart(self, spec: Spec) -> bool:
        with self._roster.gate(spec.instance):
            if not self._keeper.is_kept(spec.instance) or self.find(spec.instance) is not None:
                return False
            self._start(spec)
            return True

    # -- ending ------------------------------------------------------------------------------------------------

    def _end(self, live: _Live, *, grace_s: float) -> None:
        if grace_s > 0:
            if not live.is_stopping:
                live.family.terminate()
            live.family.wait(grace_s)
        live.family.kill()
        if live.child is not None:
            with suppress(subprocess.TimeoutExpired):
                live.child.wait(5)
        self._log.pull(live.app_id, live.label, live.folder.log, ended=True)
        if live.family.group is not None:
            live.family.group.remove()
        if self._warm is not None:
            self._warm.hide(live.folder.path.name)
        live.folder.remove()

    def _bury(self, instance: str) -> None:
        """What is left of an earlier life of that name."""
        live = self._roster.pop(instance)
        if live is not None:
            self._end(live, grace_s=0)

    # -- finding again -----------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Instances of a worker before us: the ready ones go on, the rest is cleared away."""
        for path in sorted(self._root.iterdir()):
            folder, note = Folder(path=path), Note.read(Folder(path=path))
            live = _Live(
                folder=folder, family=self._family(path.name, NO_LIFE if note is None else note.life),
                address="" if note is None else note.address, app_id=0 if note is None else note.app_id,
                label="" if note is None else note.label, facts=None if note is None else note.facts,
                child=None, memory_mib=self._settings.memory_mib,
            )  # fmt: skip
            if live.facts is not None and live.family.life.is_alive() and is_listening(live.address):
                self._roster.put(path.name, live)
                self._roster.adopt_port(path.name, live.address)
            else:
                self._end(live, grace_s=0)

    def _how_it_ended(self, instance: str) -> str:
        live = self._roster.get(instance)
        status = live.child.poll() if live is not None and live.child is not None else None
        if live is not None and (live.was_over or _oom_kills(live) > 0):
            return f"ended: more than its {live.memory_mib} MiB of memory"
        if status is None:
            return "ended"
        return f"ended with signal {-status}" if status < 0 else f"ended with status {status}"

    def _look(self) -> None:
        found = self._roster.all()
        is_time = time.monotonic() - self._memory_looked_at >= _MEMORY_LOOK_S
        if is_time:
            self._memory_looked_at = time.monotonic()
        # Ends are looked for more often than output: each look at a log is a system call an instance.
        is_log_time = time.monotonic() - self._logs_looked_at >= _LOG_LOOK_S
        if is_log_time:
            self._logs_looked_at = time.monotonic()
        for live in found:
            if live.child is not None:
                live.child.poll()  # a zombie is not alive
            if is_log_time:
                self._log.pull(live.app_id, live.label, live.folder.log)
            if is_time and self._is_over(live):
                self._log.event(live.app_id, live.label, f"took more than its {live.memory_mib} MiB of memory")

    def _is_over(self, live: _Live) -> bool:
        """Whether something of it ended for memory since the last look: by the kernel, or else by us, now."""
        if live.family.group is not None:
            before, live.oom_kills = live.oom_kills, _oom_kills(live)
            return live.oom_kills > before
        if live.was_over or not live.family.is_over(live.memory_mib):
            return False
        live.was_over = True  # before its end, which somebody may be waiting for, to say why
        live.family.kill()
        return True

    # -- names -------------------------------------------------------------------------------------------------

    def _family(self, instance: str, life: Life) -> Family:
        return Family(mark=self._lodging.mark(instance), life=life, group=self._lodging.group(instance))


def _oom_kills(live: _Live) -> int:
    return 0 if live.family.group is None else live.family.group.oom_kills()
