"""Byte-code across builds: what one app had compiled is there for the next; an app's own attempt gives nobody any."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.image.store import LayerStore
from buildpacks.order import BuiltImage
from tests.contract.kitchen_house import Kitchen, layers

PREDICT = "def predict(x):\n    return x\n"
FIRST = {"predict.py": PREDICT, "requirements.txt": "markupsafe==3.0.2\n"}
SECOND = {"predict.py": PREDICT, "requirements.txt": "markupsafe==3.0.2\nidna==3.10\n"}


@pytest.fixture(name="kitchen", scope="module")
def _kitchen(tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    return Kitchen(state=tmp_path_factory.mktemp("state"))


@pytest.fixture(name="first", scope="module")
def _first(kitchen: Kitchen) -> BuiltImage:
    return kitchen.build(FIRST)


def kept(folder: Path) -> dict[str, int]:
    """Name and inode of each entry: one that is written again has another inode."""
    return {path.name: path.stat().st_ino for path in (folder / "bytecode").iterdir()}


def deps(built: BuiltImage) -> str:
    return layers(built)["layer", "algo_python/deps"]


def test_another_app_compiles_only_what_nobody_had(kitchen: Kitchen, first: BuiltImage) -> None:
    before = kept(kitchen.state / "cache")
    second = kitchen.build(SECOND)
    after = kept(kitchen.state / "cache")
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1, "idna, and nothing else"
    assert deps(second) != deps(first)


def test_a_layer_is_the_same_from_kept_byte_code_and_from_none(
    kitchen: Kitchen, first: BuiltImage, tmp_path: Path
) -> None:
    """As `algo image verify` looks at it: with empty caches."""
    from_kept = kitchen.build(SECOND)
    other = Kitchen(state=tmp_path / "another place")
    other.state.mkdir()
    from_none = other.build(SECOND)
    assert deps(from_kept) == deps(from_none) != deps(first)


def test_no_file_of_a_layer_is_a_file_of_the_cache(kitchen: Kitchen, first: BuiltImage) -> None:
    layer = LayerStore(root=kitchen.state).layer_path(deps(first))
    files = [path.stat() for path in layer.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {status.st_nlink for status in files} == {1}
    assert {status.st_ino for status in files}.isdisjoint(kept(kitchen.state / "cache").values())


def test_the_attempt_that_runs_code_of_strangers_has_a_cache_of_this_app_alone(
    kitchen: Kitchen, first: BuiltImage
) -> None:
    before = kept(kitchen.state / "cache")
    assert before, deps(first)
    kitchen.children.clear()
    kitchen.build({"predict.py": PREDICT, "requirements.txt": "wget==3.2\n"})
    trusted, own = kitchen.children
    shared, of_app = (kitchen.state / "cache" / place / "bytecode" for place in ("", "apps/1"))
    assert (shared in trusted.writable, of_app in trusted.writable) == (True, False)
    assert (shared in own.writable, of_app in own.writable) == (False, True)
    assert shared not in own.readable
    assert kept(kitchen.state / "cache") == before
    assert kept(kitchen.state / "cache" / "apps" / "1")
