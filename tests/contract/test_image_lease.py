"""What a build takes up from the store is young again, so that a collection leaves it alone."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from buildpacks.image.lease import collecting, renew
from buildpacks.image.store import LayerStore
from buildpacks.image.tar import Digest
from buildpacks.order import BigFile, Json

LONG_AGO = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(root=tmp_path / "state")


def seal(store: LayerStore, name: str) -> Digest:
    folder = store.root.parent / name
    folder.mkdir(parents=True)
    (folder / "a").write_text("the same")
    return store.seal(folder, "layers/x/y")


def age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def test_a_layer_that_is_made_a_second_time_is_young_again(store: LayerStore) -> None:
    sealed = seal(store, "first")
    path = store.layer_path(sealed.diff_id)
    assert age_s(path) < 60
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert seal(store, "second") == sealed
    assert age_s(path) < 60


def test_a_layer_that_a_build_finds_is_young_again(store: LayerStore) -> None:
    path = store.layer_path(seal(store, "first").diff_id)
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert store.has_layer(f"sha256:{path.name}")
    assert age_s(path) < 60
    assert not store.has_layer("sha256:" + "0" * 64)


def test_a_model_file_that_is_known_makes_its_layer_young_again(store: LayerStore, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"weights")
    big = BigFile(git_oid="1" * 40, host_path=blob, size_bytes=7)
    path = store.layer_path(store.seal_blob(big, "model/m.bin").diff_id)
    os.utime(path, (LONG_AGO, LONG_AGO))
    store.seal_blob(big, "model/m.bin")
    assert age_s(path) < 60


def test_nobody_renews_while_the_collector_has_its_hand_on_a_layer(store: LayerStore) -> None:
    path = store.layer_path(seal(store, "first").diff_id)
    found: list[bool] = []
    with collecting(store.root):
        build = threading.Thread(target=lambda: found.append(renew(store.root, path)))
        build.start()
        build.join(0.2)
        assert found == []
        path.rename(store.root / "taken")
    build.join(10)
    assert found == [False]


def test_a_view_that_a_start_uses_is_young_again(store: LayerStore, tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\n")
    sealed = store.seal(folder, "layers/algo_python/deps")
    layer: dict[str, Json] = {"diff_id": sealed.diff_id, "kind": "layer", "path": "algo_python/deps"}
    config: dict[str, Json] = {"layers": [layer], "processes": [], "buildpacks": []}
    python = Path(sys.executable)
    store.compose(config, "sha256:" + "1" * 64, python)
    view = store.view_path(sealed.diff_id)
    os.utime(view, (LONG_AGO, LONG_AGO))
    store.compose(config, "sha256:" + "2" * 64, python)
    assert age_s(view) < 60
