"""BP_GPU=also: one build makes two images that differ in one layer, the packages with builds for graphics cards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildpacks.image.compare import differences
from buildpacks.image.document import parse_layers
from buildpacks.image.oci import document_digest
from buildpacks.image.sbom import lock_of
from buildpacks.image.store import LayerStore
from buildpacks.image.variants import variant_document, variant_names
from buildpacks.order import BuiltImage
from buildpacks.packs.algo_python.resolve import pins
from tests.contract.kitchen_house import Kitchen, run_in
from tests.services.wheels import Index, serve_index, wheel

APP = {"app.py": "print('hello')\n", "Procfile": "web: python app.py\n"}
ALSO = {"BP_GPU": "also"}
TORCH = "torch==2.7.0\nfilelock\n"


@pytest.fixture(name="index", scope="module")
def _index() -> Iterator[Index]:
    with serve_index(
        wheel("torch", "2.7.0", requires=["nvidia-cublas-cu12", "filelock"], pad=90_000),
        wheel("nvidia-cublas-cu12", "12.6", pad=900_000), wheel("filelock", "3.0"), wheel("six", "1.16.0"),
        wheel("xgboost", "3.2.0", requires=["nvidia-nccl-cu12"], pad=9_000), wheel("xgboost-cpu", "3.2.0"),
        wheel("nvidia-nccl-cu12", "1.0"), wheel("nvidia-nccl-cu13", "2.0"),
        wheel("tensorflow", "2.21.0", requires=["nvidia-nccl-cu13"]),
    ) as index:  # fmt: skip
        yield index


@pytest.fixture(name="newer", scope="module")
def _newer() -> Iterator[Index]:
    """The same some weeks later: filelock had a release."""
    with serve_index(
        wheel("torch", "2.7.0", requires=["nvidia-cublas-cu12", "filelock"], pad=90_000),
        wheel("nvidia-cublas-cu12", "12.6", pad=900_000), wheel("filelock", "3.0"), wheel("filelock", "3.1"),
    ) as index:  # fmt: skip
        yield index


@pytest.fixture(name="env", scope="module")
def _env(index: Index) -> Iterator[dict[str, str]]:
    with serve_index(wheel("torch", "2.7.0+cpu", requires=["filelock"])) as processors:
        yield {**index.env, "BP_TORCH_INDEX": processors.url}


@pytest.fixture(name="kitchen")
def _kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(state=tmp_path)


def gpu_of(built: BuiltImage) -> BuiltImage:
    doc = variant_document(built.config, "gpu")
    return BuiltImage(digest=document_digest(doc), config=doc)


def packages(built: BuiltImage) -> dict[str, str]:
    return pins(lock_of(built.config))


def test_two_images_of_one_build_differ_in_the_dependency_layer_alone(kitchen: Kitchen, env: dict[str, str]) -> None:
    built = kitchen.build({**APP, "requirements.txt": TORCH}, install_env=env, platform_env=ALSO)
    gpu = gpu_of(built)
    assert packages(built) == {"torch": "2.7.0+cpu", "filelock": "3.0"}
    assert packages(gpu) == {"torch": "2.7.0", "filelock": "3.0", "nvidia-cublas-cu12": "12.6"}
    changed = differences(built.config, gpu.config)
    assert len(changed) == 1, changed
    assert changed[0].startswith("layers/algo_python/deps: sha256:")
    version = "import torch, sys; print(torch.__version__, *[p for p in sys.path if p.endswith('site-packages')])"
    first, second = run_in(kitchen, built, "-c", version).split(), run_in(kitchen, gpu, "-c", version).split()
    assert (first[0], second[0]) == ("2.7.0+cpu", "2.7.0")
    said = "\n".join(kitchen.log)
    assert "Dependencies for graphics cards: installed 3 packages (" in said
    assert "Builds for graphics cards: torch==2.7.0 and 1 CUDA library, 991 kB more" in said, said


def test_the_image_that_serves_is_the_same_one_but_for_the_name_of_its_variant(
    kitchen: Kitchen, env: dict[str, str]
) -> None:
    files = {**APP, "requirements.txt": TORCH}
    alone = kitchen.build(files, install_env=env)
    both = kitchen.build(files, install_env=env, platform_env=ALSO, previous=alone)
    assert {**both.config, "variants": 0} == {**alone.config, "variants": 0}
    assert both.digest != alone.digest, "a second image is part of what a release is called by"
    assert "Dependencies: reused, requirements.txt unchanged" in "\n".join(kitchen.log)


def test_a_later_push_makes_neither_layer_again(kitchen: Kitchen, env: dict[str, str]) -> None:
    files = {**APP, "requirements.txt": TORCH}
    first = kitchen.build(files, install_env=env, platform_env=ALSO)
    again = kitchen.build(
        {**files, "app.py": "print('bye')\n"}, install_env=env, platform_env=ALSO, previous=first
    )  # fmt: skip
    assert "Dependencies for graphics cards: reused (" in "\n".join(kitchen.log)
    assert again.config["variants"] == first.config["variants"]
    without = kitchen.build(files, install_env=env, previous=again)
    assert variant_names(without.config) == ()


def test_another_app_with_the_same_packages_gets_both_layers_without_installing(
    kitchen: Kitchen, env: dict[str, str]
) -> None:
    files = {**APP, "requirements.txt": TORCH}
    first = kitchen.build(files, install_env=env, platform_env=ALSO)
    other = kitchen.build({**files, "app.py": "print('other')\n"}, install_env=env, platform_env=ALSO)
    said = "\n".join(kitchen.log)
    assert "Dependencies: reused, this server has these versions already (" in said
    assert "Dependencies for graphics cards: reused, this server has these versions already (" in said
    found = [
        [layer.diff_id for layer in parse_layers(gpu_of(built).config) if layer.kind == "layer"]
        for built in (first, other)
    ]
    assert found[0] == found[1]


def test_the_second_lock_keeps_every_version_of_the_first(kitchen: Kitchen, env: dict[str, str], newer: Index) -> None:
    files = {**APP, "requirements.txt": TORCH}
    alone = kitchen.build(files, install_env=env)
    moved = {**env, **newer.env}
    # The address of an index is part of the question; here the same index has a newer filelock.
    moved = {**moved, "UV_DEFAULT_INDEX": env["UV_DEFAULT_INDEX"], "PIP_INDEX_URL": env["PIP_INDEX_URL"],
             "UV_EXTRA_INDEX_URL": newer.url}  # fmt: skip
    both = kitchen.build(files, install_env=moved, platform_env=ALSO, previous=alone)
    assert packages(gpu_of(both))["filelock"] == packages(both)["filelock"]


def test_a_layer_that_the_store_lost_is_made_again(kitchen: Kitchen, env: dict[str, str]) -> None:
    files = {**APP, "requirements.txt": TORCH}
    first = kitchen.build(files, install_env=env, platform_env=ALSO)
    deps = next(layer for layer in parse_layers(gpu_of(first).config) if layer.path == "algo_python/deps")
    LayerStore(root=kitchen.state).discard(deps.diff_id)
    again = kitchen.build(files, install_env=env, platform_env=ALSO, previous=first)
    assert again.digest == first.digest
    assert "Dependencies for graphics cards: installed" in "\n".join(kitchen.log)


@pytest.mark.parametrize(
    ("requirements", "reason"),
    [
        ("six\n", "none of its packages has builds of both kinds"),
        ("xgboost-cpu==3.2.0\n", "none of its packages has builds of both kinds"),
    ],
)
def test_one_image_is_said_where_there_is_nothing_to_make_a_second_of(
    kitchen: Kitchen, env: dict[str, str], requirements: str, reason: str
) -> None:
    built = kitchen.build({**APP, "requirements.txt": requirements}, install_env=env, platform_env=ALSO)
    assert variant_names(built.config) == ()
    assert f"       One image for processors and graphics cards: {reason}" in kitchen.log


def test_a_package_of_another_name_gets_its_own_name_back(kitchen: Kitchen, index: Index) -> None:
    built = kitchen.build({**APP, "requirements.txt": "xgboost\n"}, install_env=index.env, platform_env=ALSO)
    assert packages(built) == {"xgboost-cpu": "3.2.0"}
    assert packages(gpu_of(built)) == {"xgboost": "3.2.0", "nvidia-nccl-cu12": "1.0"}


def test_without_an_index_of_processor_builds_one_image_has_the_builds_for_cards(
    kitchen: Kitchen, index: Index
) -> None:
    env = {**index.env, "BP_TORCH_INDEX": "off"}
    built = kitchen.build({**APP, "requirements.txt": TORCH}, install_env=env, platform_env=ALSO)
    assert variant_names(built.config) == ()
    assert "       One image for processors and graphics cards: it has the builds of the default index" in kitchen.log


def test_a_cuda_library_for_two_versions_of_cuda_is_named_with_who_asked(kitchen: Kitchen, env: dict[str, str]) -> None:
    kitchen.build(
        {**APP, "requirements.txt": "tensorflow==2.21.0\nxgboost==3.2.0\n"}, install_env=env,
        platform_env={"BP_GPU": "1"},
    )  # fmt: skip
    assert (
        "       Warning: CUDA twice: nvidia-nccl-cu12 1.0 (for xgboost) and nvidia-nccl-cu13 2.0 (for tensorflow) are "
        "one library for two versions of CUDA"
    ) in kitchen.log


def test_a_document_says_all_of_a_variant_and_nothing_of_it_is_in_the_first_image(
    kitchen: Kitchen, env: dict[str, str]
) -> None:
    built = kitchen.build({**APP, "requirements.txt": TORCH}, install_env=env, platform_env=ALSO)
    variants: Any = built.config["variants"]
    (entry,) = variants["gpu"]["layers"]
    rest = json.dumps({key: value for key, value in built.config.items() if key != "variants"})
    assert entry["diff_id"] not in rest
    assert "nvidia" not in rest
