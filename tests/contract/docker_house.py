"""Handmade images for tests of the docker target: the programs of targets_house over a real stack, in a real engine."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from buildpacks.image.contents import base_outbound
from buildpacks.image.values import ImageLayer, OutboundImage
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack
from gitserver.errors import Json, Problem
from gitserver.settings import Settings
from gitserver.targets.containers import ContainerState, Engine
from gitserver.targets.contract import Spec, Target
from gitserver.targets.docker import DockerTarget
from gitserver.targets.docker_plan import SERVER_LABEL, Document, Naming
from gitserver.targets.engine import DockerEngine
from tests.contract.targets_house import SHIM, Store, end, noted_pid, refusal_of
from tests.services.engines import TestEngine, graphdriver_engine
from tests.services.stacks import the_stack

LIB = "/workspace/lib"


@functools.cache
def stack() -> Stack:
    """The stack that tests share."""
    found = StackStore(root=the_stack()).current()
    assert found is not None
    return found


@functools.cache
def base() -> OutboundImage:
    """Its run image."""
    notes = tempfile.mkdtemp(prefix="algo-test-")
    atexit.register(shutil.rmtree, notes, ignore_errors=True)
    return base_outbound(stack().run, StackStore(root=the_stack()), Path(notes))


class DockerStore(Store):
    """The same instances as Store makes, as images of one small layer over the stack."""

    def image(
        self, files: Mapping[str, str], command: Sequence[str], layers: Mapping[str, str] | None = None
    ) -> tuple[str, dict[str, Json]]:
        """Digest and document: `python` is the stack's, files lie in /workspace. layers are not for this store."""
        assert layers is None
        python = stack().pythons[0].path
        document: dict[str, Json] = {
            "base": "test", "files": dict(files), "layers": [], "buildpacks": [],
            "processes": [
                {"type": "web", "command": [python if word == "python" else word for word in command], "default": True}
            ],
        }  # fmt: skip
        return make_outbound(document).image_id, document

    def shim(self, instance: str = "r1", *, app_id: int = 1, **env: str) -> Spec:
        """A spec of the handmade shim."""
        image = self.image({"lib/_gitserver_runtime/__main__.py": SHIM}, ["python", "-P", "-m", "_gitserver_runtime"])
        return self.spec(instance, image, app_id=app_id, **env)

    def break_shim(self, spec: Spec) -> None:
        """Its next start fails; the one that runs goes on."""
        files = spec.image["files"]
        assert isinstance(files, dict)
        files["lib/_gitserver_runtime/__main__.py"] = "raise SystemExit(3)"


def make_outbound(document: Document, *, arch: str | None = None) -> OutboundImage:
    """The image of a handmade document, by name of the files that it lists."""
    files = document["files"]
    assert isinstance(files, dict)
    layer = _layer({name: str(text).encode() for name, text in files.items()})
    layers = [*base().layers, layer]
    config = {
        "architecture": arch or stack().arch,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Labels": {"algo.image": "1", "algo.test": "e"}},
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
    }
    data = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
    return OutboundImage(image_id=f"sha256:{_hex(data)}", config=data, layers=layers, annotations={})


def command(_image: Document, process: Document, env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """What buildpacks.image.launching makes of real layers: the command, and a search path that comes first."""
    words = process["command"]
    assert isinstance(words, list)
    search = f"{LIB}:{env['PYTHONPATH']}" if "PYTHONPATH" in env else LIB
    return [str(word) for word in words], {**env, "PYTHONPATH": search}


def make_target(settings: Settings, engine: Engine) -> DockerTarget:
    """A target over handmade images."""
    return DockerTarget(settings, engine, make_outbound, command)


class DockerPlace:
    """Containers of a real engine: the session's, or one that the test may stop."""

    def __init__(self, settings: Settings, real: TestEngine | None = None) -> None:
        self.real = real or graphdriver_engine()
        self.engine = DockerEngine(self.real.host, timeout_s=20)
        self.store = DockerStore(settings)
        self.naming = Naming.of(settings)
        self.target: Target = make_target(settings, self.engine)
        _clean_at_end(self.real.host)

    def refusal(self, spec: Spec) -> Problem:
        """Why it did not start; no container, no network, no folder stays."""
        problem = refusal_of(self.target, self.store.settings, spec)
        assert list(self.containers()) == []
        assert self.networks() == []
        return problem

    def containers(self) -> Sequence[ContainerState]:
        """Of this server's instances, ended ones too."""
        return self.engine.containers(self.naming.all_instances())

    def networks(self) -> list[str]:
        """Names of this server's networks."""
        label = f"label={SERVER_LABEL}={self.naming.mark}"
        return self.real.docker("network", "ls", "--filter", label, "--format", "{{.Name}}").splitlines()

    def pid(self, instance: str) -> int:
        """Its first process, as this machine numbers it."""
        return noted_pid(self.store.settings, instance)

    def restart_worker(self) -> None:
        """A new target takes over, as after a worker's end; the old one stops watching and ends nothing."""
        self.target.close()
        self.target = make_target(self.store.settings, self.engine)

    def close(self) -> None:
        """Nothing of a test stays."""
        end(self.target)
        self.engine.close()


@functools.cache
def _clean_at_end(host: str) -> None:
    """Images stay while tests run, for the next one has the same base; a developer's engine gets none to keep."""

    def clean() -> None:
        engine = DockerEngine(host, timeout_s=20)
        with contextlib.suppress(Problem):  # it was stopped before, and its folder goes with it
            for image in engine.images({"algo.test": "e"}):
                engine.remove_image(image.id)
        engine.close()

    atexit.register(clean)


def _layer(files: Mapping[str, bytes]) -> ImageLayer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        names = sorted({str(parent) for name in files for parent in Path("workspace", name).parents} - {"."})
        for name in names or ["workspace"]:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name, data in sorted(files.items()):
            file = tarfile.TarInfo(f"workspace/{name}")
            file.size = len(data)
            tar.addfile(file, io.BytesIO(data))
    packed = buffer.getvalue()
    return ImageLayer(
        diff_id=f"sha256:{_hex(packed)}", tar_bytes=len(packed), kind="app", title="application",
        read=lambda: iter((packed,)),
    )  # fmt: skip


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
