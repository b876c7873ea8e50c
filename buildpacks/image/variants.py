"""A second image of the same release: the same document with one buildpack's layer swapped for another.  Pure.

A buildpack makes a variant by a launch layer that says so (packs/second_image.py). A document names it apart:

    "variants": {"gpu": {"layers": [{"diff_id", "kind", "path", "size_bytes", "tar_bytes"}],
                         "buildpacks": [{"key", "layers": {"deps-gpu": {lifecycle metadata of the layer}}}]}}

Rules of this file
1. The variant's document is made when it is asked for, never stored: what moves the image (another stack, another
   launch) moves its variants.
2. It differs in the swapped layers, in what the lifecycle knows of them, and in its own name. Nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.image.document import table, table_list
from buildpacks.order import BuildFailed, Json
from buildpacks.packs.second_image import NAMES, OF_KEY


class VariantLayer(NamedTuple):
    """A sealed layer of a variant. record: its lifecycle metadata; entry: as `layers` of a document name it."""

    variant: str
    pack: str
    layer: str
    record: dict[str, Json]
    entry: dict[str, Json]


def variant_names(doc: Mapping[str, Json]) -> tuple[str, ...]:
    """Variants that an image's document has, in the order of NAMES."""
    found = table(doc.get("variants"))
    return tuple(name for name in NAMES if name in found)


def variant_document(doc: Mapping[str, Json], name: str) -> dict[str, Json]:
    """The document of a variant. Raises BuildFailed('no-such-variant', variant, known)."""
    if name not in variant_names(doc):
        raise BuildFailed("no-such-variant", variant=name, known=", ".join(variant_names(doc)) or "none")
    variant = table(table(doc.get("variants"))[name])
    instead = {(layer["kind"], layer["path"]): layer for layer in table_list(variant.get("layers"))}
    made: dict[str, Json] = {key: value for key, value in doc.items() if key != "variants"}
    made["layers"] = [
        instead.get((layer["kind"], layer["path"]), layer) for layer in table_list(doc.get("layers"))
    ]  # fmt: skip
    lifecycle = table(doc.get("lifecycle"))
    made["lifecycle"] = {
        **lifecycle,
        "buildpacks": [
            {**pack, "layers": _swapped(table(pack.get("layers")), variant, str(pack.get("key")))}
            for pack in table_list(lifecycle.get("buildpacks"))
        ],
    }
    made["variant"] = name
    return made


def documents(doc: Mapping[str, Json]) -> dict[str, Mapping[str, Json]]:
    """Every image of a release: '' is the one that serves, then its variants by name."""
    return {"": doc, **{name: variant_document(doc, name) for name in variant_names(doc)}}


def variant_layers(doc: Mapping[str, Json] | None) -> dict[str, dict[str, Json]]:
    """Buildpack id -> its variants' layers, as lifecycle metadata: a later build finds them beside the image's own."""
    found: dict[str, dict[str, Json]] = {}
    if doc is None:
        return found
    for name in variant_names(doc):
        for pack in table_list(table(table(doc.get("variants"))[name]).get("buildpacks")):
            found.setdefault(str(pack.get("key")), {}).update(table(pack.get("layers")))
    return found


def make_variants(layers: Sequence[VariantLayer]) -> dict[str, Json]:
    """`variants` of a document."""
    made: dict[str, Json] = {}
    for name in sorted({layer.variant for layer in layers}):
        own = [layer for layer in layers if layer.variant == name]
        packs: dict[str, dict[str, Json]] = {}
        for layer in own:
            packs.setdefault(layer.pack, {})[layer.layer] = layer.record
        made[name] = {
            "layers": [layer.entry for layer in own],
            "buildpacks": [{"key": key, "layers": named} for key, named in packs.items()],
        }
    return made


def _swapped(layers: Mapping[str, Json], variant: Mapping[str, Json], key: str) -> dict[str, Json]:
    made = dict(layers)
    for pack in table_list(variant.get("buildpacks")):
        if pack.get("key") == key:
            for record in table(pack.get("layers")).values():
                of = table(table(record).get("data")).get(OF_KEY)
                made[str(of)] = record
    return made
