"""Layers become a folder, whatever stands in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildpacks.image.values import LAYER, LAYER_GZIP, LAYER_ZSTD
from buildpacks.order import BuildFailed
from buildpacks.stack.reading import read_blob
from buildpacks.stack.unpack import resolve, unpack_layer


class Member(tarfile.TarInfo):
    """An entry with its contents."""

    contents = b""


def file(name: str, text: str = "", *, mode: int = 0o644) -> Member:
    info = Member(name)
    info.mode, info.size, info.contents = mode, len(text), text.encode()
    return info


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def folder(name: str, kind: bytes = tarfile.DIRTYPE, mode: int = 0o700) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    return info


def tar_of(*infos: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(info.contents if isinstance(info, Member) else b""))
    return out.getvalue()


def lay(root: Path, *infos: tarfile.TarInfo) -> None:
    data = tar_of(*infos)
    unpack_layer(pieces(data), f"sha256:{hashlib.sha256(data).hexdigest()}", root)


def pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "rootfs"
    path.mkdir()
    return path


def test_files_are_readable_for_everyone_and_setuid_is_gone(root: Path) -> None:
    lay(root, folder("secret"), file("secret/su", "x", mode=0o4711), file("secret/plain", "x", mode=0o600))
    assert stat.S_IMODE((root / "secret").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "secret/su").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "secret/plain").stat().st_mode) == 0o644


def test_folders_that_a_layer_leaves_out_are_made(root: Path) -> None:
    lay(root, file("usr/lib/deep/file", "text"))
    assert (root / "usr/lib/deep/file").read_text() == "text"
    assert stat.S_IMODE((root / "usr/lib").stat().st_mode) == 0o755


def test_devices_and_pipes_are_left_out(root: Path) -> None:
    lay(root, folder("null", tarfile.CHRTYPE), folder("pipe", tarfile.FIFOTYPE), file("here"))
    assert [path.name for path in root.iterdir()] == ["here"]


def test_a_whiteout_hides_what_lower_layers_brought(root: Path) -> None:
    lay(root, file("etc/old", "old"), file("opt/tool/bin", "x"), file("etc/stays"))
    lay(root, file("etc/.wh.old"), file("opt/.wh.tool"))
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["etc", "etc/stays", "opt"]


def test_an_opaque_mark_hides_lower_layers_and_not_its_own(root: Path) -> None:
    lay(root, file("etc/old"), file("etc/sub/old"))
    lay(root, file("etc/new"), file("etc/sub/new"), file("etc/.wh..wh..opq"))
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == ["new", "new"]


def test_a_whiteout_cannot_name_the_folder_above(root: Path) -> None:
    lay(root, file("etc/stays"))
    lay(root, file("etc/.wh..."), file("etc/.wh.."))
    assert (root / "etc/stays").exists()


def test_a_later_layer_replaces_a_folder_by_a_file_and_a_file_by_a_folder(root: Path) -> None:
    lay(root, file("a/inner"), file("b"))
    lay(root, file("a", "file"), folder("b"), file("b/inner", "inner"))
    assert ((root / "a").read_text(), (root / "b/inner").read_text()) == ("file", "inner")


@pytest.mark.parametrize("target", ["/outside", "../../outside", "../outside"])
def test_a_link_that_leads_out_leads_nowhere_else_than_a_container_would_go(root: Path, target: str) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    lay(root, link("escape", target), file("escape/file", "here"))
    assert list(outside.iterdir()) == []
    assert (root / "outside/file").read_text() == "here"


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/../out"])
def test_a_path_that_leaves_the_image_is_refused(root: Path, name: str) -> None:
    with pytest.raises(BuildFailed) as caught:
        lay(root, file(name))
    assert (caught.value.code, caught.value.fields["reason"]) == ("stack-layer-refused", "it leaves the image")


def test_a_hard_link_reaches_files_of_the_image_only(root: Path) -> None:
    secret = root.parent / "secret"
    secret.write_text("secret")
    lay(root, file("real", "text"), link("same", "real", tarfile.LNKTYPE))
    assert (root / "same").read_text() == "text"
    for target in ("../secret", "/secret", str(secret), "nothing"):
        with pytest.raises(BuildFailed) as caught:
            lay(root, link("stolen", target, tarfile.LNKTYPE))
        assert caught.value.code == "stack-layer-refused"


def test_writing_over_a_link_replaces_the_link(root: Path) -> None:
    victim = root.parent / "victim"
    victim.write_text("safe")
    lay(root, link("file", str(victim)), file("file", "mine"))
    assert (victim.read_text(), (root / "file").read_text()) == ("safe", "mine")


def test_links_in_circles_are_refused(root: Path) -> None:
    lay(root, link("a", "b"), link("b", "a"))
    with pytest.raises(BuildFailed) as caught:
        lay(root, file("a/file"))
    assert caught.value.fields["reason"] == "its links go in circles"


def test_a_file_where_a_folder_is_wanted_is_refused(root: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        lay(root, file("a"), file("a/b/c"))
    assert caught.value.code == "stack-layer-refused"


def test_bytes_that_are_not_those_of_the_diff_id_are_noticed(root: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        unpack_layer(iter([tar_of(file("a"))]), "sha256:" + "0" * 64, root)
    assert caught.value.code == "stack-blob-damaged"


def test_a_tar_that_is_cut_off_is_noticed(root: Path) -> None:
    data = tar_of(file("a", "x" * 5000))
    with pytest.raises(BuildFailed) as caught:
        unpack_layer(iter([data[:3000]]), f"sha256:{hashlib.sha256(data).hexdigest()}", root)
    assert caught.value.code == "stack-blob-damaged"


def test_a_link_is_resolved_as_a_container_would(root: Path) -> None:
    lay(root, folder("usr/lib"), link("lib", "/usr/lib"), link("usr/up", "../../.."), file("usr/lib/x"))
    assert resolve(root, "lib/x") == root / "usr/lib/x"
    assert resolve(root, "/usr/up/lib/x") == root / "usr/lib/x"
    assert resolve(root, "..") == root


def test_a_blob_of_several_gzip_members_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(gzip.compress(b"one" * 400_000) + gzip.compress(b"two") + gzip.compress(b""))
    assert b"".join(read_blob(path, LAYER_GZIP)) == b"one" * 400_000 + b"two"
    path.write_bytes(b"plain")
    assert b"".join(read_blob(path, LAYER)) == b"plain"


@pytest.mark.parametrize("keep", [-4, 12, 1000])
def test_a_gzip_blob_that_is_cut_off_is_noticed(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "blob"
    path.write_bytes(gzip.compress(bytes(range(256)) * 4096)[:keep])
    with pytest.raises(BuildFailed) as caught:
        list(read_blob(path, LAYER_GZIP))
    assert caught.value.code == "stack-blob-damaged"


def test_a_zstd_blob_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        list(read_blob(tmp_path / "blob", LAYER_ZSTD))
    assert caught.value.code == "stack-layer-zstd"
