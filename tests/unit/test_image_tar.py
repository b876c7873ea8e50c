"""A layer's tar pulled, counted and made in memory: all of them the bytes that its digest was made of."""

# Names are bytes here, and pathlib knows only text.
# ruff: noqa: PTH102, PTH211

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildpacks.image.tar import (
    BLOCK,
    Entry,
    diff_id,
    header,
    header_length,
    memory_layer,
    read_layer,
    tar_length,
    write_layer,
)
from buildpacks.order import BuildFailed

_NAMES = st.binary(min_size=1, max_size=120).filter(
    lambda name: b"/" not in name and b"\0" not in name and name[:1] != b"."
)
_SIZES = st.sampled_from([0, 1, 511, 512, 513, 10_000, 128 << 10, (128 << 10) + 1, 1 << 20, (3 << 20) + 7])


def fill(root: Path, files: Mapping[bytes, int]) -> None:
    for number, (name, size) in enumerate(files.items()):
        path = os.path.join(os.fsencode(root), name)
        if number % 5 == 4:
            os.mkdir(path)
        elif number % 5 == 3:
            os.symlink(b"to/" + name, path)
        else:
            with open(path, "wb") as file:
                file.write(b"x" * size)


@settings(max_examples=25, deadline=None)
@given(files=st.dictionaries(_NAMES, _SIZES, max_size=8), place=st.sampled_from(["workspace", "layers/a/" + "b" * 90]))
def test_length_digest_and_both_streams_agree_on_any_folder(files: Mapping[bytes, int], place: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fill(root, files)
        written = io.BytesIO()
        size_bytes = write_layer(root, place, written.write)
        digest = diff_id(root, place)
        pulled = list(read_layer(root, place))
        assert b"".join(pulled) == written.getvalue()
        assert max(len(chunk) for chunk in pulled) <= 1 << 20
        assert tar_length(root, place) == digest.tar_bytes == len(written.getvalue())
        assert digest.diff_id == f"sha256:{hashlib.sha256(written.getvalue()).hexdigest()}"
        assert digest.size_bytes == size_bytes


def test_a_folder_is_counted_without_opening_a_file(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    os.truncate(tmp_path / "weights.bin", 12 << 30)  # read, it would take a minute: it is a hole of 12 GB
    folders, pax, file, end = 1, 2, 1, 2
    plain = (folders + pax + file + end) * BLOCK + (12 << 30)
    assert tar_length(tmp_path, "workspace") == -(-plain // 10240) * 10240


@pytest.mark.parametrize(
    "entry",
    [
        Entry(name=b"a"),
        Entry(name=b"n" * 101),
        Entry(name="Grüße".encode(), size=9 << 30),
        Entry(name=b"\xff", kind=b"2", link=b"l" * 600),
        Entry(name=b"n" * 500, kind=b"5", owner=0),
    ],
)
def test_the_length_of_a_header_is_known_without_the_header(entry: Entry) -> None:
    assert header_length(entry) == len(header(entry))


def test_a_layer_in_memory_belongs_to_root(tmp_path: Path) -> None:
    data = memory_layer("layers/config", {"b": b"2", "a": b"1"})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(m.name, m.uid, m.mode) for m in tar] == [
            ("layers", 0, 0o755),
            ("layers/config", 0, 0o755),
            ("layers/config/a", 0, 0o644),
            ("layers/config/b", 0, 0o644),
        ]
    assert len(data) % 10240 == 0


def test_a_file_that_shrinks_while_it_is_read_is_no_layer(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * (3 << 20))
    chunks = read_layer(tmp_path, "workspace")
    next(chunks)
    os.truncate(tmp_path / "a", 1 << 20)
    with pytest.raises(BuildFailed) as caught:
        list(chunks)
    assert caught.value.fields["kind"] == "a file that shrinks"
