"""An image that was made for this machine, put on a stack: the process target's releases as containers.

One build serves both targets: layers name no folder of the machine that made them, so what has to fit is the same as
for a change of stacks (rebase.py). Reads the layers' env files in the store.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.image.contents import outbound
from buildpacks.image.launching import launch_of
from buildpacks.image.rebase import rebase
from buildpacks.image.store import LayerStore
from buildpacks.image.values import OutboundImage
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack


def sendable(doc: Mapping[str, Json], layers: LayerStore, stacks: StackStore) -> OutboundImage:
    """The image of any document that layers were sealed for; one of this machine lies on the current stack then.

    Raises  BuildFailed: what contents.outbound and settle raise
    """
    stack = stacks.current() if "host" in doc else None
    return outbound(doc if stack is None else settle(doc, stack, layers), layers, stacks)


def moved(doc: Mapping[str, Json], stack: Stack, layers: LayerStore) -> dict[str, Json]:
    """The document on that stack, whatever it lies on now. Raises BuildFailed('rebase-no-stack' | 'rebase-misfit')."""
    return settle(doc, stack, layers) if "host" in doc else rebase(doc, stack)


def settle(doc: Mapping[str, Json], stack: Stack, store: LayerStore) -> dict[str, Json]:
    """The document with the stack below it.

    Raises  BuildFailed('rebase-no-stack') for an image older than that, or a Dockerfile's; BuildFailed('rebase-misfit')
    """
    host = doc.get("host")
    if not isinstance(host, dict):
        raise BuildFailed("rebase-no-stack", base=str(doc.get("base", "host")))
    place: dict[str, Json] = {"architecture": str(host.get("arch", "")), "os": "linux"}
    moved = rebase({**doc, "stack": {"libc": host.get("libc"), "config": place}}, stack)
    del moved["host"]
    moved["launch"] = launch_of(store, moved)
    return moved
