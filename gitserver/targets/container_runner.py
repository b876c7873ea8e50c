"""Runs the children of a build in containers of the stack's build image: buildpacks.order.Runner over an engine.

Code of a repository that has to run while its image is made (sdists, buildpacks of its own) sees the build image, its
own workspace and nothing else: no capabilities, no network but by policy (build_network.py), no socket of the engine,
no password of the operator.
"""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from buildpacks.image.contents import base_outbound
from buildpacks.lifecycle import relay
from buildpacks.order import BuildFailed, Child
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack
from buildpacks.toolchain import find_toolchain
from gitserver.errors import Problem
from gitserver.settings import Settings
from gitserver.targets.build_lines import Lines
from gitserver.targets.build_network import RELAY_PORT, BuildNetwork, Gate, inside_env
from gitserver.targets.build_runner import MEMORY_MIB, WHEEL_UID, hand_over
from gitserver.targets.containers import ContainerSpec, Engine, Mount
from gitserver.targets.environment import app_uid, server_mark
from gitserver.targets.index_hosts import find_gate
from gitserver.targets.index_proxy import SOCKET_NAME, IndexProxy
from gitserver.targets.sandbox import Limits

LABEL = "algo.build"  # its value is the server's mark: what a dead worker left is found by it
_WAY_OUT = "/run/algo-index"  # in the container
_RELAY = Path(relay.__file__).resolve()
_LOOK_S = 0.1
_WAIT_S = 1.0
_LINES_AHEAD = 1000  # read from the engine before they are passed on
_TMP = "size=512m,mode=1777,exec"  # counts as the build's memory; large things go to TMPDIR, on disk
# The image has its own of these; this machine's would hide them.
_SYSTEM = frozenset(map(Path, (
    "/", "/usr", "/usr/local", "/bin", "/sbin", "/lib", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib64",
    "/usr/local/bin", "/usr/local/lib", "/etc",
)))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSite:
    """Where a build's children run.

    image    the build image, in the engine
    python   its interpreter, which starts each child
    network  the operator's policy; gate: the hosts of `indexes`
    """

    image: str
    python: str
    network: BuildNetwork
    gate: Gate


def find_site(
    settings: Settings, engine: Engine, stack: Stack, network: BuildNetwork, log: Callable[[str], None]
) -> BuildSite:
    """The stack's build image in the engine, and what builds in it may reach.

    Raises  Problem('build-image-missing') for a stack without one, what Engine.ensure raises,
            BuildFailed('stack-image-gone')
    """
    if stack.build is None or not stack.pythons:
        raise Problem("build-image-missing", stack=stack.name)
    image = base_outbound(stack.build, StackStore(root=settings.state / "stacks"), settings.state)
    tag = f"algo/{stack.name}-build:{image.image_id.removeprefix('sha256:')[:12]}"
    sent = engine.ensure(image, tag, log)
    if sent.layers_sent > 0:
        log(f"       Build image {tag}: {sent.sent_bytes // 1_000_000} MB sent to the engine, once")
    gate = Gate(named=frozenset())
    if network is BuildNetwork.INDEXES:
        gate = find_gate(settings.build_env, find_toolchain().uv)
    return BuildSite(image=sent.image, python=stack.pythons[0].path, network=network, gate=gate)


def sweep(settings: Settings, engine: Engine) -> int:
    """Remove what builds of a dead worker of this server left in the engine; how many containers that were."""
    left = engine.containers({LABEL: server_mark(settings.state)})
    for container in left:
        engine.remove(container.id)
        engine.remove_network(container.name)
    shutil.rmtree(_ways(settings), ignore_errors=True)
    return len(left)


class ContainerRunner:
    """One build's children, one after the other."""

    def __init__(
        self, settings: Settings, engine: Engine, site: BuildSite, app_id: int, cancelled: threading.Event,
        *, memory_mib: int = MEMORY_MIB,
    ) -> None:  # fmt: skip
        self._settings, self._engine, self._site = settings, engine, site
        self._app_id, self._cancelled, self._memory_mib = app_id, cancelled, memory_mib

    def __call__(self, child: Child, log: Callable[[str], None]) -> int:
        """Exit status.

        Raises  BuildFailed('build-timeout' | 'cancelled' | 'build-memory'), Problem of the engine
        """
        user, group = os.geteuid(), os.getegid()
        if user == 0:
            user = group = WHEEL_UID if child.trusted else app_uid(self._app_id)
            hand_over(child, user, self._settings)
        deadline_at = time.monotonic() + child.timeout_s
        name = f"algo-build-{server_mark(self._settings.state)}-{self._app_id}-{secrets.token_hex(4)}"
        stream = _Stream()
        with ExitStack() as stack:
            # Left in reverse order: the container goes first, then what it could reach.
            mounts = stack.enter_context(self._way_out(name, user, group, stream.tell))
            network = stack.enter_context(self._network(name))
            container = stack.enter_context(
                self._container(self._spec(child, name, f"{user}:{group}", network, mounts))
            )
            stack.callback(stream.stop)
            self._engine.start(container)
            threading.Thread(target=stream.read, args=(self._engine, container), daemon=True).start()
            return self._follow(container, stream, log, _Ends(self._cancelled, deadline_at, child.timeout_s))

    def _spec(self, child: Child, name: str, user: str, network: str, more: list[Mount]) -> ContainerSpec:
        has_relay = bool(more)
        start = [self._site.python, "-I", "-S", str(_RELAY), f"{_WAY_OUT}/{SOCKET_NAME}" if has_relay else "-"]
        readable = [path for path in (*child.readable, _RELAY) if path.exists() and path not in _SYSTEM]
        places = [Mount(host_path=folder, path=path, read_only=False) for path, folder in child.places.items()]
        return ContainerSpec(
            name=name, image=self._site.image, argv=[*start, str(RELAY_PORT), "--", *child.argv],
            env=inside_env(child.env, self._site.network, trusted=child.trusted), cwd=str(child.cwd), user=user,
            labels={LABEL: server_mark(self._settings.state)}, network=network, memory_mib=self._memory_mib,
            processes=Limits().processes, mounts=[*_mounts(readable, child.writable), *places, *more],
            tmpfs={"/tmp": _TMP},  # noqa: S108 -- the container's own
        )  # fmt: skip

    @contextmanager
    def _way_out(self, name: str, user: int, group: int, tell: Callable[[str], None]) -> Iterator[list[Mount]]:
        """The folder of the way to the package indexes, where the policy has one."""
        if self._site.network is not BuildNetwork.INDEXES:
            yield []
            return
        folder = _ways(self._settings) / name
        folder.mkdir(parents=True, mode=0o700)
        try:
            os.chown(folder, user, group)
            with IndexProxy(folder, self._site.gate, tell):
                yield [Mount(host_path=folder, path=_WAY_OUT, read_only=True)]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _network(self, name: str) -> Iterator[str]:
        """The container's network: one of its own under the open policy, so that builds do not see each other."""
        if self._site.network is not BuildNetwork.OPEN:
            yield "none"
            return
        self._engine.ensure_network(name, {LABEL: server_mark(self._settings.state)})
        try:
            yield name
        finally:
            _try(self._engine.remove_network, name)

    @contextmanager
    def _container(self, spec: ContainerSpec) -> Iterator[str]:
        container = self._engine.create(spec)
        try:
            yield container
        finally:
            _try(self._engine.remove, container)

    def _follow(self, container: str, stream: _Stream, log: Callable[[str], None], ends: _Ends) -> int:
        """Pass lines on until the container has ended; its status."""
        lines = Lines(log)
        while (piece := stream.next(_LOOK_S)) is not None:
            ends.check()
            lines.feed(piece)
        lines.end()
        while (status := self._engine.wait(container, min(_WAIT_S, ends.left_s))) is None:
            ends.check()
        state = self._engine.inspect(container)
        if status != 0 and state is not None and state.was_oom_killed:
            raise BuildFailed("build-memory", limit_mib=self._memory_mib)
        return status


class _Ends:
    """The ends that a build does not choose itself."""

    def __init__(self, cancelled: threading.Event, deadline_at: float, timeout_s: float) -> None:
        self._cancelled, self._deadline_at, self._timeout_s = cancelled, deadline_at, timeout_s

    @property
    def left_s(self) -> float:
        return max(0.1, self._deadline_at - time.monotonic())

    def check(self) -> None:
        """Raises BuildFailed('cancelled' | 'build-timeout')."""
        if self._cancelled.is_set():
            raise BuildFailed("cancelled")
        if time.monotonic() >= self._deadline_at:
            raise BuildFailed("build-timeout", seconds=int(self._timeout_s))


class _Stream:
    """What the container writes and what the proxy has to say, in the order of arrival, from their threads to ours."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes | Problem | None] = queue.Queue(_LINES_AHEAD)
        self._is_over = threading.Event()

    def tell(self, line: str) -> None:
        """A line of the server's own."""
        self._put(f" !     {line}\n".encode())

    def read(self, engine: Engine, container: str) -> None:
        """Until the container's output ends."""
        try:
            last: datetime | None = None
            # Twice: an engine (20.10) ends the stream of an ended container before its last unfinished line is in it.
            for _ in range(2):
                since = last
                for at, line in engine.follow(container, since):
                    if since is not None and at <= since:
                        continue
                    if not self._put(line.rstrip(b"\n") + b"\n"):
                        return
                    last = at
        except Problem as problem:
            self._put(problem)
        else:
            self._put(None)

    def next(self, timeout_s: float) -> bytes | None:
        """What came; b"" when nothing did; None when it is all. Raises Problem of the engine."""
        try:
            piece = self._pieces.get(timeout=timeout_s)
        except queue.Empty:
            return b""
        if isinstance(piece, Problem):
            raise piece
        return piece

    def stop(self) -> None:
        """Nobody listens any more."""
        self._is_over.set()

    def _put(self, piece: bytes | Problem | None) -> bool:
        while not self._is_over.is_set():
            try:
                self._pieces.put(piece, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False


def _mounts(readable: Sequence[Path], writable: Sequence[Path]) -> list[Mount]:
    found = {path: Mount(host_path=path, path=str(path), read_only=True) for path in readable}
    found |= {path: Mount(host_path=path, path=str(path), read_only=False) for path in writable}
    return list(found.values())


def _ways(settings: Settings) -> Path:
    return settings.run_dir / "builds"


def _try(step: Callable[[str], None], name: str) -> None:
    """Tidy up in an engine that may be gone; sweep() finds what this leaves."""
    try:
        step(name)
    except Problem:
        pass
