"""Layers as tar: the same bytes every time, and bytes that tarfile reads back as they were meant."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from buildpacks.image.tar import MTIME_S, diff_id, write_layer
from buildpacks.order import BuildFailed


def archive(root: Path, image_path: str = "workspace") -> tuple[bytes, tarfile.TarFile]:
    buffer = io.BytesIO()
    write_layer(root, image_path, buffer.write)
    return buffer.getvalue(), tarfile.open(fileobj=io.BytesIO(buffer.getvalue()))


def test_tarfile_reads_back_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "run.sh").write_bytes(b"#!x")
    (tmp_path / "sub" / "run.sh").chmod(0o700)
    (tmp_path / "a").write_bytes(b"1" * 1000)
    (tmp_path / "link").symlink_to("a")
    _, tar = archive(tmp_path, "layers/p/x")
    found = [(m.name, m.type, m.mode, m.uid, m.mtime, m.size, m.linkname) for m in tar.getmembers()]
    assert found == [
        ("layers", tarfile.DIRTYPE, 0o755, 0, MTIME_S, 0, ""),
        ("layers/p", tarfile.DIRTYPE, 0o755, 0, MTIME_S, 0, ""),
        ("layers/p/x", tarfile.DIRTYPE, 0o755, 1000, MTIME_S, 0, ""),
        ("layers/p/x/a", tarfile.REGTYPE, 0o644, 1000, MTIME_S, 1000, ""),
        ("layers/p/x/link", tarfile.SYMTYPE, 0o777, 1000, MTIME_S, 0, "a"),
        ("layers/p/x/sub", tarfile.DIRTYPE, 0o755, 1000, MTIME_S, 0, ""),
        ("layers/p/x/sub/run.sh", tarfile.REGTYPE, 0o755, 1000, MTIME_S, 3, ""),
    ]
    member = tar.extractfile("layers/p/x/a")
    assert member is not None
    assert member.read() == b"1" * 1000


@pytest.mark.parametrize("name", ["n" * 180, "Grüße", "deep/" + "d" * 120 + "/f", "x" * 95])
def test_long_and_foreign_names_survive(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content")
    _, tar = archive(tmp_path)
    member = tar.extractfile(f"workspace/{name}")
    assert member is not None
    assert member.read() == b"content"


def test_long_link_targets_survive(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("t" * 150)
    assert archive(tmp_path)[1].getmember("workspace/link").linkname == "t" * 150


def test_a_name_that_is_no_text_survives(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff", "wb") as file:
        file.write(b"x")
    assert [os.fsencode(m.name) for m in archive(tmp_path)[1].getmembers()][-1] == b"workspace/\xff"


def test_times_links_and_owners_do_not_change_a_byte(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (one / "a").write_bytes(b"same")
    (one / "b").write_bytes(b"same")
    (two / "b").write_bytes(b"same")
    (two / "a").hardlink_to(two / "b")
    os.utime(two / "a", (1, 1))
    (two / "a").chmod(0o600)
    assert archive(one)[0] == archive(two)[0]
    assert diff_id(one, "workspace") == diff_id(two, "workspace")


def test_the_place_in_the_image_is_part_of_the_digest(tmp_path: Path) -> None:
    assert diff_id(tmp_path, "layers/a").diff_id != diff_id(tmp_path, "layers/b").diff_id


def test_a_known_folder_has_a_known_digest(tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_bytes(b"def predict(x):\n    return x\n")
    assert diff_id(tmp_path, "workspace").diff_id == GOLDEN


GOLDEN = "sha256:645568fef669b50c727f0325d35abf0304c30cc51fbd5528f0ed58c874cccd38"


@pytest.mark.parametrize(("kind", "words"), [("pipe", "a pipe"), ("setuid", "a setuid file")])
def test_special_files_are_refused_with_their_path(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "sub" / "odd"
    path.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
        path.chmod(0o4755)
    with pytest.raises(BuildFailed) as caught:
        diff_id(tmp_path, "workspace")
    assert (caught.value.code, caught.value.fields) == ("layer-refused", {"path": "sub/odd", "kind": words})
