"""Two images of one commit, layer by layer: what differs, for a person.  Pure.

Source  https://reproducible-builds.org/docs/definition/: same source, environment and instructions, same bytes
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from buildpacks.image.document import DocLayer, parse_layers, table
from buildpacks.image.sbom import lock_of
from buildpacks.order import Json

_LINES = 6  # of a lock's difference: enough to see which packages moved
_PARTS = ("python", "processes", "launch", "labels", "model", "buildpacks")


def differences(first: Mapping[str, Json], second: Mapping[str, Json]) -> list[str]:
    """One sentence a difference, layers first; empty for the same image. The base is not looked at: see base_moved."""
    return [
        *_layers(first, second),
        *(f"{part} of the configuration" for part in _PARTS if _differ(part, first, second)),
    ]


def base_moved(first: Mapping[str, Json], second: Mapping[str, Json]) -> bool:
    """Whether the two lie on different run images."""
    return table(first.get("stack")).get("image_id") != table(second.get("stack")).get("image_id")


def _layers(first: Mapping[str, Json], second: Mapping[str, Json]) -> Iterator[str]:
    old, new = _by_place(first), _by_place(second)
    for place, layer in old.items():
        other = new.get(place)
        if other is None:
            yield f"{layer.title} is not in the second build"
        elif other.diff_id != layer.diff_id:
            yield f"{layer.title}: {layer.diff_id[:19]} is {other.diff_id[:19]}{_why(layer, first, second)}"
    yield from (f"{layer.title} is in the second build alone" for place, layer in new.items() if place not in old)


def _by_place(doc: Mapping[str, Json]) -> dict[tuple[str, str], DocLayer]:
    return {(layer.kind, layer.path): layer for layer in parse_layers(doc)}


def _why(layer: DocLayer, first: Mapping[str, Json], second: Mapping[str, Json]) -> str:
    """Which packages moved, when that is what it is."""
    if layer.kind != "layer":
        return ""
    lines = difflib.unified_diff(lock_of(first).splitlines(), lock_of(second).splitlines(), n=0, lineterm="")
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in {"+++", "---"} and "--hash" not in line]
    return f" (packages: {', '.join(changed[:_LINES])})" if changed else ""


def _differ(part: str, first: Mapping[str, Json], second: Mapping[str, Json]) -> bool:
    return first.get(part) != second.get(part)
