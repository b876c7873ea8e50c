"""A repository's own Dockerfile, built by the engine: for operators who allow it.

Rules of this file
1. The docker command runs with an environment made from nothing: no configuration, no login, no variable of ours.
   Its HOME is an empty folder of this build; base images are public ones, or already in the engine.
2. An engine runs RUN steps with all of a network or with none. So under every policy but `open` they have none: the
   policy `indexes` cannot be held there, and an operator who said "indexes" did not say "everything".
3. A frontend that a Dockerfile names (`# syntax=`) decides itself what runs and with which network. Under a limited
   network none is loaded: the engine reads a copy with a comment in front, after which no directive counts.
4. The runtime contract of such an image is $PORT; its entry point and command stay.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from buildpacks.order import BuildFailed
from gitserver.errors import Json, Problem
from gitserver.push import AppName
from gitserver.targets.build_lines import pass_on
from gitserver.targets.build_network import BuildNetwork
from gitserver.targets.build_runner import MEMORY_MIB

DOCKERFILE = "Dockerfile"
# The command is the operator's, found where systems keep programs: never through a variable, never in the tree.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FIRST_WITH_BUILDX = (
    23  # from here on BuildKit is a plug-in of the command, https://docs.docker.com/engine/release-notes/23.0/
)
_MAX_DOCKERFILE_BYTES = 1024 * 1024
_ASK_S, _END_S = 30, 10
_LAST_LINES = 20
_VERSION = re.compile(r"version (\d+)\.")
_NOISE = re.compile(r"#\d+ (?:sha256:|transferring |DONE|resolve |extracting )|-{4,}$|DEPRECATED: |\s*$")
_STEP = re.compile(r"#(\d+) (\[.*)")
_CLASSIC_STEP = re.compile(r"Step (\d+/\d+) : (.*)")
_FAILED_STEP = re.compile(r"#(\d+) ERROR")
_BASE_STEP = re.compile(r"\[(?:internal\] load metadata for|\d+/\d+\] FROM) (?:docker\.io/(?:library/)?)?(\S+)")
# BuildKit's client says it in two ways, by whichever of its two connections fails first; 29 has words of its own.
_DOWN = re.compile(
    r"cannot connect to the docker daemon|failed to connect to the docker api|error during connect"
    r"|connection refused.*docker\.sock",
    re.IGNORECASE,
)
_FULL = re.compile(r"no space left on device", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerfileOrder:
    """One build, complete.

    tree_root  the pushed tree: the build's context, by the rules of its .dockerignore
    work_dir   an empty folder for this build alone
    host       the engine's address, as DOCKER_HOST takes it
    """

    tree_root: Path
    work_dir: Path
    app: AppName
    app_id: int
    commit: str
    host: str
    network: BuildNetwork
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A docker command of this machine, and whether it speaks BuildKit."""

    program: str
    has_buildkit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerfileImage:
    """image_id: of the engine; document: as the ledger keeps it."""

    image_id: str
    document: Mapping[str, Json]


def find_dockerfile(tree_root: Path) -> Path | None:
    """The Dockerfile at the top of a tree; None when there is none, or it is no plain file."""
    path = tree_root / DOCKERFILE
    return path if path.is_file() and not path.is_symlink() else None


def refusal(*, has_engine: bool) -> Problem:
    """What to say of a tree that has a Dockerfile and nothing for buildpacks, where no Dockerfile is built."""
    return Problem("dockerfile-not-allowed" if has_engine else "dockerfile-no-engine")


@functools.cache
def builders() -> tuple[Builder, ...]:
    """Every docker command of this machine, each with BuildKit where it can and with the engine's classic builder."""
    found = [Path(folder) / "docker" for folder in _PATH.split(":")]
    real = dict.fromkeys(path.resolve() for path in found if os.access(path, os.X_OK))
    return tuple(builder for path in real for builder in _describe(str(path)))


def find_builder() -> Builder:
    """The first with BuildKit, else the first. Raises Problem('dockerfile-no-command')."""
    found = builders()
    if not found:
        raise Problem("dockerfile-no-command")
    return next((builder for builder in found if builder.has_buildkit), found[0])


def _describe(program: str) -> list[Builder]:
    version = _VERSION.search(_ask([program, "--version"], {"PATH": _PATH}))
    is_old = version is not None and int(version[1]) < _FIRST_WITH_BUILDX
    has_buildkit = is_old or _ask([program, "buildx", "version"], {"PATH": _PATH}) != ""
    classic = Builder(program=program, has_buildkit=False)
    return [Builder(program=program, has_buildkit=True), classic] if has_buildkit else [classic]


def build_dockerfile(
    order: DockerfileOrder, log: Callable[[str], None], cancelled: threading.Event, builder: Builder | None = None
) -> DockerfileImage:
    """The image that the engine makes of the tree's Dockerfile, labelled and tagged as ours.

    builder  None: find_builder()'s
    Raises   Problem('dockerfile-failed' | 'dockerfile-base-missing' | 'dockerfile-no-process' | 'dockerfile-too-big' |
             'dockerfile-no-command' | 'engine-down' | 'engine-out-of-space'),
             BuildFailed('build-timeout' | 'cancelled')
    """
    builder = builder or find_builder()
    home, id_file = order.work_dir / "home", order.work_dir / "image-id"
    home.mkdir()
    env = _environment(builder, home, order.host)
    kind = "BuildKit" if builder.has_buildkit else "the engine's classic builder"
    log(f"-----> Dockerfile: built with {kind}")
    if order.network is not BuildNetwork.OPEN:
        log(f"       RUN steps have no network (build network: {order.network.value})")
    told = _Told(log=log)
    status = _run(_arguments(order, builder, id_file), env, order, told.hear, cancelled)
    if status != 0:
        raise _failure(told, order.network)
    image_id = id_file.read_text(encoding="ascii").strip()
    config = json.loads(_ask([builder.program, "image", "inspect", "--format", "{{json .Config}}", image_id], env))
    return DockerfileImage(image_id=image_id, document=document(image_id, config))


def document(image_id: str, config: Mapping[str, Json]) -> dict[str, Json]:
    """The ledger's record of an engine's image. Raises Problem('dockerfile-no-process') when it starts nothing."""
    argv: list[Json] = [*_texts(config.get("Entrypoint")), *_texts(config.get("Cmd"))]
    if not argv:
        raise Problem("dockerfile-no-process")
    cwd = str(config.get("WorkingDir") or "/")
    process: dict[str, Json] = {"type": "web", "command": argv, "args": [], "default": True, "working-dir": cwd}
    return {
        "base": "dockerfile", "engine_image": image_id, "stack": None, "python": None, "layers": [],
        "launch": {"argv": argv, "env": {}, "cwd": cwd}, "processes": [process], "buildpacks": [], "labels": {},
        "model": None, "lifecycle": {}, "host_paths": [],
    }  # fmt: skip


def _environment(builder: Builder, home: Path, host: str) -> dict[str, str]:
    return {
        "PATH": _PATH, "HOME": str(home), "DOCKER_CONFIG": str(home), "DOCKER_HOST": host, "LANG": "C.UTF-8",
        "DOCKER_BUILDKIT": "1" if builder.has_buildkit else "0", "NO_COLOR": "1",
        # An attestation holds times: the same tree would have another id each time.
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    }  # fmt: skip


def _arguments(order: DockerfileOrder, builder: Builder, id_file: Path) -> list[str]:
    network = "default" if order.network is BuildNetwork.OPEN else "none"
    if builder.has_buildkit:
        kind = ["--progress", "plain"]
    else:
        kind = ["--force-rm", "--memory", f"{MEMORY_MIB}m", "--memory-swap", f"{MEMORY_MIB}m"]
    return [
        builder.program, "build", *kind, "--network", network, "--iidfile", str(id_file),
        "--label", "algo.image=1", "--label", f"algo.app={order.app_id}",
        "--tag", f"algo/{order.app.owner}-{order.app.app}:{order.commit[:12]}",
        "--file", str(_dockerfile(order)), "--", str(order.tree_root),
    ]  # fmt: skip


def _dockerfile(order: DockerfileOrder) -> Path:
    """What the engine reads: the tree's own file, or under a limited network a copy without directives (rule 3)."""
    path = order.tree_root / DOCKERFILE
    if order.network is BuildNetwork.OPEN:
        return path
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(_MAX_DOCKERFILE_BYTES + 1)
    if len(text) > _MAX_DOCKERFILE_BYTES:
        raise Problem("dockerfile-too-big", limit_kib=_MAX_DOCKERFILE_BYTES // 1024)
    copy = order.work_dir / DOCKERFILE
    copy.write_bytes(b"# This server's build network is limited: directives do not count.\n" + text)
    return copy


def _run(
    argv: Sequence[str], env: Mapping[str, str], order: DockerfileOrder, hear: Callable[[str], None],
    cancelled: threading.Event,
) -> int:  # fmt: skip
    """Its exit status. The engine ends a build whose client has gone, so ending the command is enough."""
    deadline_at = time.monotonic() + order.timeout_s

    def has_time() -> bool:
        if cancelled.is_set():
            raise BuildFailed("cancelled")
        return time.monotonic() < deadline_at

    process = subprocess.Popen(
        argv, env=dict(env), cwd=order.work_dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        pass_on(process, hear, has_time)
        try:
            return process.wait(max(0.1, deadline_at - time.monotonic()))
        except subprocess.TimeoutExpired as late:
            raise BuildFailed("build-timeout", seconds=int(order.timeout_s)) from late
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(_END_S)
    assert process.stdout is not None
    process.stdout.close()


@dataclass(slots=True)
class _Told:
    """What the builder said: passed on without noise, and what a failure needs of it kept."""

    log: Callable[[str], None]
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    steps: dict[str, str] = field(default_factory=dict)
    step: str = ""
    failed_step: str = ""

    def hear(self, line: str) -> None:
        """One line of the builder."""
        if named := _STEP.match(line):
            self.steps[named[1]] = named[2]
        elif named := _CLASSIC_STEP.match(line):
            self.step = f"[{named[1]}] {named[2]}"
        elif failed := _FAILED_STEP.match(line):
            self.failed_step = self.steps.get(failed[1], "")
        if _NOISE.match(line) is None:
            self.last.append(line)
            self.log(f"       {line}")


def _failure(told: _Told, network: BuildNetwork) -> Problem:
    lines = tuple(told.last)
    text, cause = "\n".join(lines), lines[-1] if lines else "it said nothing"
    if _DOWN.search(text):
        return Problem("engine-down", detail=cause)
    if _FULL.search(text):
        return Problem("engine-out-of-space", detail=cause)
    step = told.failed_step or told.step or "reading the Dockerfile"
    base = _BASE_STEP.match(step)
    if base is not None:
        return Problem("dockerfile-base-missing", image=base[1], cause=cause)
    note = "" if network is BuildNetwork.OPEN else f" Its RUN steps have no network (build network: {network.value})."
    return Problem("dockerfile-failed", step=step, cause=cause, note=note, log=lines)


def _ask(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """What a short command says; '' when it fails."""
    done = subprocess.run(
        argv, env=dict(env), capture_output=True, text=True, timeout=_ASK_S, check=False, stdin=subprocess.DEVNULL
    )
    return done.stdout if done.returncode == 0 else ""


def _texts(value: Json) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
