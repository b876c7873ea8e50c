"""From document and stores to streams: what is gone is said before, what was changed before the last byte is out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.image.contents import outbound
from buildpacks.image.document import table_list
from buildpacks.image.oci import image_config, image_id
from buildpacks.image.values import LAYER_GZIP, ImageLayer
from buildpacks.order import BuildFailed
from tests.services.documents import Shelf, make_shelf


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


def layer(shelf: Shelf, kind: str) -> ImageLayer:
    image = outbound(shelf.document(), shelf.layers, shelf.stacks)
    return next(layer for layer in image.layers if layer.kind == kind)


@pytest.mark.parametrize("is_gzip", [False, True])
def test_every_layer_reads_as_the_bytes_that_it_promises(tmp_path: Path, is_gzip: bool) -> None:
    shelf = make_shelf(tmp_path, is_gzip=is_gzip)
    doc = shelf.document()
    image = outbound(doc, shelf.layers, shelf.stacks)
    assert (image.image_id, image.config) == (image_id(doc), image_config(doc))
    assert [(layer.kind, layer.title) for layer in image.layers] == [
        ("base", "algo/bookworm-run:1"),
        ("layer", "layers/algo_python/deps"),
        ("config", "layers/config"),
        ("slice", "model/iris.joblib"),
        ("app", "application"),
    ]
    for layer in image.layers:
        data = b"".join(layer.read())
        assert len(data) == layer.tar_bytes
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer.diff_id


def test_a_compressed_base_keeps_its_stored_form_and_its_length_is_counted_once(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path, is_gzip=True)
    first = layer(shelf, "base")
    assert first.stored is not None
    assert first.stored[0].media_type == LAYER_GZIP
    shutil.rmtree(shelf.layers.root / "sources")
    stored = first.stored[1]
    stored.write_bytes(bytes(stored.stat().st_size))  # whoever counted again would stumble
    assert layer(shelf, "base").tar_bytes == first.tar_bytes


def test_docker_media_types_of_a_pulled_base_become_those_of_oci(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path, is_gzip=True)
    base = shelf.stacks.base
    old = replace(base.layers[0].blob, media_type="application/vnd.docker.image.rootfs.diff.tar.gzip")
    stacks = replace(shelf.stacks, base=replace(base, layers=(replace(base.layers[0], blob=old),)))
    found = outbound(shelf.document(), shelf.layers, stacks).layers[0].stored
    assert found is not None
    assert found[0].media_type == LAYER_GZIP


def test_documents_that_did_not_count_their_layers_are_counted_now(shelf: Shelf) -> None:
    doc = shelf.document()
    expected = [layer.tar_bytes for layer in outbound(doc, shelf.layers, shelf.stacks).layers]
    for entry in table_list(doc["layers"]):
        del entry["tar_bytes"]
    assert [layer.tar_bytes for layer in outbound(doc, shelf.layers, shelf.stacks).layers] == expected


def test_a_layer_that_is_gone_is_told_before_anything_is_read(shelf: Shelf) -> None:
    doc = shelf.document()
    lost = str(table_list(doc["layers"])[1]["diff_id"])
    shutil.rmtree(shelf.layers.layer_path(lost))
    with pytest.raises(BuildFailed) as caught:
        outbound(doc, shelf.layers, shelf.stacks)
    assert (caught.value.code, caught.value.fields["layer"]) == ("layer-lost-in-store", "model/iris.joblib")


def _forget(shelf: Shelf) -> Shelf:
    base = replace(shelf.stacks.base, image_id=f"sha256:{'9' * 64}")
    return replace(shelf, stacks=replace(shelf.stacks, base=base))


def _remove(shelf: Shelf) -> Shelf:
    shelf.stacks.blob_path(shelf.stacks.base.layers[0].blob.digest).unlink()
    return shelf


def _truncate(shelf: Shelf) -> Shelf:
    shelf.stacks.blob_path(shelf.stacks.base.layers[0].blob.digest).write_bytes(b"short")
    return shelf


def _change(shelf: Shelf) -> Shelf:
    layer = replace(shelf.stacks.base.layers[0], diff_id=f"sha256:{'8' * 64}")
    return replace(shelf, stacks=replace(shelf.stacks, base=replace(shelf.stacks.base, layers=(layer,))))


@pytest.mark.parametrize("harm", [_forget, _remove, _truncate, _change])
def test_a_base_that_is_gone_or_another_is_told_before_anything_is_read(
    shelf: Shelf, harm: Callable[[Shelf], Shelf]
) -> None:
    doc = shelf.document()
    harmed = harm(shelf)
    with pytest.raises(BuildFailed) as caught:
        outbound(doc, harmed.layers, harmed.stacks)
    assert (caught.value.code, caught.value.fields) == ("stack-image-gone", {"reference": "algo/bookworm-run:1"})


def _rewrite(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"X" + path.read_bytes()[1:])


def _shorten(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1000])


def _add(path: Path) -> None:
    (path.parent / "more").write_bytes(b"")


@pytest.mark.parametrize("tamper", [_rewrite, _shorten, _add, Path.unlink])
def test_a_tampered_layer_never_comes_out_whole(shelf: Shelf, tamper: Callable[[Path], None]) -> None:
    deps = layer(shelf, "layer")
    tamper(shelf.layers.layer_path(deps.diff_id) / "lib" / "module.py")
    received: list[bytes] = []
    with pytest.raises(BuildFailed) as caught:
        received.extend(deps.read())
    assert (caught.value.code, caught.value.fields["layer"]) == ("layer-damaged", "layers/algo_python/deps")
    assert len(b"".join(received)) < deps.tar_bytes


@pytest.mark.parametrize("is_gzip", [False, True])
def test_a_base_blob_that_was_changed_never_comes_out_whole(tmp_path: Path, is_gzip: bool) -> None:
    shelf = make_shelf(tmp_path, is_gzip=is_gzip)
    base = layer(shelf, "base")
    assert base.stored is not None
    data = base.stored[1].read_bytes()
    base.stored[1].write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BuildFailed) as caught:
        list(base.read())
    assert caught.value.code == "layer-damaged"
