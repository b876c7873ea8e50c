"""What `algo gc`, `algo image save` and `algo stack upgrade` print and leave on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gitserver.cli import gc, images, stack_upgrade
from gitserver.cli.output import megabytes
from gitserver.errors import Json, Problem


def report(**changes: Json) -> dict[str, Json]:
    done: dict[str, Json] = {
        "dry_run": False, "images": [], "gone": [{"what": "layer", "name": "0123456789ab"}],
        "counts": {"layer": 2, "draft": 1}, "freed_bytes": 213_400_000, "engine_bytes": 0, "kept": [],
    }  # fmt: skip
    return {"collection": 1, "running": False, "trouble": "", "report": {**done, **changes}}


def test_a_collection_names_what_went_and_counts_it(capsys: pytest.CaptureFixture[str]) -> None:
    gc._tell(report())
    assert capsys.readouterr().out == (
        "layer             0123456789ab\nTook away 2 layers, 1 draft: 213.4 MB on the disk.\n"
    )


def test_a_dry_run_says_would(capsys: pytest.CaptureFixture[str]) -> None:
    gc._tell(report(dry_run=True, engine_bytes=5_000_000))
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "Would take away 2 layers, 1 draft: 213.4 MB on the disk, 5.0 MB in the engine."


def test_an_empty_collection_says_so_and_what_stays_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    gc._tell(report(gone=[], counts={}, freed_bytes=0, kept=["layer 0123: A build took it."]))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == (
        "Nothing to take away.\n",
        " !     Stays: layer 0123: A build took it.\n",
    )


def test_a_collection_whose_worker_went_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    gc._tell({"collection": 0, "running": False, "trouble": "", "report": None})
    assert "ended early: the server's worker was started again" in capsys.readouterr().err


def test_a_saved_image_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "iris.tar"

    def pieces() -> Iterator[bytes]:
        yield b"first"
        assert not target.exists()
        yield b"second"

    assert images._write(target, pieces()) == len(b"firstsecond")
    assert target.read_bytes() == b"firstsecond"
    assert list(tmp_path.iterdir()) == [target]


def test_an_image_that_breaks_off_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "iris.tar"
    target.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise Problem("server-unreachable", url="http://x", detail="cut")

    with pytest.raises(Problem, match="server-unreachable"):
        images._write(target, pieces())
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot-write"):
        images._write(tmp_path / "no" / "iris.tar", iter([b"x"]))


def move(**changes: Json) -> dict[str, Json]:
    done: dict[str, Json] = {
        "app": "alice/iris", "environment": "production", "build": 3, "state": "succeeded", "stack": "new",
        "reason": "", "next": "",
    }  # fmt: skip
    return {**done, **changes}


@pytest.mark.parametrize(
    ("changes", "out"),
    [
        ({}, "alice/iris production: serves on new\n"),
        ({"state": "there"}, "alice/iris production: is on new already\n"),
        ({"state": "failed"}, "alice/iris production: stays where it was (failed)\n"),
        ({"state": "refused"}, "alice/iris production: stays where it was (refused)\n"),
    ],
)
def test_each_move_is_one_line(changes: dict[str, Json], out: str, capsys: pytest.CaptureFixture[str]) -> None:
    stack_upgrade._tell(move(**changes))
    assert capsys.readouterr().out == out


def test_a_move_that_failed_says_why_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    stack_upgrade._tell(move(state="failed", reason="It broke.", next="mend it"))
    assert capsys.readouterr().err == " !     It broke.\n !     Next: mend it\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 kB"), (4100, "4.1 kB"), (99_999, "100.0 kB"), (213_000_000, "213.0 MB"), (None, "0.0 kB")],
)
def test_sizes_are_written_for_people(size: Json, text: str) -> None:
    assert megabytes(size) == text
