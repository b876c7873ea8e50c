"""Where the releases of a test's server run: one knob, ALGO_TEST_TARGET=process (the default) or docker.

The end-to-end tests are the same for both. What they ask of running models (which are there, kill one, is anything
left) goes through a Ground, which looks at the machine or at the engine and never believes the server.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import pytest

from tests.services.containers import Containers
from tests.services.processes import kill_all, processes_of

TARGET = os.environ.get("ALGO_TEST_TARGET", "process")
assert TARGET in {"process", "docker"}, f"ALGO_TEST_TARGET={TARGET}: only process and docker"
on_docker = pytest.mark.skipif(
    TARGET != "docker", reason="asks a container engine; `make test` runs it on the second way"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that runs. key: never the same for another run of it; pid: its first process, on this machine."""

    key: str
    pid: int


class Ground(Protocol):
    """What releases of a server run on."""

    def settings(self) -> Mapping[str, str]:
        """What the server is told of it, names as in Settings."""
        ...

    def prepare(self, state: Path) -> None:
        """Before the first start of a server."""
        ...

    def models(self, state: Path, app: str) -> list[Model]:
        """Models of one app that run now."""
        ...

    def left_over(self, state: Path) -> dict[str, str]:
        """What of the server still runs: name -> what it is."""
        ...

    def cut_power(self, state: Path) -> None:
        """SIGKILL to the server and its models, all at once."""
        ...

    def clean(self, state: Path) -> None:
        """Nothing of the server is left, whatever the test did."""
        ...


class Processes:
    """Models are processes of this machine."""

    def settings(self) -> Mapping[str, str]:
        """The default target."""
        return {}

    def prepare(self, state: Path) -> None:
        """Nothing has to be there."""

    def models(self, state: Path, app: str) -> list[Model]:
        """By the notes that the target keeps of its instances, as far as the process is there."""
        number, running = app_id(state, app), processes_of(state)
        found = []
        for note in (state / "run" / "instances").glob("*/instance.json"):
            value = json.loads(note.read_text(encoding="utf-8"))
            if value["app_id"] == number and value["pid"] in running:
                found.append(Model(key=f"{value['pid']}@{value['start_ticks']}", pid=value["pid"]))
        return found

    def left_over(self, state: Path) -> dict[str, str]:
        """Processes that name the state folder."""
        return {str(pid): command for pid, command in processes_of(state).items()}

    def cut_power(self, state: Path) -> None:
        """Models are among the processes."""
        kill_all(state)

    def clean(self, state: Path) -> None:
        """As cut_power."""
        kill_all(state)


class Docker:
    """Models are containers of an engine."""

    def __init__(self, host: str) -> None:
        self.host, self.containers = host, Containers(host)

    def settings(self) -> Mapping[str, str]:
        """The docker target and its engine."""
        return {"target": "docker", "docker_host": self.host}

    def prepare(self, state: Path) -> None:
        """A stack to build on."""
        from tests.services.stacks import install_stack

        if not (state / "stacks").exists():
            state.mkdir(mode=0o700, exist_ok=True)
            install_stack(state)

    def models(self, state: Path, app: str) -> list[Model]:
        """By the app's name, which every model is told."""
        boxes = [box for box in self.containers.of(state) if box.env.get("ALGO_MODEL_NAME") == app]
        return [Model(key=f"{box.id}@{box.started_at}", pid=box.pid) for box in boxes if box.pid]

    def left_over(self, state: Path) -> dict[str, str]:
        """Processes that name the state folder, containers that were given a part of it, and its networks."""
        boxes = {box.name: f"container of {box.image}, {box.status}" for box in self.containers.of(state)}
        networks = {f"network {name}": "a bridge of this machine" for name in self.containers.networks(state)}
        return {str(pid): command for pid, command in processes_of(state).items()} | boxes | networks

    def cut_power(self, state: Path) -> None:
        """The containers stay in the engine, ended."""
        kill_all(state)
        self.containers.kill(state)

    def clean(self, state: Path) -> None:
        """Containers and networks go; images are shared between tests, and go with the engine."""
        kill_all(state)
        self.containers.remove(state)


@cache
def the_ground() -> Ground:
    """What the whole run uses."""
    if TARGET == "process":
        return Processes()
    from tests.services.engines import graphdriver_engine

    return Docker(graphdriver_engine().host)


def why_not() -> str | None:
    """Why this machine cannot run the tests on the chosen target; None when it can. In CI what is missing is made."""
    try:
        ground = the_ground()
        if isinstance(ground, Docker):
            from tests.services.stacks import the_stack

            the_stack()
    except pytest.skip.Exception as skipped:
        return str(skipped.msg)
    return None


def kill_one(model: Model) -> None:
    """SIGKILL from outside, as the kernel does when memory ends: even the first process of a container obeys."""
    os.kill(model.pid, signal.SIGKILL)


def app_id(state: Path, app: str) -> int:
    """The number of an app in the server's ledger."""
    import sqlite3

    connection = sqlite3.connect(f"file:{state / 'ledger.sqlite'}?mode=ro", uri=True, timeout=10)
    try:
        ((number,),) = connection.execute("SELECT id FROM apps WHERE name = ?", (app,)).fetchall()
    finally:
        connection.close()
    return int(number)
