"""What one app has installed, another with the same lock need not: with the real lifecycle and the real uv."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from buildpacks.image.store import LayerStore
from buildpacks.known_layers import add_known_layers, note_layers, write_known_layers
from buildpacks.order import BuiltImage, Json
from buildpacks.result import LayerResult, PackResult
from gitserver.gc.collection import Kind
from gitserver.gc.inventory import read_inventory
from tests.contract.kitchen_house import Kitchen, layers, text

PREDICT = "def predict(x):\n    return x\n"
APP: dict[str, bytes | str] = {"predict.py": PREDICT, "requirements.txt": "toolz==1.0.0\n"}
OTHER: dict[str, bytes | str] = {"predict.py": PREDICT, "requirements.txt": "toolz==0.12.1\n"}
REUSED = "Dependencies: reused, this server has these versions already ("
HASHED = "toolz==1.0.0 \\\n    --hash=sha256:" + 64 * "1" + "\n"
KEY, OTHER_KEY = 64 * "a", 64 * "b"


@pytest.fixture(name="kitchen", scope="module")
def _kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(state=tmp_path_factory.mktemp("state"))


@pytest.fixture(name="built", scope="module")
def _built(kitchen: Kitchen) -> BuiltImage:
    return kitchen.build(APP)


def deps(built: BuiltImage) -> str:
    return layers(built)["layer", "algo_python/deps"]


def test_another_app_with_the_same_lock_installs_nothing_and_has_the_same_image(
    kitchen: Kitchen, built: BuiltImage
) -> None:  # fmt: skip
    layer = kitchen.state / "layers" / "sha256" / deps(built).removeprefix("sha256:")
    before = layer.stat().st_ino
    again = kitchen.build(APP)
    assert REUSED in text(kitchen)
    assert "installed" not in text(kitchen)
    assert again.digest == built.digest
    assert again.config == built.config
    assert layer.stat().st_ino == before


def test_an_app_that_goes_back_to_an_earlier_lock_gets_that_locks_layer(kitchen: Kitchen, built: BuiltImage) -> None:
    other = kitchen.build(OTHER, previous=built)
    assert deps(other) != deps(built)
    back = kitchen.build(APP, previous=other)
    assert REUSED in text(kitchen)
    assert back.digest == built.digest


def test_a_noted_layer_that_the_store_lost_is_installed_again(kitchen: Kitchen, built: BuiltImage) -> None:
    layer = kitchen.state / "layers" / "sha256" / deps(built).removeprefix("sha256:")
    shutil.move(layer, kitchen.state / "lost")
    again = kitchen.build(APP)
    assert "Dependencies: installed" in text(kitchen)
    assert again.digest == built.digest
    assert layer.is_dir()


def test_an_app_with_an_index_of_its_own_shares_no_layer(kitchen: Kitchen, built: BuiltImage) -> None:
    again = kitchen.build(APP, platform_env={"BP_NETRC": "machine example.org login nobody password nothing"})
    assert "Dependencies: installed" in text(kitchen)
    assert again.digest == built.digest


def test_the_collector_takes_a_note_with_its_layer(kitchen: Kitchen, built: BuiltImage) -> None:
    notes = [
        found for found in read_inventory(kitchen.state) if found.kind is Kind.NOTE and found.serves == deps(built)
    ]  # fmt: skip
    assert [found.path.parent.name for found in notes if found.path is not None] == ["by-key"]


# What a process says, without any process ----------------------------------------------------------------------------
def pack(key: str, *, contents: bool, lock: str = HASHED, name: str = "algo/python") -> PackResult:
    data: dict[str, Json] = {"key": key, "lock": lock}
    layer = LayerResult(name="deps", launch=True, build=False, cache=False, data=data, has_contents=contents)
    return PackResult(key=name, version="1", api="0.12", store={}, layers=(layer,))


def noted(root: Path, *, shares: bool = True, lock: str = HASHED, name: str = "algo/python") -> LayerStore:
    """A store with one sealed layer, after a build that made it."""
    store = LayerStore(root=root / "store")
    source = root / "made"
    source.mkdir()
    (source / "file").write_text("twelve bytes")
    digest = store.seal(source, "layers/algo_python/deps")
    made = pack(KEY, contents=True, lock=lock, name=name)
    note_layers(store, [made], {(name, "deps"): digest}, shares=shares)
    return store


def told(store: LayerStore, folder: Path) -> str:
    write_known_layers(store, folder)
    file = folder / "known-layers.json"
    return file.read_text() if file.exists() else "{}"


def test_a_build_is_told_the_sizes_of_layers_that_are_there(tmp_path: Path) -> None:
    assert told(noted(tmp_path), tmp_path) == f'{{"{KEY}": 12}}'


@pytest.mark.parametrize(
    ("shares", "lock", "name"),
    [
        (False, HASHED, "algo/python"),
        (True, "./vendored\n", "algo/python"),
        (True, "toolz==1.0.0\n", "algo/python"),
        (True, HASHED, "algo/node"),
    ],
)
def test_nothing_is_noted_that_the_lock_alone_does_not_decide(
    tmp_path: Path, shares: bool, lock: str, name: str
) -> None:  # fmt: skip
    assert told(noted(tmp_path, shares=shares, lock=lock, name=name), tmp_path) == "{}"


def test_sec_a_build_that_ran_code_of_a_repository_names_no_layer_of_others(tmp_path: Path) -> None:
    store = noted(tmp_path)
    packs = [pack(KEY, contents=False)]
    assert ("algo/python", "deps") in add_known_layers(store, packs, {}, shares=True)
    assert add_known_layers(store, packs, {}, shares=False) == {}


def test_a_layer_left_out_for_another_key_is_never_the_previous_one(tmp_path: Path) -> None:
    store = noted(tmp_path)
    place = "algo/python", "deps"
    old: dict[str, Json] = {"sha": "sha256:" + 64 * "0", "data": {"key": OTHER_KEY}}
    same = add_known_layers(store, [pack(OTHER_KEY, contents=False)], {place: old}, shares=True)
    assert same[place] == old
    known = add_known_layers(store, [pack(KEY, contents=False)], {place: old}, shares=True)
    assert known[place]["size_bytes"] == 12
    unknown = add_known_layers(store, [pack(64 * "c", contents=False)], {place: old}, shares=True)
    assert place not in unknown


def test_a_note_that_says_no_digest_is_no_note(tmp_path: Path) -> None:
    store = noted(tmp_path)
    (store.root / "layers" / "by-key" / KEY).write_text("../../etc 1 1\n")
    assert told(store, tmp_path) == "{}"
    assert add_known_layers(store, [pack(KEY, contents=False)], {}, shares=True) == {}
