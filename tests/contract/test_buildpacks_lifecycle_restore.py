"""What comes back from build to build: layers of each type, the store, SBOMs; and what the image says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildpacks.image.config import FORMAT
from buildpacks.image.document import parse_document
from buildpacks.image.labels import image_labels
from buildpacks.lifecycle.launch import LAUNCHER_LAYER
from buildpacks.lifecycle.sbom import SBOM_LAYER
from buildpacks.order import BuildFailed
from tests.contract.lifecycle_house import House
from tests.contract.lifecycle_platform import Platform, layers_of, names_in, process_of

STACK = {
    "reference": "base:1", "image_id": "sha256:" + "0" * 64, "manifest_digest": "sha256:" + "1" * 64,
    "diff_ids": ["sha256:" + "2" * 64], "config": {"architecture": "amd64", "os": "linux"},
}  # fmt: skip


@pytest.fixture(name="platform")
def _platform(tmp_path: Path) -> Platform:
    return Platform(tmp_path)


def said(platform: Platform) -> list[str]:
    """What the tools buildpack said of its layers."""
    return [line for line in platform.log.splitlines() if line.startswith("tools: ")]


@pytest.mark.conformance("1.6-table", "1.6-types", "1.6-contents", "1.6-store", "1.6-reuse", "1.6-sbom")
def test_a_second_build_finds_what_the_first_left_and_makes_the_same_image(platform: Platform) -> None:
    first = platform.build("demo/all")
    assert said(platform) == [
        "tools: wanted by 1", "tools: build number 1", "tools: tool made", "tools: data made",
    ]  # fmt: skip
    second = platform.build("demo/all")
    assert said(platform) == [
        "tools: wanted by 1", "tools: build number 2", "tools: tool restored", "tools: SBOM restored",
        "tools: data reused",
    ]  # fmt: skip
    assert layers_of(second) == layers_of(first)


@pytest.mark.conformance("1.6-contents")
def test_without_its_cache_a_layer_for_launch_and_cache_comes_back_not_even_by_name(platform: Platform) -> None:
    first = platform.build("demo/all")
    platform.forget_cache()
    second = platform.build("demo/all")
    assert said(platform)[2:] == ["tools: tool made", "tools: data reused"]
    assert layers_of(second) == layers_of(first)


@pytest.mark.conformance("1.6-contents")
def test_a_cache_of_another_image_than_the_last_is_not_used(platform: Platform) -> None:
    platform.build("demo/all")
    metadata = platform.root / "cache" / "layers" / "metadata.json"
    document = json.loads(metadata.read_text())
    document["buildpacks"][0]["layers"]["tool"]["sha"] = "sha256:" + "f" * 64
    metadata.write_text(json.dumps(document))
    platform.build("demo/all")
    assert "tools: tool made" in said(platform)


@pytest.mark.conformance("1.6-store")
def test_the_store_comes_back_when_every_layer_is_gone(platform: Platform) -> None:
    platform.build("demo/all")
    platform.forget_cache()
    assert platform.built is not None
    lifecycle = platform.built.config["lifecycle"]
    assert isinstance(lifecycle, dict)
    for pack in lifecycle["buildpacks"]:  # type: ignore[union-attr]  # a list of tables
        pack["layers"] = {}  # type: ignore[index, call-overload]  # as above
    platform.build("demo/all")
    assert said(platform)[1:] == ["tools: build number 2", "tools: tool made", "tools: data made"]


@pytest.mark.conformance("1.6-exec-env", "1.1-0.12")
def test_from_a_build_for_another_execution_environment_only_the_store_comes_back(platform: Platform) -> None:
    platform.build("demo/all")
    test = platform.build("demo/all", exec_env="test")
    assert said(platform)[1:] == ["tools: build number 2", "tools: tool made", "tools: data made"]
    assert platform.built is not None
    lifecycle = test.config["lifecycle"]
    assert isinstance(lifecycle, dict)
    assert lifecycle["exec-env"] == "test"
    platform.build("demo/all", exec_env="test")
    assert "tools: tool restored" in said(platform)


@pytest.mark.conformance("1.6-types")
def test_a_layer_that_is_not_declared_again_is_not_in_the_image(platform: Platform) -> None:
    house = platform.house()
    house.packs = []
    once = (
        '[ -f "$1/x.toml" ] && exit 0; mkdir "$1/x"; printf "[types]\\nlaunch = true\\ncache = true\\n" > "$1/x.toml"'
    )
    house.pack("a", build=once)
    pack = house.packs
    assert "t_a/x" in layers_of(platform.build("t/a", house=house))
    again = platform.house()
    again.packs = pack
    assert "t_a/x" not in layers_of(platform.build("t/a", house=again))


@pytest.mark.conformance("1.6-reuse")
def test_a_launch_layer_by_name_alone_is_the_previous_one_with_new_metadata(platform: Platform) -> None:
    first = platform.build("demo/all")
    platform.build("demo/all")
    second = platform.built
    assert second is not None
    assert layers_of(second)["demo_tools/data"] == layers_of(first)["demo_tools/data"]


@pytest.mark.conformance("1.6-reuse")
@pytest.mark.parametrize(
    ("types", "code"), [("launch = true", "layer-lost"), ("launch = true\\ncache = true", "layer-empty")]
)
def test_a_launch_layer_that_nobody_has_made_is_refused(platform: Platform, types: str, code: str) -> None:
    house = platform.house()
    house.packs = []
    house.pack("a", build=f'printf "[types]\\n{types}\\n" > "$1/x.toml"')
    house.ok("a")
    with pytest.raises(BuildFailed) as caught:
        platform.export(house)
    assert (caught.value.code, caught.value.fields) == (code, {"buildpack": "t/a", "layer": "x"})


def test_a_cache_that_cannot_be_read_ends_with_42(tmp_path: Path) -> None:
    house = House(tmp_path / "house")
    house.pack("a")
    cache = tmp_path / "cache"
    (cache / "metadata.json").mkdir(parents=True)
    assert house.failure("a", cache=str(cache))[:2] == (42, "restore-failed")


# -- the image


@pytest.mark.conformance("1.7-layer-order", "1.7-slices")
def test_layers_stand_in_the_order_of_the_group_then_sboms_slices_and_the_application(platform: Platform) -> None:
    platform.files |= {"static/a.css": "a", "static/deep/b.css": "b", "README.md": "r", "static.md": "s"}
    built = platform.build("demo/all")
    assert list(layers_of(built)) == [
        "demo_tools/data", "demo_tools/tool", "demo_server/server", SBOM_LAYER, LAUNCHER_LAYER, "static/*:*.md", "app",
    ]  # fmt: skip
    slices, app = (platform.store.layer_path(layers_of(built)[name]) for name in ("static/*:*.md", "app"))
    assert names_in(slices) == ["README.md", "static", "static.md", "static/a.css", "static/deep", "static/deep/b.css"]
    assert [name for name in names_in(app) if not (app / name).is_dir()] == ["plain.txt", "sub/x"]


@pytest.mark.conformance("1.6-sbom", "1.4-outputs")
def test_sboms_of_what_the_image_holds_are_in_it_by_buildpack_and_layer(platform: Platform) -> None:
    built = platform.build("demo/all")
    folder = platform.store.layer_path(layers_of(built)[SBOM_LAYER])
    files = [name for name in names_in(folder) if (folder / name).is_file()]
    assert files == ["demo_tools/sbom.cdx.json", "demo_tools/tool/sbom.cdx.json"]


@pytest.mark.conformance("1.4-metadata")
def test_metadata_toml_has_processes_sorted_their_buildpacks_and_slices(platform: Platform) -> None:
    import tomllib

    platform.files |= {"shell.txt": ""}
    built = platform.build("demo/all")
    image = platform.store.compose(built.config, built.digest)
    metadata = tomllib.loads((image / "layers" / "config" / "metadata.toml").read_text())
    assert metadata["buildpack-default-process-type"] == "web"
    assert [(p["type"], p["buildpack-id"]) for p in metadata["processes"]] == [
        ("plain", "demo/shell"), ("task", "demo/shell"), ("web", "demo/server"), ("words", "demo/shell"),
        ("worker", "demo/server"),
    ]  # fmt: skip
    assert [(p["id"], p["api"]) for p in metadata["buildpacks"]] == [
        ("demo/tools", "0.12"), ("demo/server", "0.10"), ("demo/shell", "0.8"),
    ]  # fmt: skip
    assert metadata["slices"] == [{"paths": ["static/*", "*.md"]}]
    assert process_of(built, "web")["command"] == ["serve", "always"]


@pytest.mark.conformance("1.7-labels")
def test_labels_name_what_a_rebaser_and_the_next_build_need(platform: Platform) -> None:
    built = platform.build("demo/all")
    doc = {**built.config, "stack": STACK}
    labels = image_labels(doc, parse_document(doc), "sha256:" + "3" * 64)  # type: ignore[arg-type]  # JSON
    metadata = json.loads(labels["io.buildpacks.lifecycle.metadata"])
    tools = metadata["buildpacks"][0]
    assert (tools["key"], tools["version"], tools["store"]) == ("demo/tools", "1.2.3", {"metadata": {"count": 1}})
    assert tools["layers"]["tool"] == {
        "sha": layers_of(built)["demo_tools/tool"], "data": {"key": "1"}, "build": True, "launch": True, "cache": True,
    }  # fmt: skip
    assert metadata["runImage"] == {
        "image": "base:1", "topLayer": STACK["diff_ids"][0], "reference": "base@sha256:" + "1" * 64,  # type: ignore[index]  # JSON
    }  # fmt: skip
    assert metadata["sbom"] == {"sha": layers_of(built)[SBOM_LAYER]}
    assert json.loads(labels["io.buildpacks.build.metadata"])["processes"]
    assert labels["io.buildpacks.rebasable"] == "true"
    assert labels["org.example.server"] == "0.3.0"
    assert "io.buildpacks.exec-env" not in labels


@pytest.mark.conformance("1.7-labels")
def test_an_image_for_another_environment_than_production_says_so(platform: Platform) -> None:
    house = platform.house()
    house.packs = []
    house.pack("a")
    built = platform.build("a", house=house, exec_env="test")
    doc = {**built.config, "stack": STACK}
    labels = image_labels(doc, parse_document(doc), "sha256:" + "3" * 64)  # type: ignore[arg-type]  # JSON
    assert labels["io.buildpacks.exec-env"] == "test"


@pytest.mark.conformance("1.7-reproducible")
def test_the_same_source_built_elsewhere_at_another_time_is_the_same_image(tmp_path: Path) -> None:
    images = [Platform(tmp_path / name).build("demo/all") for name in ("here", "elsewhere/deep")]
    assert images[0].digest == images[1].digest
    assert images[0].config["format"] == FORMAT
    assert len(layers_of(images[0])) == 6
