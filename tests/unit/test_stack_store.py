"""The stack store keeps images by content and names for them, complete or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.image.config import render_config
from buildpacks.image.values import CONFIG, MANIFEST
from buildpacks.order import BuildFailed
from buildpacks.stack.documents import base_config, base_manifest
from buildpacks.stack.records import parse_image, render_image
from buildpacks.stack.store import StackStore, parse_stack_name
from buildpacks.stack.values import BaseImage, BaseLayer, Stack, StackPython


def layer_of(store: StackStore, **files: str) -> BaseLayer:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    blob = store.put_blob([out.getvalue()])
    return BaseLayer(diff_id=blob.digest, blob=blob)


def image_of(store: StackStore, reference: str, *layers: BaseLayer) -> BaseImage:
    config = base_config(arch="amd64", layers=layers, env=["A=1"], labels={"l": reference}, user="1", made_by="test")
    config_blob = store.put_blob([render_config(config)], media_type=CONFIG)
    manifest = store.put_blob([base_manifest(config_blob, layers)], media_type=MANIFEST)
    return BaseImage(
        reference=reference, image_id=config_blob.digest, manifest_digest=manifest.digest, config=config, layers=layers
    )


def stack_of(name: str, run: BaseImage, build: BaseImage | None = None) -> Stack:
    return Stack(
        name=name,
        run=run,
        build=build,
        pythons=(StackPython(version="3.11.2", path="/usr/bin/python3.11"),),
        libc="glibc 2.36",
        arch="amd64",
        distro="debian",
        distro_version="12",
    )


@pytest.fixture
def store(tmp_path: Path) -> StackStore:
    return StackStore(root=tmp_path / "stacks")


def files_below(path: Path) -> list[str]:
    return sorted(str(item.relative_to(path)) for item in path.rglob("*") if item.is_file())


def test_a_stack_is_read_as_it_was_added(store: StackStore) -> None:
    shared = layer_of(store, a="1")
    stack = stack_of(
        "bookworm", image_of(store, "run", shared), image_of(store, "build", shared, layer_of(store, b="2"))
    )
    store.add(stack)
    assert store.find("bookworm") == stack
    assert parse_image(render_image(stack.run)) == stack.run


def test_a_store_that_is_not_there_yet_is_empty(store: StackStore) -> None:
    assert (store.names(), store.current(), store.find("bookworm"), store.images()) == ((), None, None, ())
    assert store.image("sha256:" + "0" * 64) is None


def test_the_first_stack_is_the_current_one_and_another_only_when_it_is_chosen(store: StackStore) -> None:
    image = image_of(store, "run", layer_of(store, a="1"))
    for name in ("first", "second"):
        store.add(stack_of(name, image))
    assert store.names() == ("first", "second")
    assert store.current_name() == "first"
    store.select("second")
    current = store.current()
    assert current is not None
    assert current.name == "second"


def test_an_unknown_stack_cannot_be_chosen_or_removed(store: StackStore) -> None:
    store.add(stack_of("first", image_of(store, "run", layer_of(store, a="1"))))
    for act in (store.select, store.remove):
        with pytest.raises(BuildFailed) as caught:
            act("second")
        assert (caught.value.code, caught.value.fields["names"]) == ("stack-unknown", ["first"])


def test_the_current_stack_is_not_removed(store: StackStore) -> None:
    store.add(stack_of("first", image_of(store, "run", layer_of(store, a="1"))))
    with pytest.raises(BuildFailed) as caught:
        store.remove("first")
    assert caught.value.code == "stack-in-use"


def test_an_image_stays_when_its_stack_is_made_anew(store: StackStore) -> None:
    old = image_of(store, "old", layer_of(store, a="1"))
    store.add(stack_of("bookworm", old))
    store.add(stack_of("bookworm", image_of(store, "new", layer_of(store, a="2"))))
    assert store.image(old.image_id) == old
    assert (store.rootfs(old) / "a").read_text() == "1"


def test_forgetting_an_image_leaves_what_others_need(store: StackStore) -> None:
    shared, alone = layer_of(store, a="shared"), layer_of(store, b="alone")
    old = image_of(store, "old", shared, alone)
    store.add(stack_of("old", image_of(store, "new", shared)))
    store.add_image(old)
    store.rootfs(old)
    freed = store.forget(old.image_id)
    assert freed > alone.blob.size_bytes
    assert store.image(old.image_id) is None
    assert not store.blob_path(alone.blob.digest).exists()
    assert store.blob_path(shared.blob.digest).exists()
    assert not (store.root / "rootfs" / old.image_id[7:]).exists()
    assert store.forget(old.image_id) == 0


def test_an_image_that_a_stack_names_is_not_forgotten(store: StackStore) -> None:
    image = image_of(store, "run", layer_of(store, a="1"))
    store.add(stack_of("first", image))
    with pytest.raises(BuildFailed) as caught:
        store.forget(image.image_id)
    assert (caught.value.code, caught.value.fields["name"]) == ("stack-in-use", "first")


def test_a_blob_with_other_bytes_than_expected_is_not_kept(store: StackStore) -> None:
    with pytest.raises(BuildFailed) as caught:
        store.put_blob([b"other"], expected="sha256:" + "0" * 64)
    assert caught.value.fields["found"] == f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    assert files_below(store.root) == []


def test_a_blob_whose_sender_fails_is_not_kept(store: StackStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise BuildFailed("stack-no-space")

    with pytest.raises(BuildFailed):
        store.put_blob(broken())
    assert files_below(store.root) == []


def test_a_stack_whose_layer_is_missing_is_not_added(store: StackStore) -> None:
    image = image_of(store, "run", layer_of(store, a="1"))
    store.blob_path(image.layers[0].blob.digest).unlink()
    with pytest.raises(BuildFailed) as caught:
        store.add(stack_of("first", image))
    assert caught.value.code == "stack-blob-missing"
    assert store.names() == ()


def test_a_record_that_cannot_be_read_is_told_with_its_path(store: StackStore) -> None:
    store.add(stack_of("first", image_of(store, "run", layer_of(store, a="1"))))
    path = store.root / "stacks/first.json"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BuildFailed) as caught:
        store.find("first")
    assert (caught.value.code, caught.value.fields["path"]) == ("stack-record-damaged", str(path))


def test_many_callers_unpack_an_image_once(store: StackStore) -> None:
    image = image_of(store, "run", layer_of(store, **{f"f{number}": "x" for number in range(300)}))
    found: list[Path] = []
    inodes: set[int] = set()

    def unpack() -> None:
        path = store.rootfs(image)
        found.append(path)
        inodes.add(path.stat().st_ino)

    threads = [threading.Thread(target=unpack) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(inodes) == 1
    assert len(list(found[0].iterdir())) == 300


def test_an_image_that_cannot_be_unpacked_leaves_nothing(store: StackStore) -> None:
    good, bad = layer_of(store, a="1"), layer_of(store, b="1")
    image = image_of(store, "run", good, replace(bad, diff_id=good.diff_id))
    with pytest.raises(BuildFailed) as caught:
        store.rootfs(image)
    assert caught.value.code == "stack-blob-damaged"
    assert list((store.root / "drafts").iterdir()) == []
    assert not (store.root / "rootfs").exists()


def test_what_a_killed_process_left_half_unpacked_is_done_again(store: StackStore) -> None:
    image = image_of(store, "run", layer_of(store, a="1"))
    left = store.root / "drafts" / f"rootfs-{image.image_id[7:]}"
    left.mkdir(parents=True)
    (left / "half").write_text("half")
    assert [path.name for path in store.rootfs(image).iterdir()] == ["a"]


def test_drafts_of_processes_that_were_killed_go_when_they_are_old(store: StackStore) -> None:
    image = image_of(store, "run", layer_of(store, a="1"))
    drafts = store.root / "drafts"
    (drafts / "old-rootfs").mkdir()
    for name in ("old-blob", "young-blob"):
        (drafts / name).write_text("half")
    for name in ("old-rootfs", "old-blob"):
        os.utime(drafts / name, (1, 1))
    store.add(stack_of("first", image))
    assert [path.name for path in drafts.iterdir()] == ["young-blob"]


@pytest.mark.parametrize("name", ["bookworm", "ubuntu-24.04", "a", "py_311"])
def test_names_of_stacks_are_file_names(name: str) -> None:
    assert parse_stack_name(name) == name


@pytest.mark.parametrize("name", ["", "../x", "A", ".hidden", "a--b", "a/b", "x" * 41, "a\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        parse_stack_name(name)
    assert caught.value.code == "stack-name-bad"
