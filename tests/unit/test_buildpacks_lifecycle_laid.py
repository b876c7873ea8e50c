"""Buildpacks that an app brings: how they may be called, and where they lie while they build."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.choosing.bring import Chosen
from buildpacks.choosing.laying import lay_out
from buildpacks.choosing.packs import inspect
from buildpacks.choosing.values import Source, SourceKind, Terms
from buildpacks.order import BuildFailed

SOURCE = Source(kind=SourceKind.FOLDER, text="./pack", location="pack", ref="", asked_by="project.toml")


def make_pack(folder: Path, pack_id: str = "team/x", version: str = "1.2.3") -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "build").write_text("")
    (folder / "buildpack.toml").write_text(
        f'api = "0.10"\n[buildpack]\nid = "{pack_id}"\nversion = "{version}"\n', encoding="utf-8"
    )
    return folder


@pytest.mark.conformance("1.2-stored")
def test_a_buildpack_that_an_app_brings_lies_in_a_folder_of_its_id_and_version(tmp_path: Path) -> None:
    packs = tuple(inspect(make_pack(tmp_path / version, version=version), SOURCE) for version in ("1.2.3", "2.0.0"))
    (tmp_path / "attempt").mkdir()
    chosen = Chosen(groups=((("team/x", "1.2.3", False),),), packs=packs, document={})
    laid = lay_out(chosen, tmp_path / "attempt", Terms())
    below = [path.relative_to(laid.folder) for path in laid.directories]
    assert below == [Path("buildpacks/team_x/1.2.3"), Path("buildpacks/team_x/2.0.0")]
    assert all((path / "bin" / "build").is_file() for path in laid.directories)


@pytest.mark.conformance("1.2-id")
@pytest.mark.parametrize(
    ("pack_id", "version"), [("team/x", "1.2.3-rc.1"), ("team/x", "1"), ("config", "1.0.0"), ("a/../b", "1.0.0")]
)
def test_one_rule_of_names_holds_for_what_is_fetched_too(tmp_path: Path, pack_id: str, version: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        inspect(make_pack(tmp_path / "pack", pack_id, version), SOURCE)
    assert caught.value.code == "buildpack-id-bad"
    assert f"{pack_id}@{version}" in str(caught.value.fields["found"])


@pytest.mark.conformance("1.9-extensions")
def test_an_image_extension_is_refused_as_one(tmp_path: Path) -> None:
    (tmp_path / "extension.toml").write_text('api = "0.10"\n[extension]\nid = "a/b"\nversion = "1.0.0"\n')
    with pytest.raises(BuildFailed) as caught:
        inspect(tmp_path, SOURCE)
    assert (caught.value.code, caught.value.fields["buildpack"]) == ("buildpack-extension", "./pack")
