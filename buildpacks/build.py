"""From a pushed tree to an image: the whole kitchen on one screen.

    tree -> pruned tree -> lifecycle (detect, restore, build) in a sandbox -> sealed layers -> composed image

Rules of this file
1. The first attempt executes nothing of the repository: wheels only, in a sandbox with the shared wheel cache. Only
   when a package has no wheel does a second attempt build sources, with rights and a cache of this app alone.
2. What the sandboxed process says is checked before anything is done with it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from buildpacks.export import export, previous_packs
from buildpacks.image.store import LayerStore
from buildpacks.kitchen import Workshop, prepare
from buildpacks.order import BuildFailed, BuildOrder, BuiltImage, Json, Runner
from buildpacks.result import Result, read_result
from buildpacks.toolchain import find_toolchain

# Folders that belong to a working copy, never to an image.
_LEFT_OUT = frozenset({
    ".git", ".hg", ".svn", ".venv", "__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints",
    ".tox", ".nox",
})  # fmt: skip


def build(order: BuildOrder, run: Runner, log: Callable[[str], None]) -> BuiltImage:
    """The image of a tree.

    order   app_dir is consumed: what is left of it is not the tree any more
    Raises  BuildFailed with a code of buildpacks.words; what Runner raises
    """
    tools = find_toolchain()
    left_out = prune(order.app_dir)
    if left_out:
        log(f"       Left out of the image: {', '.join(left_out)}")
    previous = _still_there(order)
    workshop = prepare(order, tools, previous, trusted=True)
    try:
        result = _attempt(workshop, run, log)
    except BuildFailed as failed:
        if failed.code != "needs-source-build":
            raise
        log(f"       {failed.fields['name']} has no wheel for Python {failed.fields['python']}: building from source")
        workshop = prepare(order, tools, previous, trusted=False)
        result = _attempt(workshop, run, log)
    return export(order, workshop, result)


def _attempt(workshop: Workshop, run: Runner, log: Callable[[str], None]) -> Result:
    status = run(workshop.child, log)
    return read_result(workshop.result, status)


def prune(app_dir: Path) -> list[str]:
    """Remove what is no part of an app: histories, virtual environments, caches. Returns what went, for the log."""
    gone = []
    for here, folders, _ in os.walk(app_dir):
        for name in list(folders):
            path = Path(here) / name
            if path.is_symlink():
                continue
            if name in _LEFT_OUT or (path / "pyvenv.cfg").exists():
                shutil.rmtree(path)
                folders.remove(name)
                gone.append(str(path.relative_to(app_dir)))
    return sorted(gone)


def _still_there(order: BuildOrder) -> list[Mapping[str, Json]]:
    """The previous image's buildpacks without layers that the store has lost: those are made again."""
    store = LayerStore(root=order.store_dir)
    kept: list[Mapping[str, Json]] = []
    for pack in previous_packs(order.previous):
        layers = pack.get("layers")
        there: dict[str, Json] = {
            name: layer
            for name, layer in (layers.items() if isinstance(layers, dict) else ())
            if isinstance(layer, dict) and isinstance(layer.get("sha"), str) and store.has_layer(str(layer["sha"]))
        }
        kept.append({**pack, "layers": there})
    return kept
