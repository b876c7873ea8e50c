"""Documents of the Docker engine's API: what we write into it, what we read out of it.  Pure.

Source  Docker Engine API 1.41, https://docs.docker.com/reference/api/engine/version/v1.41/
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gitserver.errors import Json
from gitserver.targets.containers import ContainerSpec, ContainerState, EngineFacts, EngineImage, StoreKind

# An engine's answer: whatever its JSON holds. Typed values are made of it below, nowhere else.
Answer = Mapping[str, Any]

MAX_OPEN_FILES = 65536  # an engine's own default may be a thousand million, which some programs close one by one
_LOG_BYTES, _LOG_FILES = "10m", "2"  # what the engine keeps of a container's output; we read it as it comes
_NEVER = "0001-01-01"  # Go's zero time


def container_document(spec: ContainerSpec, *, open_files: int = MAX_OPEN_FILES) -> dict[str, Json]:
    """The body of POST /containers/create: everything that the image could say of how it runs is said here instead.

    open_files  limit of each process; more than the engine may itself open makes every start fail
    """
    return {
        "Image": spec.image,
        "Entrypoint": list(spec.argv),
        "Cmd": [],
        "User": spec.user,
        "WorkingDir": spec.cwd,
        "Env": [f"{name}={value}" for name, value in sorted(spec.env.items())],
        "Labels": dict(spec.labels),
        "Healthcheck": {"Test": ["NONE"]},  # the server asks, and knows what it asks; two watchers would disagree
        "StopSignal": "SIGTERM",
        "ExposedPorts": {f"{port}/tcp": {} for port in spec.publish},
        "HostConfig": _host_config(spec, open_files),
    }


def facts_of(info: Answer, version: Answer) -> EngineFacts:
    """From GET /info and GET /version."""
    drivers = {pair[0]: pair[1] for pair in info.get("DriverStatus") or []}
    is_containerd = str(drivers.get("driver-type", "")).startswith("io.containerd.snapshotter")
    return EngineFacts(
        # Engines of one machine can share an ID (20.10 keeps it in /etc/docker), never a data root.
        id=f"{info['ID']}:{info['DockerRootDir']}",
        version=version["Version"],
        store=StoreKind.CONTAINERD if is_containerd else StoreKind.GRAPHDRIVER,
        arch=version["Arch"],
        data_root=info["DockerRootDir"],
        has_limits=bool(info.get("MemoryLimit")) and bool(info.get("PidsLimit")),
    )


def image_of(answer: Answer) -> EngineImage:
    """From GET /images/{name}/json. No layers at all: the containerd store could not unpack it."""
    return EngineImage(
        id=answer["Id"],
        tags=tuple(tag for tag in answer.get("RepoTags") or () if not tag.startswith("<none>")),
        labels=dict((answer.get("Config") or {}).get("Labels") or {}),
        diff_ids=tuple((answer.get("RootFS") or {}).get("Layers") or ()),
        size_bytes=int(answer.get("Size") or 0),
    )


def state_of(answer: Answer) -> ContainerState:
    """From GET /containers/{id}/json."""
    state = answer["State"]
    return ContainerState(
        id=answer["Id"],
        name=answer["Name"].lstrip("/"),
        image=answer["Image"],
        labels=dict(answer["Config"].get("Labels") or {}),
        is_running=bool(state["Running"]),
        pid=int(state["Pid"]),
        exit_status=int(state["ExitCode"]),
        was_oom_killed=bool(state["OOMKilled"]),
        error=state.get("Error") or "",
        started_at=None if state["StartedAt"].startswith(_NEVER) else parse_time(state["StartedAt"]),
    )


def parse_time(text: str) -> datetime:
    """`2026-11-25T03:19:36.230065289Z`, to the microsecond. Raises ValueError."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if not text.endswith("Z"):
        raise ValueError(f"not a time in UTC: {text!r}")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}").replace(tzinfo=UTC)


def split_log_line(frame: bytes) -> tuple[datetime, bytes, bool] | None:
    """Time, text and whether the line ends here: a long one comes in pieces. None: a frame without a time."""
    stamp, space, text = frame.partition(b" ")
    try:
        at = parse_time(stamp.decode("ascii"))
    except ValueError:
        return None
    return (at, text.removesuffix(b"\n"), text.endswith(b"\n")) if space else (at, b"", True)


def label_filter(labels: Mapping[str, str]) -> dict[str, list[str]]:
    """A list's filter; a value of '' means any."""
    return {"label": [f"{name}={value}" if value else name for name, value in labels.items()]}


def _host_config(spec: ContainerSpec, open_files: int) -> dict[str, Json]:
    memory_bytes = spec.memory_mib * 1024 * 1024
    limits: dict[str, Json] = {"Memory": memory_bytes, "MemorySwap": memory_bytes, "PidsLimit": spec.processes}
    if spec.cpus is not None:
        limits["NanoCpus"] = round(spec.cpus * 1_000_000_000)
    return {
        **limits,
        "ReadonlyRootfs": spec.read_only_root,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Tmpfs": dict(spec.tmpfs),
        # The engine's 64 MiB end PyTorch's data loaders with a bus error; it counts as the container's memory.
        "ShmSize": memory_bytes // 2,
        "Mounts": [
            {
                "Type": "bind",
                "Source": str(mount.host_path),
                "Target": mount.path,
                "ReadOnly": mount.read_only,
                "BindOptions": {"Propagation": "rprivate"},
            }
            for mount in spec.mounts
        ],
        # Never on another address: the gateway is the only way in.
        "PortBindings": {
            f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(host_port)}]
            for port, host_port in spec.publish.items()
        },
        "NetworkMode": spec.network,
        "Init": spec.init,
        "IpcMode": "private",
        "LogConfig": {"Type": "json-file", "Config": {"max-size": _LOG_BYTES, "max-file": _LOG_FILES}},
        "RestartPolicy": {"Name": "no"},
        "Ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": open_files, "Hard": open_files},
        ],
    }
