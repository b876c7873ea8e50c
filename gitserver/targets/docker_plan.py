"""How an instance becomes a container: its name, labels, command, environment, mounts and limits.  Pure.

Rules of this file
1. A container writes to two places: /tmp, which is memory and counted as such, and /run/algo, its folder here. HOME is
   /tmp too: on this machine's disk nothing would bound it, and what a cache needs for good belongs in a layer.
2. Our runtime is called through the socket in /run/algo: no port, no proxy in between. Everything else gets PORT,
   always the same inside, published on 127.0.0.1 of this machine.
3. A web process that is not our runtime gets an init: as process 1 it would neither hear SIGTERM nor bury its
   children. Our runtime does both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from buildpacks.image.launching import folder_of
from buildpacks.order import BuildFailed
from gitserver.errors import Json, Problem
from gitserver.settings import Settings
from gitserver.targets.containers import ContainerSpec, Mount
from gitserver.targets.contract import Spec
from gitserver.targets.environment import (
    GROUND,
    about,
    app_uid,
    make_environment,
    process_of,
    runs_shim,
    server_mark,
)
from gitserver.targets.instance import MARK, Folder
from gitserver.targets.sandbox import Limits

Document = Mapping[str, Json]
# Image document, process, environment -> argument list, environment: buildpacks.image.launching.command_of.
Command = Callable[[Document, Document, Mapping[str, str]], tuple[list[str], dict[str, str]]]

IO_PATH = "/run/algo"
PORT = 8080
SERVER_LABEL, INSTANCE_LABEL, APP_LABEL = "algo.server", "algo.instance", "algo.app"
_TEMPORARY = "/tmp"  # noqa: S108 -- a tmpfs of the container's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Names and labels of everything that one server has in an engine; two servers never share any."""

    mark: str

    @classmethod
    def of(cls, settings: Settings) -> Naming:
        """The server on this state folder."""
        return cls(mark=server_mark(settings.state))

    def container(self, instance: str) -> str:
        """Name of an instance's container."""
        return f"algo-{self.mark}-{instance}"

    def network(self, app_id: int) -> str:
        """Name of an app's own network."""
        return f"algo-{self.mark}-{app_id}"

    def network_labels(self, app_id: int) -> dict[str, str]:
        """Labels of that network."""
        return {SERVER_LABEL: self.mark, APP_LABEL: str(app_id)}

    def labels(self, spec: Spec) -> dict[str, str]:
        """Labels of an instance's container."""
        return {SERVER_LABEL: self.mark, APP_LABEL: str(spec.app_id), INSTANCE_LABEL: spec.instance}

    def all_instances(self) -> dict[str, str]:
        """What finds the containers of all instances, and no build's."""
        return {SERVER_LABEL: self.mark, INSTANCE_LABEL: ""}


def image_tag(spec: Spec) -> str:
    """How an engine's owner sees the image: `algo/alice-iris:1f2e3d4c5b6a`."""
    return f"algo/{spec.app_name.owner}-{spec.app_name.app}:{spec.image_digest.removeprefix('sha256:')[:12]}"


def is_dockerfile(image: Document) -> bool:
    """Whether an engine built it: its environment, working folder and layers are its own business."""
    return image.get("base") == "dockerfile"


def user_of(app_id: int, *, server_uid: int, server_gid: int) -> tuple[int, int]:
    """uid and gid of an app's containers. A server that may not choose users gives its own: it must read their files.

    Raises  Problem('too-many-apps')
    """
    if server_uid != 0:
        return server_uid, server_gid
    return app_uid(app_id), app_uid(app_id)


def plan_container(
    settings: Settings, spec: Spec, command: Command, folder: Folder, *, image: str, user: tuple[int, int],
    host_port: int | None,
) -> ContainerSpec:  # fmt: skip
    """The container of an instance, complete.

    image      the engine's id of it
    host_port  where PORT is published on 127.0.0.1 of this machine; None: it is called at the socket in its folder
    Raises     Problem('no-web-process' | 'launch-failed')
    """
    naming, process = Naming.of(settings), process_of(spec)
    own = _own_environment(settings, spec, folder, has_port=host_port is not None)
    own[MARK] = f"{naming.mark}/{spec.instance}"
    try:
        argv, env = make_environment(
            spec, lambda given: command(spec.image, process, given), own,
            ground={} if is_dockerfile(spec.image) else GROUND,
        )  # fmt: skip
    except BuildFailed as failed:
        raise Problem(failed.code, log=failed.log, **failed.fields) from failed
    return ContainerSpec(
        name=naming.container(spec.instance), image=image, argv=argv, env=env, cwd=_cwd(spec.image, process),
        user=f"{user[0]}:{user[1]}", labels=naming.labels(spec), network=naming.network(spec.app_id),
        memory_mib=spec.memory_mib, processes=Limits().processes,
        mounts=[Mount(host_path=folder.io, path=IO_PATH, read_only=False)],
        publish={} if host_port is None else {PORT: host_port},
        # exec: what a library compiles at run time, it loads from there.
        tmpfs={_TEMPORARY: f"size={spec.memory_mib}m,mode=1777,nosuid,nodev,exec"},
        cpus=settings.cpus or None, init=not runs_shim(spec),
    )  # fmt: skip


def _cwd(image: Document, process: Document) -> str:
    """'' leaves it to the image."""
    return "" if is_dockerfile(image) and not process.get("working-dir") else folder_of(process)


def _own_environment(settings: Settings, spec: Spec, folder: Folder, *, has_port: bool) -> dict[str, str]:
    where = {"ALGO_BIND": f"unix:{IO_PATH}/{folder.socket.name}"}
    if has_port:
        where = {"PORT": str(PORT), "HOST": "0.0.0.0", "ALGO_BIND": f"0.0.0.0:{PORT}"}  # noqa: S104 -- of its own network
    return {
        "HOME": _TEMPORARY,
        "TMPDIR": _TEMPORARY,
        "ALGO_READY_FILE": f"{IO_PATH}/{folder.ready.name}",
        "ALGO_TERMINATION_LOG": f"{IO_PATH}/{folder.termination.name}",
        **about(settings, spec),
        **where,
    }
