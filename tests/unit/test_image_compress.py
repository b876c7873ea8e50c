"""Compressed layers: the same bytes each time, made once, and not made at all where nothing would be gained."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildpacks.image.compress import compressed, find_packed
from buildpacks.image.known import KnownBlobs
from buildpacks.image.values import LAYER, LAYER_GZIP, Blob, ImageLayer
from buildpacks.order import BuildFailed

MIB = 1024 * 1024
TEXT = b"".join(b"line %d of a text that shrinks\n" % number for number in range(300_000))


def layer(data: bytes, *, chunk: int = MIB, kind: str = "layer", title: str = "deps", counter: list[int] | None = None,
          fails: bool = False) -> ImageLayer:  # fmt: skip
    def read() -> Iterator[bytes]:
        if counter is not None:
            counter.append(1)
        for start in range(0, len(data), chunk):
            yield data[start : start + chunk]
        if fails:
            raise BuildFailed("layer-damaged", layer=title, detail="changed")

    diff_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return ImageLayer(diff_id=diff_id, tar_bytes=len(data), kind=kind, title=title, read=read)


def noise(size: int) -> bytes:
    return hashlib.shake_256(b"seed").digest(size)


def test_a_compressed_layer_is_gzip_of_the_same_bytes(tmp_path: Path) -> None:
    packed = compressed(layer(TEXT), tmp_path)
    assert packed.path is not None
    data = packed.path.read_bytes()
    assert gzip.decompress(data) == TEXT
    assert packed.blob == Blob(
        digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size_bytes=len(data), media_type=LAYER_GZIP
    )
    assert packed.blob.size_bytes < len(TEXT) / 3


def test_the_bytes_do_not_depend_on_how_the_layer_was_read_or_when(tmp_path: Path) -> None:
    first = compressed(layer(TEXT, chunk=MIB), tmp_path / "one")
    second = compressed(layer(TEXT, chunk=77_777), tmp_path / "two")
    assert first.blob == second.blob


def test_a_layer_is_compressed_once(tmp_path: Path) -> None:
    reads: list[int] = []
    first = compressed(layer(TEXT, counter=reads), tmp_path)
    assert compressed(layer(TEXT, counter=reads), tmp_path) == first
    assert find_packed(layer(TEXT, counter=reads), tmp_path) == first
    assert len(reads) == 1


def test_a_layer_whose_compressed_copy_is_gone_is_compressed_again(tmp_path: Path) -> None:
    first = compressed(layer(TEXT), tmp_path)
    assert first.path is not None
    first.path.unlink()
    assert compressed(layer(TEXT), tmp_path) == first
    assert first.path.is_file()


@pytest.mark.parametrize("name", ["net.safetensors", "MODEL.GGUF", "a/b.onnx", "x.pt", "x.h5", "x.npy"])
def test_weights_stay_as_they_are_and_are_not_even_read(tmp_path: Path, name: str) -> None:
    reads: list[int] = []
    weights = layer(TEXT, kind="slice", title=name, counter=reads)
    packed = compressed(weights, tmp_path)
    assert (packed.path, packed.blob) == (None, Blob(digest=weights.diff_id, size_bytes=len(TEXT), media_type=LAYER))
    assert reads == []


def test_a_layer_that_would_not_shrink_stays_as_it_is_and_that_is_remembered(tmp_path: Path) -> None:
    reads: list[int] = []
    big = layer(noise(9 * MIB), counter=reads)
    assert compressed(big, tmp_path).path is None
    found = find_packed(big, tmp_path)
    assert found is not None
    assert (found.path, found.blob.digest) == (None, big.diff_id)
    assert len(reads) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_damaged_layer_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="layer-damaged"):
        compressed(layer(TEXT, fails=True), tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_a_base_layer_that_lies_compressed_on_disk_goes_as_it_is(tmp_path: Path) -> None:
    blob = Blob(digest=f"sha256:{'0' * 64}", size_bytes=5, media_type=LAYER_GZIP)
    plain = layer(TEXT, kind="base")
    stored = ImageLayer(
        diff_id=plain.diff_id, tar_bytes=plain.tar_bytes, kind="base", title="base", read=plain.read,
        stored=(blob, tmp_path / "blob"),
    )  # fmt: skip
    packed = find_packed(stored, tmp_path)
    assert packed is not None
    assert (packed.blob, packed.path) == (blob, tmp_path / "blob")


# -- what a registry is known to have ----------------------------------------------------------------------------------


def test_what_was_pushed_is_remembered_by_registry_and_repository(tmp_path: Path) -> None:
    known = KnownBlobs(root=tmp_path, registry="h.example:5000")
    known.add("team/app", ["sha256:b", "sha256:a"])
    known.add("team", ["sha256:c"])
    assert known.digests("team/app") == {"sha256:a", "sha256:b"}
    assert known.digests("team") == {"sha256:c"}
    assert known.elsewhere("team") == {"sha256:a": "team/app", "sha256:b": "team/app"}
    assert KnownBlobs(root=tmp_path, registry="other").elsewhere("team") == {}
    known.forget("team/app")
    assert known.digests("team/app") == frozenset()


def test_memory_of_a_repository_does_not_grow_without_end(tmp_path: Path) -> None:
    known = KnownBlobs(root=tmp_path, registry="h")
    known.add("a", [f"sha256:{number}" for number in range(4000)])
    known.add("a", [f"sha256:new-{number}" for number in range(200)])
    assert len(known.digests("a")) == 200


@pytest.mark.parametrize("name", ["../x", "a/../b", "", "A", "a+b", "/a"])
def test_a_name_that_could_lead_elsewhere_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a file"):
        KnownBlobs(root=tmp_path, registry="h").add(name, ["x"])
