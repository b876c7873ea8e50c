"""What holds for every target: ready, refused with the cause, kept, ended; over processes and over containers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitserver.errors import Problem
from gitserver.targets.instance import Folder
from tests.contract.docker_house import DockerPlace
from tests.contract.targets_house import LAST_WORDS, Place, ProcessPlace, call, make_settings, quiet, within


@pytest.fixture(params=["process", "docker"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    settings = make_settings(tmp_path / "state")
    made: Place = ProcessPlace(settings) if request.param == "process" else DockerPlace(settings)
    yield made
    made.close()


def test_a_shim_is_ready_when_it_says_so_and_answers_at_its_socket(place: Place) -> None:
    running = place.target.start(place.store.shim(), quiet)
    assert running.facts == {"load_s": 0.5, "memory_mib": 10}
    assert running.address == f"unix:{place.store.settings.run_dir}/instances/r1/s"
    assert (place.store.settings.run_dir / "instances" / "r1" / "endpoint").read_text() == running.address
    assert call(running.address).startswith("pid ")
    assert place.target.find("r1") == running
    assert place.target.instances() == ("r1",)


def test_a_web_process_is_ready_when_it_answers_on_its_port(place: Place) -> None:
    running = place.target.start(place.store.web(PROBE="6 * 7"), quiet)
    assert call(running.address) == "42"
    assert running.facts == {}


def test_a_running_instance_is_returned_as_it_is(place: Place) -> None:
    spec = place.store.shim()
    place.target.start(spec, quiet)
    first = place.pid("r1")
    place.target.start(spec, quiet)
    assert place.pid("r1") == first
    assert Path(f"/proc/{first}").exists()


def test_a_name_that_could_be_a_path_is_refused(place: Place) -> None:
    with pytest.raises(ValueError, match="not an instance's name"):
        place.target.start(replace(place.store.shim(), instance="../git"), quiet)


@pytest.mark.parametrize(
    ("code", "how"),
    [("sys.exit(3)", "status 3"), ("import os; os.kill(os.getpid(), 11)", "signal 11"), ("1 / 0", "status 1")],
)
def test_a_process_that_ends_is_refused_with_its_status_and_its_last_words(place: Place, code: str, how: str) -> None:
    problem = place.refusal(place.store.web(BEFORE=LAST_WORDS + code))
    assert problem.failure.code == "start-crashed"
    assert problem.failure.fields == {"how": how}
    assert "loading" in problem.failure.log  # an engine reads two pipes: which line comes first is not decided
    assert "[main r1] loading" in place.store.settings.app_log(1).read_text()


def test_what_a_shim_says_of_its_end_is_the_cause(place: Place) -> None:
    code = """
with open(os.environ["ALGO_TERMINATION_LOG"], "w") as file:
    json.dump({"code": "load-failed", "log": ["line 1"],
               "fields": {"type": "ValueError", "message": "no", "code": "x"}}, file)
sys.exit(3)
"""
    failure = place.refusal(place.store.shim(BEFORE=code)).failure
    assert (failure.code, failure.fields, failure.log) == (
        "load-failed", {"type": "ValueError", "message": "no"}, ("line 1",),
    )  # fmt: skip


@pytest.mark.parametrize(
    "said", ['{"code": "../x", "fields": {}}', '{"code": 1}', "[", '{"code": "a b", "fields": {}}']
)
def test_a_report_that_is_none_is_no_cause(place: Place, said: str) -> None:
    code = f"open(os.environ['ALGO_TERMINATION_LOG'], 'w').write({said!r}); sys.exit(3)"
    assert place.refusal(place.store.shim(BEFORE=code)).failure.code == "start-crashed"


def test_a_process_that_never_listens_is_refused_when_its_time_is_over(place: Place) -> None:
    spec = replace(place.store.web(BEFORE=LAST_WORDS + "import time; time.sleep(60)"), ready_timeout_s=1.5)
    failure = place.refusal(spec).failure
    assert (failure.code, failure.fields, failure.log) == ("never-listened", {"seconds": 1}, ("loading",))


def test_a_process_that_listens_elsewhere_is_told_both_ports(place: Place) -> None:
    spec = replace(place.store.web(LISTEN="5017"), ready_timeout_s=2)
    failure = place.refusal(spec).failure
    assert failure.code == "wrong-port"
    assert failure.fields["found"] == 5017
    assert failure.fields["expected"] != 5017


def test_a_shim_that_loads_for_ever_is_refused_when_its_time_is_over(place: Place) -> None:
    failure = place.refusal(replace(place.store.shim(BEFORE="time.sleep(60)"), ready_timeout_s=1)).failure
    assert (failure.code, failure.fields) == ("start-timeout", {"seconds": 1})


def test_a_process_that_takes_too_much_memory_is_told_its_limit(place: Place) -> None:
    spec = replace(place.store.shim(BEFORE="x = bytearray(400 * 2**20)"), memory_mib=96)
    failure = place.refusal(spec).failure
    assert (failure.code, failure.fields) == ("out-of-memory", {"limit_mib": 96})


def test_a_child_that_takes_too_much_memory_ends_the_start_as_well(place: Place) -> None:
    code = "import subprocess\nwhile True: subprocess.run([sys.executable, '-c', 'x = bytearray(400 * 2**20)'])"
    failure = place.refusal(replace(place.store.shim(BEFORE=code), memory_mib=96)).failure
    assert (failure.code, failure.fields) == ("out-of-memory", {"limit_mib": 96})


def test_a_crashed_instance_comes_back_at_the_same_address(place: Place) -> None:
    for spec in (place.store.shim("r1"), place.store.web("r2", PROBE="'pid %d' % os.getpid()")):
        running = place.target.start(spec, quiet)
        place.target.keep(spec)
        first = place.pid(spec.instance)
        os.kill(first, signal.SIGKILL)
        assert within(30, lambda: place.target.find(spec.instance) is not None and place.pid(spec.instance) != first)  # noqa: B023 -- used at once
        assert call(running.address).strip("'").startswith("pid ")
        assert place.target.find(spec.instance) == running
    log = place.store.settings.app_log(1).read_text()
    assert "[main r1] ended with signal 9; starting again in 0.1 s" in log
    assert "[main r1] runs again" in log


def test_pauses_grow_while_it_does_not_come_back(place: Place) -> None:
    spec = place.store.shim()
    place.target.start(spec, quiet)
    place.target.keep(spec)
    place.store.break_shim(spec)
    os.kill(place.pid("r1"), signal.SIGKILL)
    log = place.store.settings.app_log(1)
    assert within(60, lambda: "starting again in 0.8 s" in log.read_text())
    text = log.read_text()
    assert [pause for pause in ("0.1 s", "0.2 s", "0.4 s", "0.8 s") if f"starting again in {pause}" in text] == [
        "0.1 s", "0.2 s", "0.4 s", "0.8 s",
    ]  # fmt: skip
    assert text.count("starting again in 0.2 s") == 1


def test_a_stopped_instance_is_not_started_again(place: Place) -> None:
    spec = place.store.shim()
    place.target.start(spec, quiet)
    place.target.keep(spec)
    place.target.stop("r1", grace_s=2)
    time.sleep(0.6)
    assert place.target.instances() == ()
    assert list((place.store.settings.run_dir / "instances").iterdir()) == []


def test_the_log_of_an_app_grows_while_its_instance_runs(place: Place) -> None:
    place.target.start(place.store.web(), quiet)
    assert within(5, lambda: "[main r1] listening\n" in place.store.settings.app_log(1).read_text())
    assert Folder(path=place.store.settings.run_dir / "instances" / "r1").tail(1) == ("listening",)


def test_a_process_that_ignores_sigterm_ends_after_its_grace(place: Place) -> None:
    place.target.start(place.store.shim(BEFORE="signal.signal(signal.SIGTERM, signal.SIG_IGN)"), quiet)
    pid, began = place.pid("r1"), time.monotonic()
    place.target.stop("r1", grace_s=0.5)
    assert 0.5 <= time.monotonic() - began < 5
    assert not Path(f"/proc/{pid}").exists()


def test_stopping_what_is_not_there_does_nothing(place: Place) -> None:
    place.target.stop("r99", grace_s=1)


def test_a_start_that_waits_is_ended_by_stop(place: Place) -> None:
    problems: list[Problem] = []

    def begin() -> None:
        try:
            place.target.start(place.store.shim(BEFORE="time.sleep(60)"), quiet)
        except Problem as problem:
            problems.append(problem)

    thread = threading.Thread(target=begin)
    thread.start()
    assert within(10, lambda: place.target.instances() == ("r1",))
    time.sleep(0.3)
    began = time.monotonic()
    place.target.stop("r1", grace_s=5)
    thread.join(10)
    assert time.monotonic() - began < 4
    assert [problem.failure.code for problem in problems] == ["start-crashed"]
