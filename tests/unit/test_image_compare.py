"""Two builds of one commit: what differs is named, and nothing else."""

from __future__ import annotations

from buildpacks.image.compare import base_moved, differences
from buildpacks.order import Json


def document(deps: str, app: str, *, lock: str = "numpy==1.26.4\n", **more: Json) -> dict[str, Json]:
    return {
        "layers": [
            {"diff_id": f"sha256:{deps * 64}", "kind": "layer", "path": "algo_python/deps"},
            {"diff_id": f"sha256:{app * 64}", "kind": "app", "path": ""},
        ],
        "lifecycle": {"buildpacks": [{"key": "algo/python", "layers": {"deps": {"data": {"lock": lock}}}}]},
        "processes": [], **more,
    }  # fmt: skip


def test_the_same_image_has_no_differences() -> None:
    assert differences(document("a", "b"), document("a", "b")) == []


def test_a_layer_that_differs_is_named_with_both_digests() -> None:
    assert differences(document("a", "b"), document("a", "c")) == [
        "application: sha256:bbbbbbbbbbbb is sha256:cccccccccccc"
    ]


def test_packages_that_moved_are_named() -> None:
    (told,) = differences(document("a", "b"), document("c", "b", lock="numpy==2.0.0\n"))
    assert told.endswith("(packages: -numpy==1.26.4, +numpy==2.0.0)")


def test_a_layer_on_one_side_alone_is_told() -> None:
    first, second = document("a", "b"), document("a", "b")
    layers = second["layers"]
    assert isinstance(layers, list)
    layers.append({"diff_id": "sha256:" + "d" * 64, "kind": "slice", "path": "model/iris.joblib"})
    assert differences(first, second) == ["model/iris.joblib is in the second build alone"]
    assert differences(second, first) == ["model/iris.joblib is not in the second build"]


def test_a_configuration_that_differs_is_told() -> None:
    found = differences(document("a", "b", launch={"argv": ["a"]}), document("a", "b", launch={"argv": ["b"]}))
    assert found == ["launch of the configuration"]


def test_another_base_is_no_difference_of_the_layers() -> None:
    first, second = (document("a", "b", stack={"image_id": name}) for name in ("x", "y"))
    assert differences(first, second) == []
    assert base_moved(first, second)
    assert not base_moved(first, first)
