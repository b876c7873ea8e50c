"""What the docker target asks of an engine and what it hears back.  Pure; engine.py is the door behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Protocol

from buildpacks.image.values import OutboundImage
from gitserver.errors import Json


class StoreKind(Enum):
    """How an engine keeps images; the two take them differently (contracts/buildpacks.md 4.1)."""

    GRAPHDRIVER = "graphdriver"
    CONTAINERD = "containerd"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine says of itself. id: for ever its own; arch in OCI's words; has_limits: memory limits work."""

    id: str
    version: str
    store: StoreKind
    arch: str
    data_root: str
    has_limits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A folder or file of this machine inside the container."""

    host_path: Path
    path: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """One container to create, complete.

    name        unique in the engine
    image       an engine's image id or reference, present there
    argv        replaces the image's entry point and command
    user        `20001:20001`
    network     name of a network, or `none`
    publish     container port -> port on 127.0.0.1
    tmpfs       path -> mount options, for example {"/tmp": "size=64m,mode=1777"}
    """

    name: str
    image: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    user: str
    labels: Mapping[str, str]
    network: str
    memory_mib: int
    processes: int
    mounts: Sequence[Mount] = ()
    publish: Mapping[int, int] = field(default_factory=dict)
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    cpus: float | None = None
    read_only_root: bool = True
    init: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """A container as the engine sees it now. pid: of its first process on this machine, 0 when it does not run."""

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    is_running: bool
    pid: int
    exit_status: int
    was_oom_killed: bool
    error: str
    started_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What loading an image moved. image: what a container is created from; sent_bytes: bytes over the socket."""

    image: str
    sent_bytes: int
    layers_sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineImage:
    """An image that an engine has: its id there, its tags, its labels, the diff ids of its layers."""

    id: str
    tags: Sequence[str]
    labels: Mapping[str, str]
    diff_ids: Sequence[str]
    size_bytes: int


class Engine(Protocol):
    """A container engine. Threads may call it; every wait has a deadline.

    Raises  Problem('engine-down', detail) when it does not answer, Problem('engine-refused', step, detail) when it
            says no, Problem('engine-out-of-space', detail); nothing of the docker SDK leaves the door
    """

    def facts(self) -> EngineFacts:
        """Asked once, then remembered."""
        ...

    # -- images
    def ensure(self, image: OutboundImage, tag: str, log: Callable[[str], None]) -> Sent:
        """The image is in the engine under tag (`algo/alice-iris:<12 hex>`), complete; sends only what it lacks.

        Raises  Problem('image-load-failed'), BuildFailed('layer-damaged'); a corrupt load is removed, never returned
        """
        ...

    def images(self, labels: Mapping[str, str]) -> Sequence[EngineImage]:
        """All that carry these labels; a value of '' means any."""
        ...

    def remove_image(self, image: str) -> None:
        """One image by id or tag, never one that a container uses; unknown: no-op."""
        ...

    # -- containers
    def create(self, spec: ContainerSpec) -> str:
        """Its id. A container of that name that is ours (same labels) is removed first."""
        ...

    def start(self, container: str) -> None:
        """Raises Problem('engine-refused') with the engine's words (no such command, port taken, ...)."""
        ...

    def inspect(self, container: str) -> ContainerState | None:
        """By id or name; None when there is none."""
        ...

    def containers(self, labels: Mapping[str, str]) -> Sequence[ContainerState]:
        """All, ended ones too, that carry these labels."""
        ...

    def kill(self, container: str, signal: str) -> None:
        """Unknown or ended: no-op."""
        ...

    def wait(self, container: str, timeout_s: float) -> int | None:
        """Its exit status; None when it still runs after timeout_s."""
        ...

    def remove(self, container: str) -> None:
        """Kill and remove with its anonymous volumes; unknown: no-op."""
        ...

    def follow(self, container: str, since: datetime | None) -> Iterator[tuple[datetime, bytes]]:
        """Lines of stdout and stderr with the engine's time, from since on, until it ends or the engine does."""
        ...

    # -- networks
    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """A bridge network of that name; containers of different networks do not reach each other."""
        ...

    def remove_network(self, name: str) -> None:
        """Unknown: no-op. Raises Problem('engine-refused') while something is in it."""
        ...

    def raw(self) -> Mapping[str, Json]:
        """The engine's own description, for `algo status`."""
        ...

    def close(self) -> None:
        """Every follow() ends; the engine and its containers go on."""
        ...
