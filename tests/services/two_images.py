"""Documents of releases with a second image: the first is documents.Shelf's own, its packages swapped for others."""

from __future__ import annotations

from buildpacks.image.document import table, table_list
from buildpacks.image.variants import VariantLayer, make_variants
from buildpacks.order import Json
from tests.services.documents import LOCK, Shelf

GPU_LOCK = f"{LOCK * 4}nvidia-cublas==13.1\n"


def with_gpu(shelf: Shelf, doc: dict[str, Json], size: int = 2000) -> dict[str, Json]:
    """The document, with a variant whose dependency layer has `size` lines."""
    entry = shelf.seal("layer", "algo_python/deps", {"lib/module.py": b"VALUE = 2\n" * size})
    (pack,) = table_list(table(doc["lifecycle"])["buildpacks"])
    first = table(table(pack["layers"])["deps"])
    data: dict[str, Json] = {"lock": GPU_LOCK, "algo_variant": "gpu", "algo_variant_of": "deps"}
    record: dict[str, Json] = {**first, "sha": entry["diff_id"], "data": data, "size_bytes": entry["size_bytes"]}
    layer = VariantLayer(variant="gpu", pack=str(pack["key"]), layer="deps-gpu", record=record, entry=entry)
    return {**doc, "variants": make_variants([layer])}
