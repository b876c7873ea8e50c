"""The process target with real processes: ready, refused with the cause, kept, adopted, ended to the last child."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitserver.errors import Problem
from gitserver.targets.contract import Spec
from gitserver.targets.process import ProcessTarget
from tests.contract.targets_house import ROOT, Store, call, end, make_settings, within

LAST_WORDS = "import sys; print('loading'); sys.stdout.flush(); "


def quiet(_line: str) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(make_settings(tmp_path / "state"))


@pytest.fixture
def target(store: Store) -> Iterator[ProcessTarget]:
    made = ProcessTarget(store.settings, warm=False)
    yield made
    end(made)


def refusal(target: ProcessTarget, spec: Spec) -> Problem:
    """Why it did not start; nothing of the attempt stays behind."""
    with pytest.raises(Problem) as caught:
        target.start(spec, quiet)
    assert target.instances() == ()
    assert list((target._settings.run_dir / "instances").iterdir()) == []
    return caught.value


def pid_of(address: str) -> int:
    return int(call(address).strip("'").removeprefix("pid "))


# -- ready -----------------------------------------------------------------------------------------------------------


def test_a_shim_is_ready_when_it_says_so_and_answers_at_its_socket(target: ProcessTarget, store: Store) -> None:
    running = target.start(store.shim(), quiet)
    assert running.facts == {"load_s": 0.5, "memory_mib": 10}
    assert running.address == f"unix:{store.settings.run_dir}/instances/r1/s"
    assert (store.settings.run_dir / "instances" / "r1" / "endpoint").read_text() == running.address
    assert call(running.address).startswith("pid ")
    assert target.find("r1") == running
    assert target.instances() == ("r1",)


def test_a_web_process_is_ready_when_it_answers_on_its_port(target: ProcessTarget, store: Store) -> None:
    running = target.start(store.web(PROBE="6 * 7"), quiet)
    assert call(running.address) == "42"
    assert running.facts == {}


def test_a_running_instance_is_returned_as_it_is(target: ProcessTarget, store: Store) -> None:
    spec = store.shim()
    first = pid_of(target.start(spec, quiet).address)
    assert pid_of(target.start(spec, quiet).address) == first


def test_a_name_that_could_be_a_path_is_refused(target: ProcessTarget, store: Store) -> None:
    with pytest.raises(ValueError, match="not an instance's name"):
        target.start(replace(store.shim(), instance="../git"), quiet)


def test_a_state_folder_with_a_long_path_gets_a_port_instead_of_a_socket(tmp_path: Path) -> None:
    store = Store(make_settings(tmp_path / ("long" * 20)))
    target = ProcessTarget(store.settings)
    try:
        spec = store.web()
        assert target.start(replace(spec, instance="w1"), quiet).address.startswith("tcp:127.0.0.1:")
    finally:
        end(target)


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "how"),
    [("sys.exit(3)", "status 3"), ("import os; os.kill(os.getpid(), 11)", "signal 11"), ("1 / 0", "status 1")],
)
def test_a_process_that_ends_is_refused_with_its_status_and_its_last_words(
    target: ProcessTarget, store: Store, code: str, how: str
) -> None:
    problem = refusal(target, store.web(BEFORE=LAST_WORDS + code))
    assert problem.failure.code == "start-crashed"
    assert problem.failure.fields == {"how": how}
    assert problem.failure.log[0] == "loading"
    assert "[main r1] loading" in store.settings.app_log(1).read_text()


def test_a_command_that_is_not_there_says_so(target: ProcessTarget, store: Store) -> None:
    problem = refusal(target, store.spec("r1", store.image({}, ["no-such-program"])))
    assert problem.failure.fields == {"how": "status 127"}
    assert problem.failure.log == ("no-such-program: No such file or directory",)


def test_what_a_shim_says_of_its_end_is_the_cause(target: ProcessTarget, store: Store) -> None:
    code = """
with open(os.environ["ALGO_TERMINATION_LOG"], "w") as file:
    json.dump({"code": "load-failed", "log": ["line 1"],
               "fields": {"type": "ValueError", "message": "no", "code": "x"}}, file)
sys.exit(3)
"""
    failure = refusal(target, store.shim(BEFORE=code)).failure
    assert (failure.code, failure.fields, failure.log) == (
        "load-failed", {"type": "ValueError", "message": "no"}, ("line 1",),
    )  # fmt: skip


@pytest.mark.parametrize(
    "said", ['{"code": "../x", "fields": {}}', '{"code": 1}', "[", '{"code": "a b", "fields": {}}']
)
def test_a_report_that_is_none_is_no_cause(target: ProcessTarget, store: Store, said: str) -> None:
    code = f"open(os.environ['ALGO_TERMINATION_LOG'], 'w').write({said!r}); sys.exit(3)"
    assert refusal(target, store.shim(BEFORE=code)).failure.code == "start-crashed"


def test_a_process_that_never_listens_is_refused_when_its_time_is_over(target: ProcessTarget, store: Store) -> None:
    spec = replace(store.web(BEFORE=LAST_WORDS + "import time; time.sleep(60)"), ready_timeout_s=1.5)
    failure = refusal(target, spec).failure
    assert (failure.code, failure.fields, failure.log) == ("never-listened", {"seconds": 1}, ("loading",))


def test_a_process_that_listens_elsewhere_is_told_both_ports(target: ProcessTarget, store: Store) -> None:
    spec = replace(store.web(LISTEN="5017"), ready_timeout_s=2)
    failure = refusal(target, spec).failure
    assert failure.code == "wrong-port"
    assert failure.fields["found"] == 5017
    assert failure.fields["expected"] != 5017


def test_a_shim_that_loads_for_ever_is_refused_when_its_time_is_over(target: ProcessTarget, store: Store) -> None:
    failure = refusal(target, replace(store.shim(BEFORE="time.sleep(60)"), ready_timeout_s=1)).failure
    assert (failure.code, failure.fields) == ("start-timeout", {"seconds": 1})


def test_a_process_that_takes_too_much_memory_is_told_its_limit(target: ProcessTarget, store: Store) -> None:
    spec = replace(store.shim(BEFORE="x = bytearray(400 * 2**20)"), memory_mib=96)
    failure = refusal(target, spec).failure
    assert (failure.code, failure.fields) == ("out-of-memory", {"limit_mib": 96})


def test_a_child_that_takes_too_much_memory_ends_the_start_as_well(target: ProcessTarget, store: Store) -> None:
    code = "import subprocess\nwhile True: subprocess.run([sys.executable, '-c', 'x = bytearray(400 * 2**20)'])"
    failure = refusal(target, replace(store.shim(BEFORE=code), memory_mib=96)).failure
    assert (failure.code, failure.fields) == ("out-of-memory", {"limit_mib": 96})


def test_another_users_process_on_the_port_does_not_get_the_calls(target: ProcessTarget, store: Store) -> None:
    # The instance sees its port taken by a thief that was quicker, and goes on as if it listened.
    with subprocess.Popen([sys.executable, "-c", THIEF], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as thief:
        assert thief.stdout is not None
        port = int(thief.stdout.readline())
        target._ports["r1"] = port
        spec = replace(store.web(BEFORE="import time; time.sleep(60)"), ready_timeout_s=2)
        failure = refusal(target, spec).failure
        thief.kill()
    assert failure.code == "never-listened"


THIEF = """
import http.server
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


# -- kept ------------------------------------------------------------------------------------------------------------


def test_a_crashed_instance_comes_back_at_the_same_address(target: ProcessTarget, store: Store) -> None:
    for spec in (store.shim("r1"), store.web("r2", PROBE="'pid %d' % os.getpid()")):
        running = target.start(spec, quiet)
        target.keep(spec)
        first = pid_of(running.address)
        os.kill(first, signal.SIGKILL)
        assert within(15, lambda: (found := target.find(spec.instance)) is not None and pid_of(found.address) != first)  # noqa: B023 -- used at once
        assert target.find(spec.instance) == running
    log = store.settings.app_log(1).read_text()
    assert "[main r1] ended with signal 9; starting again in 0.1 s" in log
    assert "[main r1] runs again" in log


def test_pauses_grow_while_it_does_not_come_back(target: ProcessTarget, store: Store) -> None:
    spec = store.shim()
    running = target.start(spec, quiet)
    target.keep(spec)
    layer = store.settings.state / "layers" / "sha256" / _runtime_layer(spec)
    (layer / "_gitserver_runtime" / "__main__.py").write_text("raise SystemExit(3)")
    os.kill(pid_of(running.address), signal.SIGKILL)
    log = store.settings.app_log(1)
    assert within(20, lambda: "starting again in 0.8 s" in log.read_text())
    text = log.read_text()
    assert [pause for pause in ("0.1 s", "0.2 s", "0.4 s", "0.8 s") if f"starting again in {pause}" in text] == [
        "0.1 s", "0.2 s", "0.4 s", "0.8 s",
    ]  # fmt: skip
    assert text.count("starting again in 0.2 s") == 1


def _runtime_layer(spec: Spec) -> str:
    layers = spec.image["layers"]
    assert isinstance(layers, list)
    last = layers[-1]
    assert isinstance(last, dict)
    return str(last["diff_id"]).removeprefix("sha256:")


def test_a_stopped_instance_is_not_started_again(target: ProcessTarget, store: Store) -> None:
    spec = store.shim()
    target.start(spec, quiet)
    target.keep(spec)
    target.stop("r1", grace_s=2)
    time.sleep(0.6)
    assert target.instances() == ()
    assert list((store.settings.run_dir / "instances").iterdir()) == []


def test_the_log_of_an_app_grows_while_its_instance_runs(target: ProcessTarget, store: Store) -> None:
    target.start(store.web(), quiet)
    assert within(5, lambda: "[main r1] listening\n" in store.settings.app_log(1).read_text())
    assert target.tail("r1", 1) == ("listening",)


# -- ended -----------------------------------------------------------------------------------------------------------

DAEMON = """
import subprocess, sys
code = "import os, time; os.setsid(); os.fork() and os._exit(0); print(os.getpid(), flush=True); "
code += "os.close(1); time.sleep(600)"
child = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={})
GRANDCHILD = child.stdout
"""


def test_stop_ends_daemonised_grandchildren_too(target: ProcessTarget, store: Store) -> None:
    running = target.start(store.web(BEFORE=DAEMON, PROBE="int(GRANDCHILD)"), quiet)
    grandchild = int(call(running.address))
    assert Path(f"/proc/{grandchild}").exists()
    target.stop("r1", grace_s=1)
    assert within(2, lambda: not Path(f"/proc/{grandchild}").exists())


def test_a_process_that_ignores_sigterm_ends_after_its_grace(target: ProcessTarget, store: Store) -> None:
    running = target.start(store.shim(BEFORE="import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"), quiet)
    pid, began = pid_of(running.address), time.monotonic()
    target.stop("r1", grace_s=0.5)
    assert 0.5 <= time.monotonic() - began < 5
    assert not Path(f"/proc/{pid}").exists()


def test_a_fork_bomb_stays_within_its_limit_and_ends(target: ProcessTarget, store: Store) -> None:
    # A refused fork is tried again for ever; the limit of processes is what lets everybody else live.
    code = """
def bomb():
    while True:
        try:
            if os.fork() == 0:
                continue
        except OSError:
            time.sleep(0.05)
"""
    code += "if os.fork() == 0: bomb()\n"
    running = target.start(replace(store.shim(BEFORE=code), memory_mib=2048), quiet)
    assert running.address.startswith("unix:")
    family = target._live["r1"].family
    assert within(20, lambda: len(family.pids()) > 100)
    assert len(family.pids()) <= 1024
    target.stop("r1", grace_s=0)
    assert within(5, lambda: family.pids() == [])


def test_stopping_what_is_not_there_does_nothing(target: ProcessTarget) -> None:
    target.stop("r99", grace_s=1)


def test_a_start_that_waits_is_ended_by_stop(target: ProcessTarget, store: Store) -> None:
    problems: list[Problem] = []

    def begin() -> None:
        try:
            target.start(store.shim(BEFORE="time.sleep(60)"), quiet)
        except Problem as problem:
            problems.append(problem)

    thread = threading.Thread(target=begin)
    thread.start()
    assert within(10, lambda: target.instances() == ("r1",))
    time.sleep(0.3)
    began = time.monotonic()
    target.stop("r1", grace_s=5)
    thread.join(10)
    assert time.monotonic() - began < 4
    assert [problem.failure.code for problem in problems] == ["start-crashed"]


# -- adopted ---------------------------------------------------------------------------------------------------------

WORKER = """
import sys, time, os
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests/contract"]
from pathlib import Path
from tests.contract.targets_house import Store, make_settings
from gitserver.targets.process import ProcessTarget
store = Store(make_settings(Path(sys.argv[2])))
target = ProcessTarget(store.settings, warm=False)
for spec in (store.shim("r1"), store.web("r2")):
    print(target.start(spec, print).address, flush=True)
time.sleep(600)
"""


def test_instances_outlive_a_killed_worker_and_are_found_again(store: Store) -> None:
    command = [sys.executable, "-c", WORKER, str(ROOT), str(store.settings.state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        addresses = [worker.stdout.readline().strip() for _ in range(2)]
        before = pid_of(addresses[0])
        worker.kill()
    assert pid_of(addresses[0]) == before
    target = ProcessTarget(store.settings, warm=False)
    try:
        assert target.instances() == ("r1", "r2")
        assert [running and running.address for running in map(target.find, ("r1", "r2"))] == addresses
        assert pid_of(addresses[0]) == before
        target.keep(store.shim("r1"))
        os.kill(before, signal.SIGKILL)
        assert within(15, lambda: target.find("r1") is not None and pid_of(addresses[0]) != before)
        target.stop("r2", grace_s=1)
        assert target.instances() == ("r1",)
    finally:
        end(target)


def test_what_died_with_its_worker_is_cleared_away(store: Store) -> None:
    command = [sys.executable, "-c", WORKER, str(ROOT), str(store.settings.state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        address = worker.stdout.readline().strip()
        worker.stdout.readline()
        os.kill(pid_of(address), signal.SIGKILL)
        worker.kill()
    (store.settings.run_dir / "instances" / "half-made" / "io").mkdir(parents=True)
    target = ProcessTarget(store.settings, warm=False)
    try:
        assert target.instances() == ("r2",)
        assert [path.name for path in (store.settings.run_dir / "instances").iterdir()] == ["r2"]
    finally:
        end(target)


# -- environment -----------------------------------------------------------------------------------------------------


def test_the_environment_is_made_from_nothing(target: ProcessTarget, store: Store) -> None:
    spec = store.web(PROBE="dict(os.environ)", PORT="1", ALGO_BIND="x", LD_PRELOAD="/x.so", ALGO_WORKERS="2", MINE="1")
    env = ast.literal_eval(call(target.start(spec, quiet).address))
    io = store.settings.run_dir / "instances" / "r1" / "io"
    assert {name: env[name] for name in ("HOME", "TMPDIR", "LANG", "ALGO_OWNER", "ALGO_WORKERS", "MINE", "HOST")} == {
        "HOME": str(io / "home"), "TMPDIR": str(io / "tmp"), "LANG": "C.UTF-8", "ALGO_OWNER": "alice",
        "ALGO_WORKERS": "2", "MINE": "1", "HOST": "127.0.0.1",
    }  # fmt: skip
    assert env["PORT"] != "1"
    assert env["ALGO_BIND"] == f"127.0.0.1:{env['PORT']}"
    assert sorted(env) == [
        "ALGO_BIND", "ALGO_INSTANCE", "ALGO_MAX_BODY_BYTES", "ALGO_MODEL_NAME", "ALGO_MODEL_VERSION", "ALGO_OWNER",
        "ALGO_READY_FILE", "ALGO_TERMINATION_LOG", "ALGO_WORKERS", "HOME", "HOST", "LANG", "LD_LIBRARY_PATH", "MINE",
        "PATH", "PORT", "PROBE", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "TMPDIR",
    ]  # fmt: skip


def test_a_search_path_of_the_owner_comes_after_the_layers(target: ProcessTarget, store: Store) -> None:
    spec = store.shim(PYTHONPATH="/opt/mine", BEFORE="print(os.environ['PYTHONPATH'], flush=True)")
    target.start(spec, quiet)
    (found,) = target.tail("r1", 1)
    assert found.endswith(f"{_runtime_layer(spec)}:/opt/mine")
