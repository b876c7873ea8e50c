"""A second image of the same release: what it shares with the first, and what says that it is there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildpacks.image.compare import differences
from buildpacks.image.contents import outbound
from buildpacks.image.document import table
from buildpacks.image.oci import document_digest, image_config, image_id
from buildpacks.image.rebase import rebase
from buildpacks.image.sbom import lock_of
from buildpacks.image.variants import documents, variant_document, variant_layers, variant_names
from buildpacks.launch_layers import refuse_other_starts
from buildpacks.order import BuildFailed, Json
from buildpacks.result import LayerResult, read_result
from buildpacks.stack.values import Stack, StackPython
from gitserver.gc.needed import diff_ids
from tests.services.documents import Shelf, make_shelf
from tests.services.two_images import GPU_LOCK, with_gpu


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def config_of(doc: dict[str, Json]) -> Any:
    return json.loads(image_config(doc))


def test_the_manifests_share_every_layer_but_the_packages(shelf: Shelf) -> None:
    doc = with_gpu(shelf, shelf.document())
    first = outbound(doc, shelf.layers, shelf.stacks)
    second = outbound(variant_document(doc, "gpu"), shelf.layers, shelf.stacks)
    changed = [
        one.title for one, other in zip(first.layers, second.layers, strict=True) if one.diff_id != other.diff_id
    ]
    assert changed == ["layers/algo_python/deps"]


def test_the_configurations_differ_in_that_layer_and_in_labels_that_must(shelf: Shelf) -> None:
    doc = with_gpu(shelf, shelf.document())
    first, second = config_of(doc), config_of(variant_document(doc, "gpu"))
    labels, others = first["config"].pop("Labels"), second["config"].pop("Labels")
    assert first.pop("rootfs")["diff_ids"] != second.pop("rootfs")["diff_ids"]
    assert first == second, "the same command, environment and history"
    assert {name for name in labels | others if labels.get(name) != others.get(name)} == {
        "algo.variant", "algo.variant.gpu", "io.buildpacks.lifecycle.metadata",
    }  # fmt: skip
    assert others["algo.variant"] == "gpu"
    assert labels["algo.variant.gpu"] == image_id(variant_document(doc, "gpu"))


def test_another_second_image_is_another_release(shelf: Shelf) -> None:
    doc = shelf.document()
    one, other = with_gpu(shelf, doc, 2000), with_gpu(shelf, doc, 3000)
    assert len({document_digest(found) for found in (doc, one, other)}) == 3
    host: dict[str, Json] = {"base": "host", "stack": None}
    assert len({document_digest({**found, **host}) for found in (doc, one, other)}) == 3


def test_a_document_without_variants_is_what_it_was(shelf: Shelf) -> None:
    doc = shelf.document()
    assert (variant_names(doc), list(documents(doc)), variant_layers(doc)) == ((), [""], {})
    with pytest.raises(BuildFailed) as caught:
        variant_document(doc, "gpu")
    assert (caught.value.code, caught.value.fields) == ("no-such-variant", {"variant": "gpu", "known": "none"})


def test_the_variant_knows_its_own_packages_and_says_what_moved(shelf: Shelf) -> None:
    doc = with_gpu(shelf, shelf.document())
    gpu = variant_document(doc, "gpu")
    assert lock_of(gpu) == GPU_LOCK
    (line,) = differences(doc, gpu)
    assert "+nvidia-cublas==13.1" in line


def test_the_layer_of_a_variant_is_needed_as_long_as_its_image(shelf: Shelf) -> None:
    doc = with_gpu(shelf, shelf.document())
    gpu = {layer.diff_id for layer in outbound(variant_document(doc, "gpu"), shelf.layers, shelf.stacks).layers
           if layer.kind == "layer"}  # fmt: skip
    assert gpu <= diff_ids([doc])
    assert not gpu & diff_ids([shelf_free(doc)])


def shelf_free(doc: dict[str, Json]) -> dict[str, Json]:
    """The document without its variants."""
    return {key: value for key, value in doc.items() if key != "variants"}


def test_a_stack_upgrade_moves_both_and_leaves_the_layers_of_both(shelf: Shelf) -> None:
    doc = with_gpu(shelf, shelf.document())
    run = replace(shelf.stacks.base, reference="algo/bookworm-run:2", image_id=f"sha256:{'3' * 64}")
    stack = Stack(
        name="newer", run=run, build=None, libc="glibc 2.36", arch="amd64", distro="debian", distro_version="12",
        pythons=(StackPython(version="3.11.9", path="/usr/bin/python3.11"),),
    )  # fmt: skip
    moved = rebase(doc, stack)
    before, after = variant_document(doc, "gpu"), variant_document(moved, "gpu")
    assert after["layers"] == before["layers"]
    assert image_id(after) != image_id(before)
    assert config_of(moved)["config"]["Labels"]["algo.variant.gpu"] == image_id(after)


def test_a_second_image_that_would_start_otherwise_is_refused(shelf: Shelf) -> None:
    doc = with_gpu(shelf, shelf.document())
    refuse_other_starts(shelf.layers, doc)
    entry = shelf.seal("layer", "algo_python/deps", {"env.launch/PYTHONPATH.override": b"/elsewhere"})
    variants: dict[str, Json] = {"gpu": {**table(table(doc["variants"])["gpu"]), "layers": [entry]}}
    with pytest.raises(BuildFailed) as caught:
        refuse_other_starts(shelf.layers, {**doc, "variants": variants})
    assert (caught.value.code, caught.value.fields) == ("variant-starts-otherwise", {"variant": "gpu"})


# -- what a buildpack says of a layer


def layer(name: str, data: dict[str, Json], *, launch: bool = True) -> LayerResult:
    return LayerResult(name=name, launch=launch, build=False, cache=False, data=data, has_contents=True)


def test_a_layer_of_a_variant_lies_where_the_one_lies_that_it_stands_for() -> None:
    gpu = layer("deps-gpu", {"algo_variant": "gpu", "algo_variant_of": "deps"})
    assert (gpu.variant, gpu.image_name) == ("gpu", "deps")


@pytest.mark.parametrize(
    ("data", "launch"),
    [({}, True), ({"algo_variant": "npu", "algo_variant_of": "deps"}, True), ({"algo_variant": "gpu"}, False)],
)
def test_any_other_layer_is_one_of_the_image_that_serves(data: dict[str, Json], launch: bool) -> None:
    other = layer("x", data, launch=launch)
    assert (other.variant, other.image_name) == ("", "x")


@pytest.mark.parametrize("of", ["../../workspace", "nothing", "deps-gpu", 7, None])
def test_sec_a_variant_of_no_layer_ends_the_build(tmp_path: Path, of: Json) -> None:
    one: dict[str, Json] = {"launch": True, "build": False, "cache": False, "contents": True}
    packs: list[Json] = [
        {
            "key": "x/y", "version": "1", "api": "0.12", "store": {},
            "layers": {
                "deps": {**one, "data": {}},
                "deps-gpu": {**one, "data": {"algo_variant": "gpu", "algo_variant_of": of}},
            },
        }
    ]  # fmt: skip
    result = tmp_path / "result.json"
    ok: dict[str, Json] = {"buildpacks": packs, "processes": [], "labels": {}, "slices": []}
    result.write_text(json.dumps({"ok": ok}))
    with pytest.raises(BuildFailed) as caught:
        read_result(result, 0)
    assert caught.value.code == "lifecycle-crashed"
    assert "a variant of no layer" in str(caught.value.fields["detail"])
