"""What an instance gets to live in: its command, its environment (environment.py), the folders that it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildpacks.image.store import LayerStore
from buildpacks.lifecycle.environment import IMAGE_APP
from buildpacks.lifecycle.failure import LifecycleError
from buildpacks.lifecycle.launch import LAUNCHER_LAYER, resolve
from buildpacks.order import BuildFailed
from buildpacks.toolchain import find_toolchain, prefix_of, stand_in, version_of
from gitserver.errors import Json, Problem
from gitserver.settings import Settings
from gitserver.targets.cgroup import Cgroup
from gitserver.targets.contract import Spec
from gitserver.targets.environment import (
    about,
    app_uid,
    make_environment,
    process_of,
    server_mark,
)
from gitserver.targets.family import user_tasks
from gitserver.targets.instance import MARK, Folder
from gitserver.targets.probe import Isolation
from gitserver.targets.sandbox import (
    Level,
    Limits,
    SandboxPlan,
    covered,
    interpreters,
    resolver_folders,
)
from gitserver.targets.spawn import open_way


@dataclass(frozen=True, slots=True, kw_only=True)
class Lodging:
    """Makes plans of children for one server on one machine."""

    settings: Settings
    isolation: Isolation

    def uid(self, app_id: int) -> int | None:
        """The user that an app's processes run as; None: the server's own. Raises Problem('too-many-apps')."""
        if self.isolation.level < Level.USER:
            return None
        return app_uid(app_id)

    def mark(self, name: str) -> str:
        """A child's name that no child of another server on this machine has."""
        return f"{server_mark(self.settings.state)}/{name}"

    def group(self, name: str) -> Cgroup | None:
        """A child's control group, where there are any."""
        return None if self.isolation.cgroups is None else self.isolation.cgroups.group(name)

    def limits(self, *, memory_mib: int, uid: int | None) -> Limits:
        """What one child may take."""
        processes = Limits().processes
        # The kernel counts a user's processes, not a child's: an app's user has several instances, and a server
        # without rights shares its user with everything else that runs there now.
        of_user = 4 * processes if uid is not None else user_tasks() + processes
        return Limits(processes=processes, user_processes=of_user, memory_mib=memory_mib)

    def enclose(
        self, name: str, uid: int | None, readable: Sequence[Path], writable: Sequence[Path], *, memory_mib: int
    ) -> SandboxPlan:
        """A plan of this machine's best sandbox, its control group made; the command is still to be filled in."""
        group, limits = self.group(name), self.limits(memory_mib=memory_mib, uid=uid)
        if group is not None:
            group.make(memory_mib=memory_mib, processes=limits.processes)
        if self.isolation.level == Level.USER:
            open_way(self.settings.state, [*readable, *writable])
        seen = [*readable, *resolver_folders()]
        return SandboxPlan(
            argv=[], env={}, cwd="/", level=self.isolation.level, uid=uid, readable=[str(path) for path in seen],
            writable=[str(path) for path in writable], hidden=[str(path) for path in hidden_places(self.settings)],
            rooms=[], join=[] if group is None else group.join_files(), limits=limits,
            landlock=self.isolation.landlock, private_proc=self.isolation.private_proc, parent=None,
        )  # fmt: skip

    def plan(self, spec: Spec, folder: Folder, port: int | None) -> SandboxPlan:
        """One instance's process.

        port    where to listen on 127.0.0.1; None: on the socket in its folder
        Raises  Problem('no-web-process' | 'launch-failed' | 'too-many-apps' | 'python-not-here' | 'layer-gone'
                | 'image-format')
        """
        self._unpack(spec)
        cwd, argv, env = self._command(spec, folder, port)
        layers = layer_paths(self.settings, spec.image)
        readable = [
            image_path(self.settings, spec.image_digest), *layers, *interpreters(layers, self._python_folders()),
            *_launcher_python(spec.image),
        ]  # fmt: skip
        plan = self.enclose(
            spec.instance, self.uid(spec.app_id), readable, [folder.io], memory_mib=spec.memory_mib
        )  # fmt: skip
        return replace(plan, argv=argv, env=env, cwd=str(cwd))

    def _unpack(self, spec: Spec) -> None:
        """The image's folder, with this machine's Python in the place of the image's own."""
        python = spec.image.get("python")
        interpreter = None
        if isinstance(python, dict):
            version = str(python["version"])
            pythons = find_toolchain().pythons
            interpreter = stand_in(version, pythons)
            if interpreter is None:
                found: list[Json] = [*dict.fromkeys(filter(None, map(version_of, pythons)))]
                raise Problem("python-not-here", wanted=version, available=found)
        try:
            LayerStore(root=self.settings.state).compose(spec.image, spec.image_digest, interpreter)
        except FileNotFoundError as error:
            raise Problem("layer-gone", digest=spec.image_digest, path=str(error.filename)) from error
        except BuildFailed as failed:
            raise Problem(failed.code, log=failed.log, **failed.fields) from failed

    def _command(self, spec: Spec, folder: Folder, port: int | None) -> tuple[Path, list[str], dict[str, str]]:
        """Working folder, arguments and environment of a spec's process."""
        image = image_path(self.settings, spec.image_digest)
        process = process_of(spec)
        own = _own_environment(self.settings, spec, folder, port) | {MARK: self.mark(spec.instance)}
        try:
            argv, env = make_environment(
                spec, lambda given: resolve(
                    image / "layers", _buildpack_ids(spec.image), process, given, python=str(find_toolchain().python)
                ), own,
            )  # fmt: skip
        except LifecycleError as error:
            raise Problem("launch-failed", detail=str(error)) from error
        return image / "app" / _directory(process), argv, env

    def _python_folders(self) -> list[Path]:
        """Prefixes of the interpreters that builds were given, and the folder of those that uv installed for them."""
        found = [prefix_of(path) for path in find_toolchain().pythons]
        managed = self.settings.build_env.get("UV_PYTHON_INSTALL_DIR")
        return [*found, Path(managed).resolve()] if managed else found


def _launcher_python(image: Mapping[str, Json]) -> list[Path]:
    """Where the interpreter of the image's launcher lies, for an image that has one."""
    layers = [layer.get("path") for layer in _list(image, "layers") if isinstance(layer, dict)]
    return [prefix_of(find_toolchain().python)] if LAUNCHER_LAYER in layers else []


def _own_environment(settings: Settings, spec: Spec, folder: Folder, port: int | None) -> dict[str, str]:
    where = {"ALGO_BIND": f"unix:{folder.bind}"}
    if port is not None:
        where = {"PORT": str(port), "HOST": "127.0.0.1", "ALGO_BIND": f"127.0.0.1:{port}"}
    return {
        "HOME": str(folder.io / "home"),
        "TMPDIR": str(folder.io / "tmp"),
        "ALGO_READY_FILE": str(folder.ready),
        "ALGO_TERMINATION_LOG": str(folder.termination),
        **about(settings, spec),
        **where,
    }


def hidden_places(settings: Settings) -> list[Path]:
    """What no release and no build sees into: our state, homes, services' sockets, shared temporary folders."""
    places = [settings.state, Path.home(), *map(Path, ("/root", "/home", "/run", "/tmp", "/var/tmp", "/dev/shm"))]  # noqa: S108 -- hidden, not used
    return covered([place for place in places if place.is_dir()])


def image_path(settings: Settings, digest: str) -> Path:
    """Where the kitchen composed an image."""
    return settings.state / "images" / "sha256" / digest.removeprefix("sha256:")


def layer_paths(settings: Settings, image: Mapping[str, Json]) -> list[Path]:
    """Where the kitchen sealed an image's layers, and their views: the image's folder has links to them."""
    store = LayerStore(root=settings.state)
    names = [
        str(layer["diff_id"])
        for layer in _list(image, "layers")
        if isinstance(layer, dict) and layer.get("kind") == "layer"
    ]
    views = [view for view in map(store.view_path, names) if view.is_dir()]
    return [*map(store.layer_path, names), *views]


def _buildpack_ids(image: Mapping[str, Json]) -> list[str]:
    return [str(entry["id"]) for entry in _list(image, "buildpacks") if isinstance(entry, dict)]


def _directory(process: Mapping[str, Json]) -> str:
    """A process's working folder below the application; those elsewhere in the image this machine has not got."""
    value = process.get("working-dir")
    return value.removeprefix(IMAGE_APP).lstrip("/") if isinstance(value, str) else ""


def _list(image: Mapping[str, Json], name: str) -> list[Json]:
    value = image.get(name)
    return value if isinstance(value, list) else []
