"""A watched container: every line once over our restarts, its end told with its status, a silent engine noticed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitserver.targets.docker_watch import ContainerWatch, Ending, ReadTo, exit_status, parse_read_to
from gitserver.targets.instance import Folder
from tests.services.fake_engine import FakeEngine

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(path=tmp_path / "r1")
    made.path.mkdir()
    return made


def at(number: int) -> datetime:
    return NOW + timedelta(seconds=number)


def test_the_output_and_the_end_of_a_container_are_noted(engine: FakeEngine, folder: Folder) -> None:
    container = engine.add("c", {})
    engine.lines[container] = [(at(0), b"one"), (at(1), b"two\r")]
    engine.end(container, 3)
    watch = ContainerWatch(engine, container, folder)
    assert watch.ending(5) == Ending(status=3, was_oom=False)
    assert folder.log.read_bytes() == b"one\ntwo\n"


def test_lines_of_one_instant_come_once_each_over_a_restart_of_the_worker(engine: FakeEngine, folder: Folder) -> None:
    container = engine.add("c", {})
    lines = [(at(0), b"a"), (at(1), b"b"), (at(1), b"c"), (at(1), b"d"), (at(2), b"e")]
    for count in range(1, len(lines) + 1):
        engine.lines[container] = lines[:count]
        watch = ContainerWatch(engine, container, folder)
        deadline_at = time.monotonic() + 5
        while not folder.log.exists() or folder.log.read_bytes().count(b"\n") < count:
            assert time.monotonic() < deadline_at
            time.sleep(0.005)
        watch.close()
        time.sleep(0.02)
    assert folder.log.read_bytes() == b"a\nb\nc\nd\ne\n"


def test_a_silent_engine_holds_nobody_up_and_is_asked_again(engine: FakeEngine, folder: Folder) -> None:
    container = engine.add("c", {})
    engine.is_down = True
    watch = ContainerWatch(engine, container, folder)
    began = time.monotonic()
    assert watch.ending(30) is None
    assert time.monotonic() - began < 5
    engine.end(container, 137, was_oom=True)
    engine.is_down = False
    deadline_at = time.monotonic() + 5
    while watch.ending(0.01) is None:
        assert time.monotonic() < deadline_at
    assert watch.ending(0) == Ending(status=-9, was_oom=True)


def test_a_container_that_somebody_removed_has_ended_nobody_knows_how(engine: FakeEngine, folder: Folder) -> None:
    assert ContainerWatch(engine, "gone", folder).ending(5) == Ending(status=None, was_oom=False)


@pytest.mark.parametrize(
    ("code", "status"), [(0, 0), (1, 1), (127, 127), (128, 128), (137, -9), (139, -11), (255, 255)]
)
def test_an_exit_code_above_128_is_a_signal(code: int, status: int) -> None:
    assert exit_status(code) == status


@pytest.mark.parametrize("when", [NOW, NOW.replace(microsecond=0)])
def test_how_far_a_log_was_read_is_read_back(when: datetime) -> None:
    assert parse_read_to(str(ReadTo(at=when, count=3))) == ReadTo(at=when, count=3)


@pytest.mark.parametrize("text", ["", "x", "2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05+00:00 x"])
def test_what_is_no_mark_reads_from_the_start(text: str) -> None:
    assert parse_read_to(text) is None
