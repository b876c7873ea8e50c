"""The archive: an OCI layout and a Docker archive in one tar, read back by tarfile."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.image.archive import archive_length, archive_manifest, read_archive, write_archive
from buildpacks.image.contents import outbound
from buildpacks.image.oci import digest_of
from buildpacks.image.values import LAYER, LAYER_GZIP, ImageLayer, OutboundImage
from buildpacks.order import BuildFailed
from tests.services.documents import Shelf, make_shelf

TAG = "algo/alice-iris:0123456789ab"
# Changed bytes mean that an image that an engine has is sent to it again: change it only on purpose.
GOLDEN = "513f8fc2e97dd027f9d460ed5e8483059c1b0d3314122f6bd45639d66790001e"


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Shelf:
    return make_shelf(tmp_path)


@pytest.fixture(name="image")
def _image(shelf: Shelf) -> OutboundImage:
    return outbound(shelf.document(), shelf.layers, shelf.stacks)


def members(data: bytes) -> dict[str, bytes]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                assert member.name not in found
                found[member.name] = file.read()
    return found


def name_of(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


@pytest.mark.parametrize("is_gzip", [False, True])
def test_both_readers_find_the_whole_image(tmp_path: Path, is_gzip: bool) -> None:
    shelf = make_shelf(tmp_path, is_gzip=is_gzip)
    image = outbound(shelf.document(), shelf.layers, shelf.stacks)
    found = members(b"".join(read_archive(image, [TAG])))
    for name, data in found.items():
        if name.startswith("blobs/"):
            assert name_of(digest_of(data)) == name

    (docker,) = json.loads(found["manifest.json"])
    assert docker["RepoTags"] == [TAG]
    assert found[docker["Config"]] == image.config
    (entry,) = json.loads(found["index.json"])["manifests"]
    manifest = json.loads(found[name_of(entry["digest"])])
    assert found[name_of(entry["digest"])] == archive_manifest(image)
    assert entry["platform"] == {"architecture": "amd64", "os": "linux"}
    assert entry["annotations"] == {
        "io.containerd.image.name": f"docker.io/{TAG}", "org.opencontainers.image.ref.name": "0123456789ab",
    }  # fmt: skip
    assert json.loads(found["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}

    assert name_of(manifest["config"]["digest"]) == docker["Config"]
    assert [name_of(layer["digest"]) for layer in manifest["layers"]] == docker["Layers"]
    assert [len(found[name]) for name in docker["Layers"]] == [layer["size"] for layer in manifest["layers"]]
    kinds = [layer["mediaType"] for layer in manifest["layers"]]
    assert kinds == [LAYER_GZIP if is_gzip else LAYER, *[LAYER] * 4]
    assert [f"sha256:{hashlib.sha256(found[name]).hexdigest()}" for name in docker["Layers"][1:]] == [
        layer.diff_id for layer in image.layers[1:]
    ]


def test_a_known_image_has_a_known_archive(image: OutboundImage) -> None:
    data = b"".join(read_archive(image, [TAG, "localhost:5000/iris:v1"]))
    assert hashlib.sha256(data).hexdigest() == GOLDEN
    written = io.BytesIO()
    assert write_archive(image, [TAG, "localhost:5000/iris:v1"], written.write) == len(data)
    assert written.getvalue() == data


def test_each_tag_is_a_name_of_the_one_manifest(image: OutboundImage) -> None:
    found = members(b"".join(read_archive(image, [TAG, "localhost:5000/iris:v1"])))
    entries = json.loads(found["index.json"])["manifests"]
    assert {entry["digest"] for entry in entries} == {digest_of(archive_manifest(image))}
    assert [entry["annotations"]["io.containerd.image.name"] for entry in entries] == [
        f"docker.io/{TAG}",
        "localhost:5000/iris:v1",
    ]


def test_without_a_tag_the_manifest_has_no_name(image: OutboundImage) -> None:
    found = members(b"".join(read_archive(image, [])))
    (entry,) = json.loads(found["index.json"])["manifests"]
    assert "annotations" not in entry
    assert json.loads(found["manifest.json"])[0]["RepoTags"] == []


def test_a_tag_that_no_engine_takes_is_refused(image: OutboundImage) -> None:
    with pytest.raises(BuildFailed) as caught:
        list(read_archive(image, ["Algo/Iris:1"]))
    assert caught.value.code == "image-reference-bad"


def unreadable(layer: ImageLayer) -> ImageLayer:
    def read() -> Iterator[bytes]:
        raise AssertionError(f"{layer.title} was read")

    return replace(layer, read=read)


def test_layers_that_an_engine_has_are_named_and_never_read(image: OutboundImage) -> None:
    known = [layer.diff_id for layer in image.layers[:3]]
    image = replace(image, layers=[*map(unreadable, image.layers[:3]), *image.layers[3:]])
    left_out = members(b"".join(read_archive(image, [TAG], skip=known)))
    no_bytes = members(b"".join(read_archive(image, [TAG], empty=known)))
    assert not {name_of(digest) for digest in known} & set(left_out)
    assert [no_bytes[name_of(digest)] for digest in known] == [b"", b"", b""]
    for found in (left_out, no_bytes):
        assert json.loads(found["manifest.json"])[0]["Layers"] == [name_of(layer.diff_id) for layer in image.layers]
        assert len(found[name_of(image.layers[3].diff_id)]) == image.layers[3].tar_bytes


@pytest.mark.parametrize("is_gzip", [False, True])
def test_its_length_is_known_before_anything_is_read(tmp_path: Path, is_gzip: bool) -> None:
    shelf = make_shelf(tmp_path, is_gzip=is_gzip)
    image = outbound(shelf.document(), shelf.layers, shelf.stacks)
    known = [layer.diff_id for layer in image.layers[:2]]
    blind = replace(image, layers=[unreadable(layer) for layer in image.layers])
    for skip, empty in (([], []), (known, []), ([], known), (known[:1], known[1:])):
        data = b"".join(read_archive(image, [TAG], skip=skip, empty=empty))
        assert archive_length(blind, [TAG], skip=skip, empty=empty) == len(data)


def test_two_layers_of_the_same_bytes_are_one_blob(shelf: Shelf) -> None:
    doc = shelf.document()
    layers = doc["layers"]
    assert isinstance(layers, list)
    doc["layers"] = [*layers, layers[1]]
    image = outbound(doc, shelf.layers, shelf.stacks)
    found = members(b"".join(read_archive(image, [TAG])))  # members() refuses a second entry of a name
    names = json.loads(found["manifest.json"])[0]["Layers"]
    assert len(names) == len(set(names)) + 1


def test_a_damaged_layer_breaks_the_stream_before_its_last_chunk(shelf: Shelf, image: OutboundImage) -> None:
    file = shelf.layers.layer_path(image.layers[1].diff_id) / "lib" / "module.py"
    file.chmod(0o644)
    file.write_bytes(b"X" * file.stat().st_size)
    received: list[bytes] = []
    with pytest.raises(BuildFailed) as caught:
        received.extend(read_archive(image, [TAG]))
    assert (caught.value.code, caught.value.fields["layer"]) == ("layer-damaged", "layers/algo_python/deps")
    assert len(b"".join(received)) < archive_length(image, [TAG])


def test_a_damaged_compressed_base_is_noticed_though_it_is_never_unpacked(tmp_path: Path) -> None:
    shelf = make_shelf(tmp_path, is_gzip=True)
    image = outbound(shelf.document(), shelf.layers, shelf.stacks)
    assert image.layers[0].stored is not None
    path = image.layers[0].stored[1]
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(BuildFailed) as caught:
        list(read_archive(image, [TAG]))
    assert caught.value.code == "layer-damaged"


@pytest.mark.parametrize("factor", [0.5, 2])
def test_a_layer_of_another_length_than_was_said_is_no_archive(image: OutboundImage, factor: float) -> None:
    wrong = replace(image.layers[1], tar_bytes=int(image.layers[1].tar_bytes * factor))
    image = replace(image, layers=[image.layers[0], wrong, *image.layers[2:]])
    with pytest.raises(BuildFailed) as caught:
        list(read_archive(image, [TAG]))
    assert caught.value.code == "layer-damaged"


def test_a_large_model_is_never_in_memory(shelf: Shelf) -> None:
    doc = shelf.document()
    layers = doc["layers"]
    assert isinstance(layers, list)
    doc["layers"] = [*layers, shelf.seal("slice", "model/big.bin", {"model/big.bin": bytes(64 << 20)})]
    image = outbound(doc, shelf.layers, shelf.stacks)
    tracemalloc.start()
    try:
        written = sum(len(chunk) for chunk in read_archive(image, [TAG]))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written == archive_length(image, [TAG])
    assert peak_bytes < 8 << 20
