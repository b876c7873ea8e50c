"""The release phase: before anything is switched, with the release's own configuration, for every release."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitserver.buildlog import BuildLog
from gitserver.errors import Problem
from gitserver.job import Job
from gitserver.ledger.records import BuildState, EnvKind
from gitserver.targets.contract import Spec
from tests.services.corridor import Corridor


@pytest.fixture
def corridor(tmp_path: Path) -> Iterator[Corridor]:
    made = Corridor(tmp_path / "state")
    made.kitchen.processes = [
        {"type": "web", "command": ["serve"], "default": True},
        {"type": "release", "command": ["migrate"], "default": False},
    ]
    yield made
    made.close()


def test_the_release_process_runs_before_the_switch_with_the_configuration(corridor: Corridor) -> None:
    seen: list[tuple[str, str, dict[str, str], str | None]] = []

    def watch(spec: Spec) -> None:
        seen.append((spec.instance, spec.process, dict(spec.env), corridor.serving()))

    corridor.target.refuse = watch
    corridor.ledger.add_config(corridor.app.id, EnvKind.PRODUCTION, {"KEY": "value"}, actor="alice", why="set")
    (build,) = corridor.carry_out(corridor.order(corridor.commit("one")))
    assert seen == [
        (f"b{build.id}-release", "release", {"KEY": "value"}, None),
        (f"b{build.id}", "", {"KEY": "value"}, None),
    ]
    assert build.state is BuildState.SUCCEEDED
    lines = corridor.log(build.id).splitlines()
    at = lines.index("-----> Release phase: running the process type 'release'")
    assert lines[at + 1] == "       release ran"


def test_a_release_process_that_fails_leaves_what_served_and_starts_nothing(corridor: Corridor) -> None:
    first = corridor.commit("one")
    (old,) = corridor.carry_out(corridor.order(first))

    def fail(spec: Spec) -> Problem | None:
        return Problem("release-failed", how="status 4", log=("no such table",)) if spec.process else None

    corridor.target.refuse = fail
    (failed,) = corridor.carry_out(corridor.order(corridor.commit("two", first)))
    assert failed.failure is not None
    assert failed.failure.code == "release-failed"
    assert (corridor.ref("refs/heads/main"), corridor.serving()) == (first, first)
    assert corridor.target.instances() == (f"b{old.id}",)
    assert "no such table" in corridor.log(failed.id)


def test_a_build_that_was_cancelled_meanwhile_runs_no_release_process(corridor: Corridor) -> None:
    ran: list[str] = []

    def watch(spec: Spec) -> None:
        ran.append(spec.process)

    corridor.target.refuse = watch
    (build,) = corridor.carry_out(corridor.order(corridor.commit("one")))
    ran.clear()
    image = corridor.ledger.image(f"sha256:{build.commit}")
    log = BuildLog(corridor.settings.build_log(build.id))
    job = Job(build=build, app=corridor.app, log=log, cancelled=threading.Event())
    job.cancelled.set()
    assert image is not None
    with pytest.raises(Problem) as stopped:
        corridor.world.run_release(job, corridor.world.environment(job), image, {})
    log.close()
    assert (stopped.value.failure.code, ran) == ("cancelled", [])


def test_an_image_without_a_release_process_says_nothing_of_one(corridor: Corridor) -> None:
    corridor.kitchen.processes = []
    (build,) = corridor.carry_out(corridor.order(corridor.commit("one")))
    assert "Release phase" not in corridor.log(build.id)
