"""The docker target while its engine stops, crashes, hangs and comes back: nothing is lost, nothing floods."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitserver.errors import Problem
from tests.contract.docker_house import DockerPlace
from tests.contract.targets_house import call, make_settings, quiet, within
from tests.services.engines import TestEngine, own_engine

# The SDK leaves a socket to the garbage collector when an engine dies between two of its own requests
# (docker/transport/unixconn.py, connect); the engines of these tests do just that.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def engine() -> Iterator[TestEngine]:
    made = own_engine()
    yield made
    made.close()


@pytest.fixture
def place(engine: TestEngine, tmp_path: Path) -> Iterator[DockerPlace]:
    engine.start()
    made = DockerPlace(make_settings(tmp_path / "state"), engine)
    yield made
    engine.start()
    made.close()


def log_of(place: DockerPlace) -> str:
    return place.store.settings.app_log(1).read_text()


def test_an_engine_that_was_restarted_gets_its_instances_back(place: DockerPlace) -> None:
    spec = place.store.shim()
    running = place.target.start(spec, quiet)
    place.target.keep(spec)
    first = place.pid("r1")
    place.real.stop()
    assert within(20, lambda: place.target.find("r1") is None)
    time.sleep(3)  # the engine stays away for longer than several pauses of the keeper
    place.real.start()
    assert within(30, lambda: place.target.find("r1") == running)
    assert place.pid("r1") != first
    assert call(running.address).startswith("pid ")
    log = log_of(place)
    assert log.count("the container engine does not answer; starts again when it does") == 1
    assert log.count("starting again in") <= 2
    assert log.count("runs again") == 1
    assert len(place.containers()) == 1


def test_an_instance_serves_on_while_its_engine_is_dead(place: DockerPlace) -> None:
    spec = place.store.shim()
    running = place.target.start(spec, quiet)
    place.target.keep(spec)
    first = place.pid("r1")
    place.real.kill()
    time.sleep(1)
    assert place.target.find("r1") == running
    assert call(running.address).startswith("pid ")
    place.restart_worker()  # and a worker that starts now takes it over all the same
    assert place.target.find("r1") == running
    place.target.keep(spec)
    place.real.start()  # which ends what lived without it
    assert within(60, lambda: place.target.find("r1") is not None and place.pid("r1") != first)
    assert call(running.address).startswith("pid ")
    assert len(place.containers()) == 1


def test_stop_ends_an_instance_without_its_engine_and_clears_up_when_it_is_back(place: DockerPlace) -> None:
    place.target.start(place.store.shim(), quiet)
    pid = place.pid("r1")
    place.real.kill()
    place.target.stop("r1", grace_s=1)
    assert place.target.instances() == ()
    assert not Path(f"/proc/{pid}").exists()
    place.real.start()
    assert within(20, lambda: list(place.containers()) == [])


def test_a_start_without_an_engine_says_so_and_leaves_nothing(place: DockerPlace) -> None:
    place.real.stop()
    with pytest.raises(Problem) as caught:
        place.target.start(place.store.shim(), quiet)
    assert caught.value.failure.code == "engine-down"
    assert place.target.instances() == ()
    assert list((place.store.settings.run_dir / "instances").iterdir()) == []


def test_an_engine_that_stops_while_a_model_loads_ends_the_start(place: DockerPlace) -> None:
    problems: list[str] = []

    def begin() -> None:
        try:
            place.target.start(place.store.shim(BEFORE="time.sleep(60)"), quiet)
        except Problem as problem:
            problems.append(problem.failure.code)

    thread = threading.Thread(target=begin)
    thread.start()
    assert within(30, lambda: place.pid("r1") > 0)
    place.real.stop()
    thread.join(30)
    assert problems in (["engine-down"], ["start-crashed"])  # by which of the two ended first
    assert place.target.instances() == ()
    place.real.start()
    assert within(20, lambda: list(place.containers()) == [])


def test_an_engine_that_hangs_keeps_nobody_from_being_found(place: DockerPlace) -> None:
    running = place.target.start(place.store.shim(), quiet)
    place.real.pause()
    try:
        began = time.monotonic()
        assert place.target.find("r1") == running
        assert place.target.instances() == ("r1",)
        assert call(running.address).startswith("pid ")
        assert time.monotonic() - began < 1
    finally:
        place.real.resume()
