"""An engine of memory for unit tests: it has containers, logs and networks, runs nothing, and can be down.

It keeps gitserver.targets.containers.Engine; the real one is held to the same promises by tests/contract.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from buildpacks.image.values import OutboundImage
from gitserver.errors import Json, Problem
from gitserver.targets.containers import (
    ContainerSpec,
    ContainerState,
    EngineFacts,
    EngineImage,
    Sent,
    StoreKind,
)


@dataclass
class FakeEngine:
    """Change is_down, add lines, end containers: the next call sees it."""

    is_down: bool = False
    next_pid: int = 0
    boxes: dict[str, ContainerState] = field(default_factory=dict)
    lines: dict[str, list[tuple[datetime, bytes]]] = field(default_factory=dict)
    networks: dict[str, Mapping[str, str]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    have: dict[str, EngineImage] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def facts(self) -> EngineFacts:
        """Of a small machine."""
        self._answer()
        return EngineFacts(
            id="fake", version="0", store=StoreKind.GRAPHDRIVER, arch="amd64", data_root="/nowhere", has_limits=True
        )

    def ensure(self, image: OutboundImage, tag: str, log: Callable[[str], None]) -> Sent:
        """It has it from now on."""
        self._answer()
        is_new = image.image_id not in self.have
        diff_ids = [layer.diff_id for layer in image.layers]
        self.have[image.image_id] = EngineImage(
            id=image.image_id, tags=[tag], labels={}, diff_ids=diff_ids, size_bytes=0
        )
        return Sent(image=image.image_id, sent_bytes=0, layers_sent=len(diff_ids) if is_new else 0)

    def images(self, labels: Mapping[str, str]) -> Sequence[EngineImage]:
        """Those with the labels."""
        self._answer()
        return [image for image in self.have.values() if _matches(image.labels, labels)]

    def remove_image(self, image: str) -> None:
        """By id."""
        self._answer()
        self.have.pop(image, None)

    def create(self, spec: ContainerSpec) -> str:
        """A container that does not run yet."""
        self._answer()
        return self.add(spec.name, spec.labels, is_running=False)

    def add(self, name: str, labels: Mapping[str, str], *, is_running: bool = True) -> str:
        """A container that somebody made; its id."""
        id_ = f"{next(self._numbers):064x}"
        self.boxes[id_] = ContainerState(
            id=id_, name=name, image="image", labels=dict(labels), is_running=is_running, pid=0, exit_status=0,
            was_oom_killed=False, error="", started_at=None,
        )  # fmt: skip
        return id_

    def end(self, container: str, status: int, *, was_oom: bool = False) -> None:
        """Its process ends."""
        self.boxes[container] = replace(
            self.boxes[container], is_running=False, exit_status=status, was_oom_killed=was_oom
        )

    def start(self, container: str) -> None:
        """It runs."""
        self._answer()
        self.boxes[container] = replace(self.boxes[container], is_running=True, pid=self.next_pid)

    def inspect(self, container: str) -> ContainerState | None:
        """By id or name."""
        self._answer()
        return next((box for box in self.boxes.values() if container in {box.id, box.name}), None)

    def containers(self, labels: Mapping[str, str]) -> Sequence[ContainerState]:
        """Those with the labels."""
        self._answer()
        return [box for box in self.boxes.values() if _matches(box.labels, labels)]

    def kill(self, container: str, signal: str) -> None:
        """It ends."""
        self._answer()
        if container in self.boxes:
            self.end(container, 137)

    def wait(self, container: str, timeout_s: float) -> int | None:
        """What inspect() would say."""
        found = self.inspect(container)
        return None if found is None or found.is_running else found.exit_status

    def remove(self, container: str) -> None:
        """Gone."""
        self._answer()
        self.boxes.pop(container, None)

    def follow(self, container: str, since: datetime | None) -> Iterator[tuple[datetime, bytes]]:
        """The lines there are; a real stream would wait for more while the container runs."""
        self._answer()
        yield from [line for line in self.lines.get(container, []) if since is None or line[0] >= since]

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """There from now on."""
        self._answer()
        self.networks[name] = labels

    def remove_network(self, name: str) -> None:
        """Gone, unless something is in it."""
        self._answer()
        if name in self.busy:
            raise Problem("engine-refused", host="fake", step="remove the network", detail="has active endpoints")
        self.networks.pop(name, None)

    def close(self) -> None:
        """Nothing follows."""

    def raw(self) -> Mapping[str, Json]:
        """Nothing much."""
        self._answer()
        return {"host": "fake"}

    def _answer(self) -> None:
        if self.is_down:
            raise Problem("engine-down", host="fake", detail="it is down")


def _matches(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(name in found and value in {"", found[name]} for name, value in wanted.items())
