"""A job on its way through the corridor, and the doors that it may use."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gitserver.buildlog import BuildLog
from gitserver.ledger.records import App, Build, ConfigVersion, Environment, Image
from gitserver.ledger.store import Ledger
from gitserver.remote.tree import Tree
from gitserver.targets.contract import Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One durable build in somebody's hands. cancelled is set when a person asked for its end."""

    build: Build
    app: App
    log: BuildLog
    cancelled: threading.Event


class RefMove(Protocol):
    """Refs that are locked and proven to be where they should be."""

    def commit(self) -> None:
        """Move them all."""
        ...


class Source(Protocol):
    """The pushed commit and the repository it came to."""

    def extract(self, job: Job) -> Tree:
        """The commit's tree on disk. Raises Problem for everything that has no place in a tree."""
        ...

    def moving_refs(self, jobs: Sequence[Job]) -> AbstractContextManager[RefMove]:
        """The repository locked, pushed objects moved in, refs compared and locked; left without commit: untouched."""
        ...


class Kitchen(Protocol):
    """Raw source becomes an image."""

    def build(self, job: Job, environment: Environment, tree: Tree, config: ConfigVersion) -> Image:
        """Raises BuildFailed."""
        ...

    def build_again(self, job: Job, tree: Tree, config: ConfigVersion, scratch: Path) -> Image:
        """The same build with an empty store and empty caches below scratch. Raises BuildFailed."""
        ...

    def publish(self, job: Job, image: Image) -> None:
        """Send an image to the registry. Raises Problem('no-registry'), BuildFailed, what the registry says."""
        ...

    def name_version(self, job: Job, image: Image) -> None:
        """An image that was built before gets the name of the job's version. Raises what a registry fails with."""
        ...

    def rebase(self, job: Job, image: Image, stack_name: str) -> Image:
        """The same layers on the run image of another stack. Raises BuildFailed, Problem('no-stack-here')."""
        ...


class Routes(Protocol):
    """Where calls go."""

    def reload(self) -> None:
        """Returns when new calls go where the ledger says. Raises Problem('component-down')."""
        ...


class Doors(Protocol):
    """Everything that the corridor may reach."""

    @property
    def ledger(self) -> Ledger:
        """Records."""
        ...

    @property
    def source(self) -> Source:
        """Git."""
        ...

    @property
    def kitchen(self) -> Kitchen:
        """Buildpacks."""
        ...

    @property
    def routes(self) -> Routes:
        """The gateway."""
        ...

    def environment(self, job: Job) -> Environment:
        """The living environment of the job, made when the job is the first there."""
        ...

    def run_release(self, job: Job, environment: Environment, image: Image, config: Mapping[str, str]) -> None:
        """The image's `release` process, run to its end; nothing when it has none. Raises Problem."""
        ...

    def start(self, job: Job, environment: Environment, image: Image, config: Mapping[str, str]) -> Running:
        """A ready instance for the job; its smoke test is in the log."""
        ...
