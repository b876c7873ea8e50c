"""The reference implementation of Cloud Native Buildpacks, and a platform around it: github.com/buildpacks/lifecycle.

Its programs are built once a machine from the module of tests/services/reference_lifecycle. They run in a container of
our stack's build image, as any platform runs them, and export to a real registry; the image that comes out is started
by an engine that knows nothing of us. No file of the buildpacks is changed for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from buildpacks.image.contents import base_outbound
from buildpacks.image.push import PushOrder, push_image
from buildpacks.image.registry import Registry, RegistryOptions
from buildpacks.stack.store import StackStore
from buildpacks.toolchain import BUILDPACKS_DIR, find_toolchain
from gitserver.settings import BUILD_ENV_NAMES
from gitserver.targets.engine import DockerEngine
from tests.services.engines import TestEngine, graphdriver_engine
from tests.services.registry import RealRegistry, free_port, running
from tests.services.stacks import the_stack

MODULE = Path(__file__).parent / "reference_lifecycle"
VERSION = "0.21.0"  # as go.mod has it
PLATFORM_API = "0.14"
PACKAGES = tuple(f"github.com/buildpacks/lifecycle/cmd/{name}" for name in ("lifecycle", "launcher"))
USER = 1000  # CNB_USER_ID of our stacks
UP_S, BUILD_S = 60.0, 500.0
BUILD_IMAGE, RUN_IMAGE = "algo-test/reference-build:1", "run"
_BYTE_CODE = shutil.ignore_patterns("__pycache__")
_GO = re.compile(r"go(\d+)\.(\d+)")


@functools.cache
def programs() -> Path:
    """A folder with `lifecycle` and `launcher`; the first call on a machine compiles for two to three minutes.

    Without Go the test is skipped with a sentence; where CI is set, it fails.
    """
    go = _need_go()
    cache = _cache_folder() / "reference-lifecycle"
    cache.mkdir(parents=True, exist_ok=True)
    final = cache / hashlib.sha256((MODULE / "go.sum").read_bytes()).hexdigest()[:16]
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.is_dir():
            draft = Path(tempfile.mkdtemp(dir=cache, prefix="draft-"))
            try:
                _compile(go, draft)
                draft.chmod(0o755)
                draft.rename(final)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
    return final


def _need_go() -> str:
    wanted = re.search(r"^go (\d+)\.(\d+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None
    found = shutil.which("go")
    if found is not None:
        said = subprocess.run([found, "version"], capture_output=True, text=True, check=True, timeout=60).stdout
        here = _GO.search(said)
        if here is not None and (int(here[1]), int(here[2])) >= (int(wanted[1]), int(wanted[2])):
            return found
    sentence = f"the reference lifecycle is compiled by Go {wanted[1]}.{wanted[2]} or newer, which is not on PATH"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


def _compile(go: str, folder: Path) -> None:
    named = f"-X github.com/buildpacks/lifecycle/cmd.Version={VERSION}"
    flags = ["-mod=readonly", "-modcacherw", "-buildvcs=false", "-trimpath", "-ldflags", f"-s -w {named}"]
    done = subprocess.run(
        [go, "build", *flags, "-o", f"{folder}/", *PACKAGES],
        cwd=MODULE, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}, capture_output=True, text=True, check=False,
        timeout=1200,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.fail(f"the reference lifecycle does not compile: {done.stderr[-3000:]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """How one run of the reference lifecycle ended, and what it and the buildpacks wrote."""

    status: int
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What every app of a test run shares.

    build  an image in the engine
    run    an image in the registry
    made   the images of apps that were pulled into the engine
    """

    engine: TestEngine
    registry: RealRegistry
    build: str
    run: str
    made: list[str] = field(default_factory=list)


@contextlib.contextmanager
def running_site(root: Path) -> Iterator[Site]:
    """Our stack as another platform has it: its build image in an engine, its run image in a registry of its own."""
    if os.geteuid() != 0:
        pytest.skip("run the tests as root: what is built is handed over to the user that builds")
    programs()
    with running(RealRegistry(home=root / "registry")) as registry:
        site = _make_site(registry, root)
        try:
            yield site
        finally:
            if not site.engine.is_ours:  # one of our own goes with all it has
                site.engine.docker("rmi", "--force", BUILD_IMAGE, *site.made)


def _make_site(registry: RealRegistry, notes: Path) -> Site:
    engine = graphdriver_engine()
    store = StackStore(root=the_stack())
    stack = store.current()
    assert stack is not None
    assert stack.build is not None
    door = DockerEngine(engine.host)
    try:
        build = door.ensure(base_outbound(stack.build, store, notes), BUILD_IMAGE, _silent).image
    finally:
        door.close()
    client = Registry(registry.name, RegistryOptions(plain_http=frozenset({registry.name}), docker_config=None))
    try:
        image = base_outbound(stack.run, store, notes)
        push_image(PushOrder(image=image, repository=RUN_IMAGE, tags=("1",), log=_silent), client, notes)
    finally:
        client.close()
    return Site(engine=engine, registry=registry, build=build, run=f"{registry.name}/{RUN_IMAGE}:1")


class Platform:
    """One app on the reference lifecycle: its buildpacks, its layers, its image.

    root  names the image: its own name and its parent's
    """

    def __init__(self, root: Path, site: Site) -> None:
        self.root, self.site = root, site
        self.cnb, self.layers = root / "cnb", root / "layers"
        self.image = f"{site.registry.name}/{root.parent.name}/{root.name}:latest"  # in the registry and the engine
        (self.cnb / "buildpacks").mkdir(parents=True)

    def add(self, pack: Path, pack_id: str, version: str) -> Path:
        """Lay a buildpack where the specification wants it; returns the folder."""
        target = self.cnb / "buildpacks" / pack_id.replace("/", "_") / version
        shutil.copytree(pack, target, symlinks=True, ignore=_BYTE_CODE)
        return target

    def add_ours(self) -> None:
        """Our buildpacks and their order, each packaged alone: its modules in lib/, what it ships beside them.

        Why links  each has all modules; copies would be a megabyte for each of them
        """
        shutil.copytree(BUILDPACKS_DIR, self.cnb / "lib" / "buildpacks", ignore=_BYTE_CODE)
        for descriptor in sorted((BUILDPACKS_DIR / "packs").glob("*/buildpack.toml")):
            head = tomllib.loads(descriptor.read_text())["buildpack"]
            target = self.add(descriptor.parent, head["id"], head["version"])
            shutil.copytree(self.cnb / "lib", target / "lib", copy_function=os.link)
            if head["id"] == "algo/model":
                shutil.copytree(BUILDPACKS_DIR.with_name("runtime"), target / "runtime", ignore=_BYTE_CODE)
            if head["id"] == "algo/python":
                (target / "tools").mkdir()
                shutil.copy2(find_toolchain().uv, target / "tools" / "uv")
        shutil.copyfile(BUILDPACKS_DIR / "packs" / "order.toml", self.cnb / "order.toml")

    def build(self, app: Path) -> Built:
        """Analyse, detect, restore, build and export with `lifecycle create`, as its own platforms do. app: copied."""
        workspace, platform, cache = self.root / "workspace", self.root / "platform", self.root / "cache"
        for folder in (workspace, platform, self.layers):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(app, workspace, symlinks=True)
        wheels = _cache_folder() / "reference-uv"
        for folder in (platform / "env", self.layers, cache, wheels):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (workspace, *workspace.rglob("*"), wheels):
            os.chown(folder, USER, USER, follow_symlinks=False)  # as the specification wants it
        given = {**_operators_env(), "UV_CACHE_DIR": "/wheels"}
        for key, value in given.items():
            (platform / "env" / key).write_text(value)
        done = self._run(
            ["/cnb/lifecycle/lifecycle", "create", "-app", "/workspace", "-cache-dir", "/cache",
             "-run-image", self.site.run, self.image],
            {workspace: "/workspace", platform: "/platform", self.layers: "/layers", cache: "/cache",
             wheels: "/wheels"},
            _named_places(given.values()),
        )  # fmt: skip
        if done.returncode == 0:
            self.site.engine.docker("pull", "--quiet", self.image)
            self.site.made.append(self.image)
        return Built(status=done.returncode, log=done.stdout)

    def _run(
        self, command: Sequence[str], writable: Mapping[Path, str], readable: Sequence[str]
    ) -> subprocess.CompletedProcess[str]:
        mounts = [f"{path}:{place}" for path, place in writable.items()]
        mounts += [f"{self.cnb}/{name}:/cnb/{name}:ro" for name in ("buildpacks", "order.toml")]
        mounts += [f"{programs()}:/cnb/lifecycle:ro", *(f"{path}:{path}:ro" for path in readable)]
        options = [word for mount in mounts for word in ("--volume", mount)]
        return subprocess.run(
            ["docker", "run", "--rm", "--network", "host", "--user", "0", "--env", f"CNB_PLATFORM_API={PLATFORM_API}",
             "--env", "CNB_NO_COLOR=true", *options, self.site.build, *command],
            env={**os.environ, "DOCKER_HOST": self.site.engine.host}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", check=False, timeout=BUILD_S,
        )  # fmt: skip

    def forget_cache(self) -> None:
        """As a platform that lost what it kept between builds."""
        shutil.rmtree(self.root / "cache")

    def says(self, process: str) -> str:
        """What a process type of the image writes until it ends, started by the reference's launcher."""
        entry = ["--entrypoint", f"/cnb/process/{process}"]
        return self.site.engine.docker("run", "--rm", "--network", "none", *entry, self.image)

    @contextlib.contextmanager
    def serving(self, *, ready_path: str = "/") -> Iterator[str]:
        """Start the image's default process, as `docker run IMAGE` does; the address, when it answers at ready_path."""
        docker, port = self.site.engine.docker, free_port()
        container = docker("run", "--detach", "--network", "host", "--env", f"PORT={port}", self.image)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline_at = time.monotonic() + UP_S
            while not _answers(f"{url}{ready_path}"):
                state = docker("inspect", "--format", "{{.State.Running}}", container)
                if state != "true" or time.monotonic() > deadline_at:
                    raise AssertionError(docker("logs", container))
                time.sleep(0.1)
            yield url
        finally:
            docker("rm", "--force", container)


def _operators_env() -> dict[str, str]:
    """Indexes, proxies and certificates of this machine, as its server would pass them on."""
    return {name: os.environ[name] for name in BUILD_ENV_NAMES if name in os.environ}


def _named_places(values: Iterable[str]) -> list[str]:
    """Folders of this machine that settings name: local wheels, certificates."""
    found = (Path(value) for value in values if value.startswith("/"))
    return sorted({str(path if path.is_dir() else path.parent) for path in found if path.exists()})


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "algo-tests"


def _silent(line: str) -> None:
    """Nobody listens."""
