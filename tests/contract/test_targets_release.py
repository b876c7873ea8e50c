"""A process that is run to its end: its lines, its failure, its limits; over processes and over containers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitserver.errors import Json, Problem
from gitserver.targets.contract import Spec
from tests.contract.docker_house import DockerPlace
from tests.contract.targets_house import Place, ProcessPlace, make_settings, quiet, within


@pytest.fixture(params=["process", "docker"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    settings = make_settings(tmp_path / "state")
    made: Place = ProcessPlace(settings) if request.param == "process" else DockerPlace(settings)
    yield made
    made.close()


def one_off(place: Place, code: str, *, timeout_s: float = 30) -> Spec:
    """A release process beside a web process that would never end."""
    spec = place.store.web("r1-release", WHERE="here")
    listed = spec.image["processes"]
    assert isinstance(listed, list)
    web = listed[0]
    assert isinstance(web, dict)
    words = web["command"]
    assert isinstance(words, list)
    release: dict[str, Json] = {"type": "release", "command": [words[0], "-c", code], "args": [], "default": False}
    image: dict[str, Json] = {**spec.image, "processes": [*listed, {**release, "working-dir": ""}]}
    return replace(spec, image=image, process="release", ready_timeout_s=timeout_s)


def assert_nothing_stays(place: Place) -> None:
    assert place.target.instances() == ()
    assert list((place.store.settings.run_dir / "instances").iterdir()) == []


def test_its_lines_are_told_and_nothing_of_it_stays(place: Place) -> None:
    lines: list[str] = []
    code = (
        "import os; print('migrating', os.environ['WHERE']); open(os.path.expanduser('~/x'), 'w').close(); "
        "print('no end', end='')"
    )
    place.target.run(one_off(place, code), lines.append)
    assert lines[-2:] == ["migrating here", "no end"]
    assert_nothing_stays(place)


def test_one_that_fails_is_told_with_its_status_and_its_last_lines(place: Place) -> None:
    with pytest.raises(Problem) as refused:
        place.target.run(one_off(place, "print('my last words', flush=True); raise SystemExit(3)"), quiet)
    assert refused.value.failure.code == "release-failed"
    assert refused.value.failure.fields == {"how": "status 3"}
    assert "my last words" in refused.value.failure.log
    assert_nothing_stays(place)


def test_one_that_does_not_end_is_ended(place: Place) -> None:
    with pytest.raises(Problem) as refused:
        place.target.run(one_off(place, "import time; time.sleep(600)", timeout_s=1), quiet)
    assert refused.value.failure.code == "release-timeout"
    assert_nothing_stays(place)


def test_one_that_is_stopped_ends_at_once(place: Place) -> None:
    spec, refused = one_off(place, "import time; print('at work', flush=True); time.sleep(600)"), list[Problem]()
    at_work = threading.Event()

    def run() -> None:
        try:
            place.target.run(spec, lambda line: at_work.set() if line == "at work" else None)
        except Problem as problem:
            refused.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    assert at_work.wait(30)
    place.target.stop(spec.instance, grace_s=1)
    thread.join(30)
    assert [problem.failure.code for problem in refused] == ["release-failed"]
    assert within(5, lambda: place.target.instances() == ())
    assert_nothing_stays(place)


def test_it_leaves_an_instance_that_serves_alone(place: Place) -> None:
    web = place.store.web("r1")
    running = place.target.start(web, quiet)
    place.target.run(one_off(place, "print('beside')"), quiet)
    assert place.target.find("r1") == running
