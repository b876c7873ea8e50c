"""What a target is asked to run and what it answers. Pure; process, docker and kubernetes share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gitserver.errors import Json
from gitserver.push import AppName


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One instance to run, complete.

    instance   its name for ever, `[a-z0-9-]{1,60}`: the same name is the same release of the same image
    label      how people see it in logs: `production r8`, `feature/x r2`, `v1`
    image      config document of buildpacks.order.BuiltImage
    env        the app's configuration; PORT and friends are the target's
    process    type of the image's process that runs; '': the one that answers calls
    """

    instance: str
    app_id: int
    app_name: AppName
    label: str
    image_digest: str
    image: Mapping[str, Json]
    env: Mapping[str, str]
    memory_mib: int
    ready_timeout_s: float
    process: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A ready instance. address: `unix:/path` or `tcp:127.0.0.1:4711`.

    facts  what it said of itself when it got ready: {"load_s", "predict_ms", "memory_mib", "model", "warning"}
    """

    instance: str
    address: str
    facts: Mapping[str, Json]


class Target(Protocol):
    """Runs releases. Threads may call it; every wait has a deadline."""

    def start(self, spec: Spec, log: Callable[[str], None]) -> Running:
        """Start and wait until ready; a running instance of that name is returned as it is.

        Raises  Problem with the cause (start-crashed, never-listened, wrong-port, load-failed, start-timeout,
                out-of-memory, ...) and the last lines the process wrote; nothing of the attempt stays behind
        """
        ...

    def run(self, spec: Spec, log: Callable[[str], None]) -> None:
        """Run spec.process to its end, its lines passed to log; nothing of it stays. stop() of its name ends it.

        Raises  Problem('release-failed' | 'release-timeout' | 'out-of-memory' | ...) with its last lines
        """
        ...

    def keep(self, spec: Spec) -> None:
        """From now on restart it when it ends, with growing pauses, until stop()."""
        ...

    def stop(self, instance: str, *, grace_s: float) -> None:
        """SIGTERM to its whole group, SIGKILL after grace_s; returns when nothing of it is left. Unknown: no-op."""
        ...

    def find(self, instance: str) -> Running | None:
        """The instance if it is ready now."""
        ...

    def instances(self) -> tuple[str, ...]:
        """Names of everything that runs here, ours alone."""
        ...

    def close(self) -> None:
        """Stop watching; instances go on as they are."""
        ...
