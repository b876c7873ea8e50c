"""From a pushed tree to an image: the whole kitchen on one screen.

    tree -> pruned tree -> lifecycle (detect, restore, build) in a sandbox -> sealed layers -> composed image

Rules of this file
1. The first attempt executes nothing of the repository: wheels only, in a sandbox with the shared wheel cache. Only
   when a package has no wheel, or a language builds by running code (npm, Maven, Go), does a second attempt do so, with
   rights and a cache of this app alone. With buildpacks that are not ours there is no first attempt: their scripts are
   code of strangers.
2. What the sandboxed process says is checked before anything is done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from buildpacks.appdir import enter
from buildpacks.choosing.bring import bring
from buildpacks.export import export, previous_packs
from buildpacks.image.store import LayerStore
from buildpacks.kitchen import Workshop, prepare
from buildpacks.order import BuildFailed, BuildOrder, BuiltImage, Json, Runner
from buildpacks.pruning import prune
from buildpacks.result import Result, read_result
from buildpacks.toolchain import find_toolchain

# What a trusted attempt ends with that an untrusted one may go on from, and what the push says about it.
_SECOND_ATTEMPT = {
    "needs-source-build": "{name} has no wheel for Python {python}: building from source",
    "runs-code": "{what} runs code of the repository: in a sandbox of this app alone",
}


def build(order: BuildOrder, run: Runner, log: Callable[[str], None]) -> BuiltImage:
    """The image of a tree.

    order   app_dir is consumed: what is left of it is not the tree any more
    Raises  BuildFailed with a code of buildpacks.words; what Runner raises
    """
    tools = find_toolchain()
    for line in prune(order.app_dir):
        log(f"       {line}")
    order = enter(order, log)
    chosen = bring(order, log)
    previous = _still_there(order)
    trusted = chosen is None or not chosen.is_foreign
    workshop = prepare(order, tools, previous, trusted=trusted, chosen=chosen)
    try:
        result = _attempt(workshop, run, log)
    except BuildFailed as failed:
        if failed.code not in _SECOND_ATTEMPT or not trusted:
            raise
        log(f"       {_SECOND_ATTEMPT[failed.code].format_map(failed.fields)}")
        workshop = prepare(
            order, tools, previous, trusted=False, chosen=chosen, sees_passwords=failed.code == "needs-source-build"
        )
        result = _attempt(workshop, run, log)
    return export(order, workshop, result)


def _attempt(workshop: Workshop, run: Runner, log: Callable[[str], None]) -> Result:
    status = run(workshop.child, log)
    return read_result(workshop.result, status)


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
