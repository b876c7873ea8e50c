"""Images in files and folders: OCI layouts and what docker save writes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from buildpacks.image.values import INDEX, LAYER, LAYER_GZIP, MANIFEST
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.adding import add_stack
from buildpacks.stack.layout import add_layout
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import BaseImage
from buildpacks.toolchain import host_arch

ATTESTATION: dict[str, Json] = {"vnd.docker.reference.type": "attestation-manifest"}


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def one_file_layer(name: str, text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


LAYERS = (one_file_layer("a", "one"), one_file_layer("b", "two"))


def config_of(arch: str = "", layers: tuple[bytes, ...] = LAYERS) -> bytes:
    return json.dumps(
        {
            "architecture": arch or host_arch(),
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]},
        }
    ).encode()


class Layout:
    """An OCI layout that is put together by a test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes, media_type: str) -> dict[str, Json]:
        (self.root / "blobs/sha256" / sha(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": sha(data), "size": len(data)}

    def image(self, config: bytes, *, is_compressed: bool = False) -> dict[str, Json]:
        blobs = [gzip.compress(layer, mtime=0) if is_compressed else layer for layer in LAYERS]
        manifest: dict[str, Json] = {
            "schemaVersion": 2,
            "config": self.blob(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [self.blob(blob, LAYER_GZIP if is_compressed else LAYER) for blob in blobs],
        }
        return self.blob(json.dumps(manifest).encode(), MANIFEST)

    def index(self, *entries: dict[str, Json]) -> dict[str, Json]:
        return self.blob(json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode(), INDEX)

    def finish(self, *entries: dict[str, Json]) -> Path:
        (self.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(entries)}))
        return self.root


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


@pytest.fixture
def store(tmp_path: Path) -> StackStore:
    return StackStore(root=tmp_path / "stacks")


def as_tar(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        for item in sorted(folder.rglob("*")):
            tar.add(item, f"./{item.relative_to(folder)}", recursive=False)
    return path


def docker_archive(path: Path, **changes: Json) -> Path:
    entry: dict[str, Json] = {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["1/layer.tar", "2/layer.tar"]}
    files = {
        "manifest.json": json.dumps([{**entry, **changes}]).encode(),
        "c.json": config_of(),
        "1/layer.tar": LAYERS[0],
        "2/layer.tar": gzip.compress(LAYERS[1]),
    }
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def texts(store: StackStore, image: BaseImage) -> dict[str, str]:
    return {path.name: path.read_text() for path in store.rootfs(image).iterdir()}


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("is_tar", [False, True])
def test_a_layout_is_taken_in_as_it_is(layout: Layout, store: StackStore, is_tar: bool, is_compressed: bool) -> None:
    config = config_of()
    entry = layout.image(config, is_compressed=is_compressed)
    path = layout.finish(entry)
    image = add_layout(as_tar(path) if is_tar else path, store)
    assert (image.image_id, image.manifest_digest) == (sha(config), entry["digest"])
    assert [layer.diff_id for layer in image.layers] == [sha(layer) for layer in LAYERS]
    assert texts(store, image) == {"a": "one", "b": "two"}
    assert store.image(image.image_id) == image


def test_the_image_for_this_machine_is_found_in_a_nested_index_beside_others(layout: Layout, store: StackStore) -> None:
    mine, other = layout.image(config_of()), layout.image(config_of(arch="s390x"))
    attestation = layout.image(b"{}") | {"annotations": ATTESTATION}
    image = add_layout(layout.finish(layout.index(other, mine, attestation)), store)
    assert image.manifest_digest == mine["digest"]


def test_an_image_for_another_machine_is_refused_with_both_names(layout: Layout, store: StackStore) -> None:
    with pytest.raises(BuildFailed) as caught:
        add_layout(layout.finish(layout.image(config_of(arch="s390x"))), store)
    assert caught.value.code == "stack-wrong-arch"
    assert (caught.value.fields["found"], caught.value.fields["expected"]) == ("linux/s390x", f"linux/{host_arch()}")


def test_two_images_for_this_machine_are_not_guessed_from(layout: Layout, store: StackStore) -> None:
    entries = [layout.image(config_of()), layout.image(config_of() + b" ")]
    with pytest.raises(BuildFailed) as caught:
        add_layout(layout.finish(*entries), store)
    assert caught.value.code == "stack-image-several"


def test_a_blob_that_was_changed_is_refused(layout: Layout, store: StackStore) -> None:
    path = layout.finish(layout.image(config_of()))
    (path / "blobs/sha256" / sha(LAYERS[1])[7:]).write_bytes(b"changed")
    with pytest.raises(BuildFailed) as caught:
        add_layout(path, store)
    assert (caught.value.code, caught.value.fields["expected"]) == ("stack-blob-damaged", sha(LAYERS[1]))
    assert store.images() == ()


def test_a_missing_blob_is_named(layout: Layout, store: StackStore) -> None:
    path = layout.finish(layout.image(config_of()))
    (path / "blobs/sha256" / sha(LAYERS[0])[7:]).unlink()
    with pytest.raises(BuildFailed) as caught:
        add_layout(path, store)
    assert str(caught.value.fields["reason"]).endswith("is missing")


def test_an_archive_of_docker_save_keeps_the_image_id(tmp_path: Path, store: StackStore) -> None:
    image = add_layout(docker_archive(tmp_path / "saved.tar"), store)
    assert image.image_id == sha(config_of())
    assert texts(store, image) == {"a": "one", "b": "two"}


def test_layers_that_do_not_fit_the_configuration_are_refused(tmp_path: Path, store: StackStore) -> None:
    for layers in (["1/layer.tar"], ["2/layer.tar", "1/layer.tar"], ["1/layer.tar", "none"]):
        with pytest.raises(BuildFailed):
            store.rootfs(add_layout(docker_archive(tmp_path / "saved.tar", Layers=list[Json](layers)), store))


def test_a_file_that_is_no_image_is_told(tmp_path: Path, store: StackStore) -> None:
    plain, empty = tmp_path / "plain", tmp_path / "empty.tar"
    plain.write_text("text" * 600)
    tarfile.open(empty, "w").close()
    cut = tmp_path / "cut.tar"
    cut.write_bytes(docker_archive(tmp_path / "saved.tar").read_bytes()[:2000])
    for path in (plain, empty, cut, tmp_path):
        with pytest.raises(BuildFailed) as caught:
            add_layout(path, store)
        assert caught.value.code == "stack-image-bad"
    with pytest.raises(BuildFailed) as caught:
        add_layout(tmp_path / "none", store)
    assert caught.value.code == "stack-file-missing"


def test_names_in_a_folder_do_not_lead_out_of_it(tmp_path: Path, store: StackStore) -> None:
    (tmp_path / "secret").write_bytes(config_of())
    folder = tmp_path / "saved"
    folder.mkdir()
    for name in ("../secret", str(tmp_path / "secret")):
        (folder / "manifest.json").write_text(json.dumps([{"Config": name, "Layers": []}]))
        with pytest.raises(BuildFailed) as caught:
            add_layout(folder, store)
        assert caught.value.fields["reason"] == f"{name} is missing"


class NoPuller:
    """Files need no registry."""

    def pull(self, reference: str, store: StackStore) -> BaseImage:
        raise AssertionError(reference)


def test_a_stack_of_files_needs_no_registry_and_may_be_without_python(layout: Layout, store: StackStore) -> None:
    path = str(layout.finish(layout.image(config_of())))
    said: list[str] = []
    stack = add_stack("plain", run=path, build=path, store=store, puller=NoPuller(), log=said.append)
    assert (stack.pythons, stack.libc, stack.distro, stack.build) == ((), "", "", stack.run)
    assert store.current() == stack
    assert said == [f"Reading {path}"] * 2


def test_a_path_that_is_not_there_is_no_reference(store: StackStore) -> None:
    with pytest.raises(BuildFailed) as caught:
        add_stack("x", run="./none.tar", build=None, store=store, puller=NoPuller(), log=print)
    assert caught.value.code == "stack-file-missing"
