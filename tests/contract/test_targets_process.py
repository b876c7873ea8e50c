"""The process target with real processes: ready, refused with the cause, kept, adopted, ended to the last child."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitserver.errors import Problem
from gitserver.targets.contract import Spec
from gitserver.targets.process import ProcessTarget
from tests.contract.targets_house import ROOT, Store, call, end, make_settings, quiet, runtime_layer, within


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


def test_a_state_folder_with_a_long_path_gets_a_port_instead_of_a_socket(tmp_path: Path) -> None:
    store = Store(make_settings(tmp_path / ("long" * 20)))
    target = ProcessTarget(store.settings)
    try:
        spec = store.web()
        assert target.start(replace(spec, instance="w1"), quiet).address.startswith("tcp:127.0.0.1:")
    finally:
        end(target)


# -- refused ---------------------------------------------------------------------------------------------------------


def test_a_command_that_is_not_there_says_so(target: ProcessTarget, store: Store) -> None:
    problem = refusal(target, store.spec("r1", store.image({}, ["no-such-program"])))
    assert problem.failure.fields == {"how": "status 127"}
    assert problem.failure.log == ("no-such-program: No such file or directory",)


def test_another_users_process_on_the_port_does_not_get_the_calls(target: ProcessTarget, store: Store) -> None:
    # The instance sees its port taken by a thief that was quicker, and goes on as if it listened.
    with subprocess.Popen([sys.executable, "-c", THIEF], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as thief:
        assert thief.stdout is not None
        port = int(thief.stdout.readline())
        target._roster.adopt_port("r1", f"tcp:127.0.0.1:{port}")
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
    live = target._roster.get("r1")
    assert live is not None
    family = live.family
    assert within(20, lambda: len(family.pids()) > 100)
    assert len(family.pids()) <= 1024
    target.stop("r1", grace_s=0)
    assert within(5, lambda: family.pids() == [])


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
        "ALGO_READY_FILE", "ALGO_READY_TIMEOUT", "ALGO_TERMINATION_LOG", "ALGO_WORKERS", "HOME", "HOST", "LANG",
        "LD_LIBRARY_PATH", "MINE", "PATH", "PORT", "PROBE", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "TMPDIR",
    ]  # fmt: skip


def test_a_search_path_of_the_owner_comes_after_the_layers(target: ProcessTarget, store: Store) -> None:
    spec = store.shim(PYTHONPATH="/opt/mine", BEFORE="print(os.environ['PYTHONPATH'], flush=True)")
    target.start(spec, quiet)
    (found,) = target.tail("r1", 1)
    assert found.endswith(f"{runtime_layer(spec)}:/opt/mine")
