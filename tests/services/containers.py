"""Which containers belong to a server: asked of the engine, so that nothing the server says has to be believed.

A container is a server's when it was given a part of its state folder; labels are what the server says, and the tests
check those elsewhere.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound

SLOW_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A container as the engine sees it. pid: 0 when it does not run."""

    id: str
    name: str
    image: str
    status: str
    started_at: str
    pid: int
    env: dict[str, str]
    labels: dict[str, str]
    config: dict[str, Any]


class Containers:
    """The engine at this address."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.client = docker.DockerClient(base_url=host, version="auto", timeout=SLOW_S)

    def of(self, state: Path) -> list[Box]:
        """Containers of the server with this state folder, ended ones too."""
        return [box for box in self._all() if _is_of(box, state)]

    def kill(self, state: Path) -> None:
        """SIGKILL to each that runs."""
        for box in self.of(state):
            with suppress(NotFound, APIError):  # it ended by itself meanwhile
                self.client.api.kill(box.id)

    def networks(self, state: Path) -> list[str]:
        """Names of the networks that the server of this state folder made."""
        mark = hashlib.sha256(bytes(state)).hexdigest()[:12]
        return [str(row["Name"]) for row in self.client.api.networks(filters={"label": f"algo.server={mark}"})]

    def remove(self, state: Path) -> None:
        """Each of them, and the server's networks: a bridge would outlive even its engine."""
        for box in self.of(state):
            with suppress(NotFound):
                self.client.api.remove_container(box.id, v=True, force=True)
        for name in self.networks(state):
            with suppress(NotFound, APIError):  # a stranger's container is in it
                self.client.api.remove_network(name)

    def _all(self) -> Iterator[Box]:
        for row in self.client.api.containers(all=True):
            with suppress(NotFound):  # removed since the list was made
                yield _box(self.client.api.inspect_container(row["Id"]))


def _box(config: dict[str, Any]) -> Box:
    pairs = (pair.partition("=") for pair in config["Config"]["Env"] or [])
    return Box(
        id=config["Id"],
        name=config["Name"].lstrip("/"),
        image=config["Image"],
        status=config["State"]["Status"],
        started_at=config["State"]["StartedAt"],
        pid=config["State"]["Pid"],
        env={name: value for name, _, value in pairs},
        labels=config["Config"]["Labels"] or {},
        config=config,
    )


def _is_of(box: Box, state: Path) -> bool:
    sources = [Path(mount["Source"]) for mount in box.config["Mounts"] if mount.get("Source")]
    return any(source == state or state in source.parents for source in sources)


def import_folder(host: str, folder: Path, name: str) -> str:
    """An image of a folder's files, made by the engine; its id. No label of ours is on it."""
    command = ["docker", "-H", host, "import", "-", name]
    with subprocess.Popen(["tar", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE) as packed:
        done = subprocess.run(command, stdin=packed.stdout, capture_output=True, text=True, check=True)
    assert packed.returncode in {0, 1}, "1: another test links a file meanwhile; its contents are the same"
    return done.stdout.strip()


def foreign_image(host: str, folder: Path, name: str) -> str:
    """An image of somebody else: /bin/sleep of this machine and the libraries that it needs."""
    sleep = Path("/bin/sleep").resolve()
    listed = subprocess.run(["ldd", str(sleep)], capture_output=True, text=True, check=True).stdout
    for path in [sleep, *(Path(word) for word in listed.split() if word.startswith("/"))]:
        inside = folder / ("bin/sleep" if path == sleep else str(path).lstrip("/"))
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path.resolve(), inside)
    return import_folder(host, folder, name)
