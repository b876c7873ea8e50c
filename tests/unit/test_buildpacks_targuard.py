"""Archives of strangers are looked through before they are read: the same bytes come out, or a reason."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildpacks.choosing import targuard
from buildpacks.choosing.targuard import TarRefused, guarded

LARGE = 1 << 30


def archive(*members: tuple[str, bytes, int], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of (name, kind, size) with zeros as data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, kind, size in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, size, "x"
            tar.addfile(info, io.BytesIO(bytes(size)) if kind == tarfile.REGTYPE else None)
    return buffer.getvalue()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@given(
    st.integers(1, 5000), st.lists(st.integers(0, 3000), max_size=6), st.sampled_from(["a", "ü" * 90, "d/" * 80 + "x"])
)
def test_a_good_archive_comes_out_as_it_went_in(chunk: int, sizes: list[int], name: str) -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        data = archive(*((f"{name}{n}", tarfile.REGTYPE, size) for n, size in enumerate(sizes)), form=form)
        assert b"".join(guarded(pieces(data, chunk), LARGE)) == data


def test_links_and_folders_have_no_data_behind_them_whatever_size_they_claim() -> None:
    data = bytearray(archive(("a", tarfile.SYMTYPE, 0), ("b", tarfile.REGTYPE, 3)))
    data[124:136] = b"00000007777\0"
    assert b"".join(guarded(pieces(bytes(data), 700), LARGE)) == data


@pytest.mark.parametrize(
    ("kind", "size", "reason"),
    [
        (b"x", b"77777777777\0", "a header of"),
        (b"L", b"00010000000\0", "a header of"),
        (b"g", b"\x80" + bytes(7) + b"\xff\xff\xff\xff", "a header of"),
        (b"S", b"00000000001\0", "sparse"),
        (b"0", b"0000000000z\0", "no number"),
    ],
)
def test_what_no_packaged_buildpack_needs_is_refused(kind: bytes, size: bytes, reason: str) -> None:
    data = bytearray(archive(("a", tarfile.REGTYPE, 1)))
    data[156:157], data[124:136] = kind, size
    with pytest.raises(TarRefused, match=reason):
        list(guarded(pieces(bytes(data), 512), LARGE))


def with_hidden(kind: bytes, head: bytes, name: bytes = b"") -> bytes:
    """A tar in which a reader sees a header that lies in the data of another file."""
    data = bytearray(archive(("a", tarfile.REGTYPE, 1), ("b", tarfile.REGTYPE, 512)))
    hidden = archive(("hidden", tarfile.DIRTYPE, 0))[:512]
    file = data[1024:1536]
    if name:
        file[: len(name) + 1] = name + b"\0"
    file[156:157] = kind
    file[148:156] = b"%06o\0 " % (sum(file) - sum(file[148:156]) + 8 * 32)
    return bytes(head + file + hidden + bytes(1024))


def pax(text: bytes, kind: bytes = b"x") -> bytes:
    """An extended header."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = kind, len(text)
    return info.tobuf(tarfile.USTAR_FORMAT) + text.ljust(512, b"\0")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_hidden(b"0", pax(b"10 size=0\n")), "given twice"),
        (with_hidden(b"0", pax(b"10 size=0\n", b"g") + pax(b"8 uid=0\n")), "given twice"),
        (with_hidden(b"\0", b"", b"folder/"), "written as a file"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 700, 10_000])
def test_what_a_reader_would_see_and_the_guard_would_not_is_refused(data: bytes, reason: str, chunk: int) -> None:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        assert "hidden" in tar.getnames()
    with pytest.raises(TarRefused, match=reason):
        list(guarded(pieces(data, chunk), LARGE))


def test_too_many_bytes_and_too_many_entries_are_a_matter_of_size() -> None:
    one = archive(("a", tarfile.REGTYPE, 0))[:512]
    for data, limit in ((one * 3, 1024), (one * (targuard.MAX_ENTRIES + 1), LARGE)):
        with pytest.raises(TarRefused) as caught:
            list(guarded(pieces(data, 1 << 20), limit))
        assert caught.value.is_size


@given(st.binary(max_size=3000), st.integers(1, 900))
def test_any_bytes_are_passed_on_or_refused(data: bytes, chunk: int) -> None:
    passed = bytearray()
    refused = ""
    try:
        for piece in guarded(pieces(data, chunk), LARGE):
            passed += piece
    except TarRefused as error:
        refused = error.reason
    assert bytes(passed) == data or refused
