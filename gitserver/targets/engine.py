"""The one door to a Docker engine. What the SDK and its HTTP client raise becomes a Problem; nothing of them leaves.

Rules of this file
1. Each wait has a deadline: an engine that hangs is an engine that is down.
2. An HTTP session is not safe for threads: each call borrows a client of its own, and gives back only a sound one.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, NotFound, StreamParseError
from docker.types import CancellableStream

from buildpacks.image.values import OutboundImage
from gitserver.errors import Json, Problem
from gitserver.targets.containers import ContainerSpec, ContainerState, EngineFacts, EngineImage, Sent
from gitserver.targets.engine_api import (
    MAX_OPEN_FILES,
    container_document,
    facts_of,
    image_of,
    label_filter,
    split_log_line,
    state_of,
)
from gitserver.targets.engine_load import find_refusal
from gitserver.targets.engine_loader import Loader
from gitserver.targets.engine_networks import small_subnets
from gitserver.targets.engine_trouble import explain_trouble, is_timeout

# docker.APIClient: the types that there are for it leave half of its methods without any.
_Api = Any

_UNIX = "unix://"
_IDLE_CLIENTS = 8
_GONE_S = 30.0
_MAX_LINE_BYTES = 64 * 1024  # a line without an end is passed on in pieces
_TROUBLE = (requests.RequestException, DockerException, StreamParseError, OSError)


class DockerEngine:
    """gitserver.targets.containers.Engine, over the Docker API. Threads may call it.

    host       `unix:///var/run/docker.sock`, `tcp://127.0.0.1:2375`; None: the SDK's default
    timeout_s  how long one answer may take; loading an image may take longer, by its size
    """

    def __init__(self, host: str | None = None, timeout_s: float = 60.0) -> None:
        self.host = host or f"{_UNIX}/var/run/docker.sock"
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[_Api] = []
        self._api_version: str | None = None
        self._facts: EngineFacts | None = None
        self._followed: set[CancellableStream[bytes]] = set()
        self._is_closed = False
        self._loader = Loader(self)

    def close(self) -> None:
        """Every follow() ends; the engine and its containers go on."""
        with self._lock:
            self._is_closed = True
            followed, idle, self._idle = set(self._followed), self._idle, []
        for stream in followed:
            _cut(stream)
        for client in idle:
            client.close()

    def facts(self) -> EngineFacts:
        """Asked once, then remembered."""
        facts = self._facts
        if facts is None:
            with self._asking("describe itself") as client:
                facts = self._facts = facts_of(client.info(), client.version())
        return facts

    def raw(self) -> Mapping[str, Json]:
        """The engine's own description, for `algo status`."""
        with self._asking("describe itself") as client:
            info, version = client.info(), client.version()
        facts = facts_of(info, version)
        return {
            "host": self.host, "id": facts.id, "version": facts.version, "api": str(version["ApiVersion"]),
            "store": facts.store.value, "driver": str(info.get("Driver", "")), "arch": facts.arch,
            "data_root": facts.data_root, "has_limits": facts.has_limits,
            "containers": int(info.get("ContainersRunning") or 0), "images": int(info.get("Images") or 0),
        }  # fmt: skip

    # -- images

    def ensure(self, image: OutboundImage, tag: str, log: Callable[[str], None]) -> Sent:
        """The image is in the engine under tag, complete; sends only what it lacks.

        log     is told what people have to know of a load that did not go straight
        Raises  Problem('image-load-failed'), BuildFailed('layer-damaged'); a corrupt load is removed, never returned
        """
        return self._loader.ensure(image, tag, self.facts().store, log)

    def image(self, name: str) -> EngineImage | None:
        """By id or tag; None when there is none."""
        with self._asking("describe the image") as client:
            try:
                answer = client.inspect_image(name)
            except NotFound:
                return None
            return image_of(answer)

    def image_ids(self, labels: Mapping[str, str], repository: str = "") -> Sequence[str]:
        """Ids of all that carry these labels, newest first; of one repository when it is named."""
        with self._asking("list its images") as client:
            rows = client.images(name=repository or None, filters=label_filter(labels))
        newest = sorted(rows, key=lambda row: int(row.get("Created") or 0), reverse=True)
        return list(dict.fromkeys(str(row["Id"]) for row in newest))

    def images(self, labels: Mapping[str, str]) -> Sequence[EngineImage]:
        """All that carry these labels; a value of '' means any."""
        return [found for name in self.image_ids(labels) if (found := self.image(name)) is not None]

    def name_image(self, image: str, tag: str) -> None:
        """Give an image that is there another tag."""
        repository, _, name = tag.rpartition(":")
        with self._asking("name the image") as client:
            client.tag(image, repository, name, force=True)

    def send(self, archive: Iterable[bytes], timeout_s: float, log: Callable[[str], None]) -> str:
        """POST /images/load: '' when the answer names no failure, else the engine's words."""
        with self._asking("load the image", timeout_s) as client:
            try:
                return find_refusal(client.load_image(iter(archive)), log)
            except APIError as refused:
                return str(refused.explanation or refused)

    def remove_image(self, image: str) -> None:
        """One image by id or tag, never one that a container uses; unknown: no-op.

        Raises  Problem('engine-refused') while a container uses it
        """
        found = self.image(image)
        if found is None:
            return
        # By an id alone the engine refuses what has two names, and forcing it would also take what is in use.
        names = found.tags if image == found.id and found.tags else (image,)
        with self._asking("remove the image") as client:
            for name in names:
                with contextlib.suppress(NotFound):
                    client.remove_image(name, force=False, noprune=True)

    # -- containers

    def create(self, spec: ContainerSpec) -> str:
        """Its id. A container of that name that is ours (same labels) is removed first.

        Raises  Problem('engine-refused') also for a container of that name that is somebody else's
        """
        there = self.inspect(spec.name)
        if there is not None:
            if not spec.labels.items() <= there.labels.items():
                raise Problem(
                    "engine-refused", host=self.host, step="create the container",
                    detail=f"another container is called {spec.name}, and it is not this server's",
                )  # fmt: skip
            self.remove(there.id)
        with self._asking("create the container") as client:
            answer = client.create_container_from_config(container_document(spec, open_files=_open_files()), spec.name)
            return str(answer["Id"])

    def start(self, container: str) -> None:
        """Raises Problem('engine-refused') with the engine's words (no such command, port taken, ...)."""
        with self._asking("start the container") as client:
            client.start(container)

    def inspect(self, container: str) -> ContainerState | None:
        """By id or name; None when there is none."""
        with self._asking("describe the container") as client:
            try:
                answer = client.inspect_container(container)
            except NotFound:
                return None
            return state_of(answer)

    def containers(self, labels: Mapping[str, str]) -> Sequence[ContainerState]:
        """All, ended ones too, that carry these labels."""
        with self._asking("list its containers") as client:
            rows = client.containers(all=True, filters=label_filter(labels))
        return [state for row in rows if (state := self.inspect(row["Id"])) is not None]

    def kill(self, container: str, signal: str) -> None:
        """Unknown or ended: no-op."""
        with self._asking("signal the container") as client:
            try:
                client.kill(container, signal)
            except NotFound:
                return
            except APIError as refused:
                if refused.status_code != 409 and "is not running" not in str(refused.explanation):
                    raise

    def wait(self, container: str, timeout_s: float) -> int | None:
        """Its exit status; None when it still runs after timeout_s."""
        with self._asking("wait for the container") as client:
            try:
                return int(client.wait(container, timeout=max(timeout_s, 0.01), condition="not-running")["StatusCode"])
            except requests.RequestException as cut:
                if not is_timeout(cut):
                    raise
        return None

    def remove(self, container: str) -> None:
        """Kill and remove with its anonymous volumes; unknown: no-op; returns when it is gone.

        Raises  Problem('engine-refused') when it is still there after 30 s
        """
        deadline_at = time.monotonic() + _GONE_S
        while True:
            with self._asking("remove the container") as client:
                try:
                    client.remove_container(container, v=True, force=True)
                except NotFound:
                    return
                except APIError as refused:
                    # Somebody else is at it; what we promise is that it is gone.
                    if refused.status_code != 409 or time.monotonic() > deadline_at:
                        raise
            time.sleep(0.05)

    def follow(self, container: str, since: datetime | None) -> Iterator[tuple[datetime, bytes]]:
        """Lines of stdout and stderr with the engine's time, from since on, until it ends or the engine does.

        since  lines of just that time come again: the engine's clock is finer than ours, and two lines may share it
        """
        # A millisecond early, for a float cannot hold the time; what is too old is dropped here.
        asked = None if since is None else (since - timedelta(milliseconds=1)).timestamp()
        begun: tuple[datetime, bytes] | None = None
        for at, text, is_end in self._pieces(container, asked):
            begun = (at, text) if begun is None else (begun[0], begun[1] + text)
            if is_end or len(begun[1]) >= _MAX_LINE_BYTES:
                if since is None or begun[0] >= since:
                    yield begun
                begun = None
        if begun is not None and (since is None or begun[0] >= since):
            yield begun

    # -- networks

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> None:
        """A bridge network of that name; containers of different networks do not reach each other.

        Raises  Problem('engine-refused') also for a network of that name that is somebody else's
        """
        with self._asking("make the network") as client:
            if self._has_network(client, name, labels):
                return
            # The engine's own choice first: it looks at the machine's routes. It has room for about thirty.
            refused: APIError | None = None
            for subnet in (None, *small_subnets(name)):
                ipam = None if subnet is None else {"Driver": "default", "Config": [{"Subnet": subnet}]}
                try:
                    client.create_network(
                        name, driver="bridge", labels=dict(labels), check_duplicate=True,
                        ipam=ipam,
                    )  # fmt: skip
                    return
                except APIError as full:
                    if full.status_code == 409 and self._has_network(client, name, labels):
                        return  # made by another thread meanwhile
                    if "pool" not in str(full.explanation).lower():
                        raise
                    refused = full
            assert refused is not None
            raise refused

    def remove_network(self, name: str) -> None:
        """Unknown: no-op. Raises Problem('engine-refused') while something is in it."""
        with self._asking("remove the network") as client:
            try:
                client.remove_network(name)
            except NotFound:
                return

    # -- inside

    @contextlib.contextmanager
    def _asking(self, step: str, timeout_s: float | None = None) -> Iterator[_Api]:
        """A client for one conversation; what goes wrong in it is told as a Problem."""
        client: _Api = None
        is_sound = False
        try:
            client = self._borrow(timeout_s)
            yield client
            is_sound = True
        except APIError as refused:
            is_sound = True
            raise explain_trouble(refused, host=self.host, step=step, timeout_s=self._timeout_s) from refused
        except _TROUBLE as trouble:
            with self._lock:  # it may come back as another engine
                self._api_version = self._facts = None
            raise explain_trouble(trouble, host=self.host, step=step, timeout_s=self._timeout_s) from trouble
        finally:
            if client is not None:
                self._give_back(client, is_reusable=is_sound and timeout_s is None)

    def _borrow(self, timeout_s: float | None) -> _Api:
        self._knock()
        with self._lock:
            if timeout_s is None and self._idle:
                return self._idle.pop()
            version = self._api_version
        client: _Api = docker.APIClient(
            base_url=self.host,
            version=version or "auto",
            timeout=timeout_s or self._timeout_s,  # type: ignore[arg-type]  # parts of a second are fine
        )
        with self._lock:
            self._api_version = client.api_version
        return client

    def _knock(self) -> None:
        """Raises OSError when nobody takes connections: the SDK would leave a socket open for each try."""
        if self.host.startswith(_UNIX):
            with socket.socket(socket.AF_UNIX) as door:
                door.settimeout(self._timeout_s)
                door.connect(self.host.removeprefix(_UNIX))

    def _give_back(self, client: _Api, *, is_reusable: bool) -> None:
        with self._lock:
            if is_reusable and not self._is_closed and len(self._idle) < _IDLE_CLIENTS:
                self._idle.append(client)
                return
        client.close()

    def _pieces(self, container: str, since: float | None) -> Iterator[tuple[datetime, bytes, bool]]:
        """The frames of a log, until it ends, the engine does, or close()."""
        stream: CancellableStream[bytes] | None = None
        try:
            with self._asking("give the log", self._timeout_s) as client:
                stream = client.logs(container, stream=True, follow=True, timestamps=True, since=since)
                with self._lock:
                    if self._is_closed:
                        return
                    self._followed.add(stream)
                for frame in stream:
                    if (piece := split_log_line(frame)) is not None:
                        yield piece
        except Problem:
            return  # whoever follows asks next what became of the container, and hears it there
        finally:
            if stream is not None:
                with self._lock:
                    self._followed.discard(stream)
                _cut(stream)
                # The SDK closes the socket alone; its reader keeps the descriptor until somebody collects it.
                stream._response.close()  # type: ignore[union-attr,attr-defined]  # there is no other way to it

    def _has_network(self, client: _Api, name: str, labels: Mapping[str, str]) -> bool:
        for network in client.networks(names=[name]):  # the engine answers for every name that contains this one
            if network["Name"] == name:
                if not labels.items() <= (network.get("Labels") or {}).items():
                    raise Problem(
                        "engine-refused", host=self.host, step="make the network",
                        detail=f"another network is called {name}, and it is not this server's",
                    )  # fmt: skip
                return True
        return False


def _cut(stream: CancellableStream[bytes]) -> None:
    try:
        stream.close()
    except (AttributeError, OSError):
        pass  # it ended by itself: the SDK looks for a socket that is no longer there


def _open_files() -> int:
    # The engine runs on this machine, mostly with limits like ours, and does not tell its own.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
