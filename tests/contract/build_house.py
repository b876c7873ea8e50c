"""What tests of builds in containers share: a real engine, the build image of a real stack, and a child's folders."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.order import Child
from buildpacks.stack.store import StackStore
from gitserver.targets.build_network import BuildNetwork, Gate, Place
from gitserver.targets.container_runner import LABEL, BuildSite, ContainerRunner, find_site
from gitserver.targets.engine import DockerEngine
from gitserver.targets.environment import server_mark
from tests.contract.targets_house import make_settings
from tests.services.stacks import install_stack

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="run the tests as root: builds get users of their own then")


def make_site(engine: DockerEngine, folder: Path) -> BuildSite:
    """The build image of a real stack, in the engine."""
    settings = make_settings(folder / "state")
    install_stack(settings.state)
    stack = StackStore(root=settings.state / "stacks").current()
    assert stack is not None
    return find_site(settings, engine, stack, BuildNetwork.NONE, print)


class Kitchen:
    """One build's folders and its runner."""

    def __init__(self, tmp_path: Path, engine: DockerEngine, site: BuildSite) -> None:
        self.settings = make_settings(tmp_path / "state")
        self.engine, self.site, self.memory_mib = engine, site, 512
        self.cancelled = threading.Event()
        self.work = self.settings.state / "builds" / "1" / "work"
        self.work.mkdir(parents=True)
        self.lines: list[str] = []

    def run(self, code: str, *, trusted: bool = False, timeout_s: float = 60, **env: str) -> int:
        argv = [self.site.python, "-I", "-S", "-c", code]
        return self.child(argv, env=env, trusted=trusted, timeout_s=timeout_s)

    def child(
        self, argv: list[str], readable: tuple[Path, ...] = (), *, env: Mapping[str, str] | None = None,
        trusted: bool = False, timeout_s: float = 60,
    ) -> int:  # fmt: skip
        child = Child(
            argv=argv, env={"PATH": "/usr/bin:/bin", **(env or {})}, cwd=self.work, readable=list(readable),
            writable=[self.work], timeout_s=timeout_s, trusted=trusted, contained=True,
        )  # fmt: skip
        runner = ContainerRunner(
            self.settings, self.engine, self.site, 3, self.cancelled, memory_mib=self.memory_mib
        )  # fmt: skip
        return runner(child, self.lines.append)

    def left(self) -> list[str]:
        return [found.name for found in self.engine.containers({LABEL: server_mark(self.settings.state)})]

    def reach(self, **names: int) -> None:
        """Let builds reach these hosts, as if the operator's settings named them as indexes."""
        gate = Gate(named=frozenset(Place(host=host, port=port) for host, port in names.items()))
        self.site = replace(self.site, network=BuildNetwork.INDEXES, gate=gate)
