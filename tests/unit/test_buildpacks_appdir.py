"""BP_APP_DIR: the folder that is the app, and the folders that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.appdir import enter
from buildpacks.ground import Ground
from buildpacks.order import BigFile, BuildFailed, BuildOrder


def order_of(app: Path, folder: str) -> BuildOrder:
    big = BigFile(git_oid="0" * 40, host_path=app / "blob", size_bytes=1)
    return BuildOrder(
        app_key="1", app_dir=app, work_dir=app, cache_dir=app, wheel_dir=app, store_dir=app, previous=None,
        platform_env={"BP_APP_DIR": folder}, install_env={}, runtime_dir=app,
        big_files={"iris/model.bin": big, "iris2/model.bin": big, "model.bin": big}, timeout_s=1,
        ground=Ground(stack=None, pythons=(), platform=""),
    )  # fmt: skip


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "iris" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").symlink_to("/etc")
    return tmp_path


@pytest.mark.parametrize("folder", ["iris", "iris/", "/iris", " iris ", "./iris", "iris//", "./iris/."])
def test_the_folder_becomes_the_app_with_its_own_big_files(folder: str, app: Path) -> None:
    lines: list[str] = []
    entered = enter(order_of(app, folder), lines.append)
    assert entered.app_dir == app / "iris"
    assert list(entered.big_files) == ["model.bin"]
    assert lines == ["       The app is the folder that BP_APP_DIR names: iris"]


@pytest.mark.parametrize("folder", ["", ".", "/"])
def test_the_top_is_the_app_without_a_word(folder: str, app: Path) -> None:
    lines: list[str] = []
    order = order_of(app, folder)
    assert enter(order, lines.append) is order
    assert lines == []


@pytest.mark.parametrize("folder", ["..", "iris/../..", "gone", "elsewhere", "iris/../elsewhere", "../iris"])
def test_what_is_no_folder_of_the_repository_is_refused_with_those_that_are(folder: str, app: Path) -> None:
    with pytest.raises(BuildFailed) as refused:
        enter(order_of(app, folder), print)
    assert refused.value.code == "app-dir-missing"
    assert refused.value.fields == {"folder": folder, "found": ["iris"]}
