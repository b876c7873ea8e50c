"""Where builds of the docker target run their containers: the current stack's build image, brought in once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from buildpacks.order import BuildFailed
from buildpacks.stack.store import StackStore
from gitserver.errors import Problem
from gitserver.settings import Settings
from gitserver.targets.build_network import BuildNetwork
from gitserver.targets.container_runner import ContainerRunner, find_site, sweep
from gitserver.targets.containers import Engine

_LOG = logging.getLogger("algo.builds")


class BuildSites:
    """Makes runners for builds. Threads may call it."""

    def __init__(self, settings: Settings, engine: Engine, stacks: StackStore) -> None:
        self._settings, self._engine, self._stacks = settings, engine, stacks

    def sweep(self) -> None:
        """Remove what builds of a worker before this one left. An engine that does not answer has nothing running."""
        try:
            sweep(self._settings, self._engine)
        except Problem as problem:
            _LOG.warning("leftovers of builds stay for now: %s", problem)

    def runner(self, app_id: int, cancelled: threading.Event, log: Callable[[str], None]) -> ContainerRunner:
        """One build's runner; its image is in the engine.

        Raises  BuildFailed('no-stack' | 'stack-image-gone'), Problem('build-image-missing'), what Engine.ensure raises
        """
        stack = self._stacks.current()
        if stack is None:
            raise BuildFailed("no-stack")
        network = BuildNetwork(self._settings.build_network)
        site = find_site(self._settings, self._engine, stack, network, log)
        return ContainerRunner(self._settings, self._engine, site, app_id, cancelled)
