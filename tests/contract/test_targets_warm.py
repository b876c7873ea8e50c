"""Warm parents: the next release is a fork, in the same sandbox; without one everything works as before."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitserver.errors import Problem
from gitserver.targets.process import ProcessTarget, _Live
from gitserver.targets.warm import WarmChild
from tests.contract.targets_house import Store, end, make_settings, within

PREDICT = """
import os
def predict(code='0'):
    try:
        return repr(eval(code))
    except OSError as error:
        return type(error).__name__
# {}
"""


def quiet(_line: str) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(make_settings(tmp_path / "state"))


@pytest.fixture
def target(store: Store) -> Iterator[ProcessTarget]:
    first = store.real_shim("b1", PREDICT.format(1))
    mask = os.umask(0o077)  # the worker's
    made = ProcessTarget(store.settings)
    try:
        if made._warm is None:
            pytest.skip("warm parents need mount namespaces: run the tests as root with CAP_SYS_ADMIN")
        made.start(first, quiet)
        made.keep(first)
        warm = made._warm
        assert within(60, lambda: any(parent.is_ready for parent in warm._parents.values()))
        os.umask(mask)
        yield made
    finally:
        end(made)
        os.umask(mask)


def live_of(target: ProcessTarget, instance: str) -> _Live:
    live = target._roster.get(instance)
    assert live is not None
    return live


def child_of(target: ProcessTarget, instance: str) -> object:
    return live_of(target, instance).child


def parent_pid(target: ProcessTarget) -> int:
    assert target._warm is not None
    (parent,) = target._warm._parents.values()
    return parent.child.pid


def predict(address: str, code: str) -> Any:
    """POST /predict over the instance's socket."""
    with socket.socket(socket.AF_UNIX) as connection, closing(http.client.HTTPConnection("localhost")) as client:
        connection.settimeout(20)
        connection.connect(address.removeprefix("unix:"))
        client.sock = connection
        client.request("POST", "/predict", json.dumps({"code": code}), {"Content-Type": "application/json"})
        response = client.getresponse()
        body = response.read().decode()
        assert response.status == 200, body
        return json.loads(body)


def test_the_next_release_is_a_fork_that_answers_for_its_own_code(target: ProcessTarget, store: Store) -> None:
    second = store.real_shim("b2", PREDICT.format(2).replace("repr(", "'second ' + repr("))
    running = target.start(replace(second, env={"MINE": "yes"}), quiet)
    assert isinstance(child_of(target, "b2"), WarmChild)
    assert predict(running.address, "1 + 1") == "second 2"
    assert predict(running.address, "os.environ['MINE']") == "second 'yes'"
    folder = store.settings.run_dir / "instances" / "b2"
    assert predict(running.address, "os.environ['HOME']") == f"second '{folder}/io/home'"


def test_sec_51_a_fork_is_isolated_as_a_fresh_start_is(target: ProcessTarget, store: Store) -> None:
    (store.settings.state / "ledger.sqlite").write_text("secret")
    neighbour = store.shim("r9", app_id=2)
    target.start(neighbour, quiet)
    image = store.settings.state / "images/sha256" / neighbour.image_digest.removeprefix("sha256:")
    running = target.start(store.real_shim("b2", PREDICT.format(2)), quiet)
    assert isinstance(child_of(target, "b2"), WarmChild)
    asked = {
        f"open('{store.settings.state}/ledger.sqlite').read()": "FileNotFoundError",
        f"os.listdir('{store.settings.state}')": "PermissionError",
        f"os.listdir('{image}')": "FileNotFoundError",
        "open('predict.py', 'a')": ("PermissionError", "OSError"),
        f"os.kill({os.getpid()}, 0)": "PermissionError",
        f"os.path.exists('{store.settings.run_dir}/instances/r9')": "False",
        "os.getresuid()": "(20001, 20001, 20001)",
        "open('/proc/self/status').read().split('NoNewPrivs:')[1].split()[0]": "'1'",
    }
    for code, expected in asked.items():
        found = predict(running.address, code)
        assert found in expected if isinstance(expected, tuple) else found == expected, code


def test_a_fork_is_in_the_control_group_of_its_own_instance(target: ProcessTarget, store: Store) -> None:
    target.start(store.real_shim("b2", PREDICT.format(2)), quiet)
    live = live_of(target, "b2")
    if live.family.group is None:
        pytest.skip("no writable control group here")
    assert live.family.life.pid in live.family.pids()
    target.stop("b2", grace_s=2)
    assert not Path(f"/proc/{live.family.life.pid}").exists()


def test_a_fork_that_crashes_at_its_start_says_why(target: ProcessTarget, store: Store) -> None:
    with pytest.raises(Problem) as caught:
        target.start(store.real_shim("b2", "raise ValueError('no model')\n"), quiet)
    assert caught.value.failure.code == "import-failed"
    assert caught.value.failure.fields["message"] == "no model"
    assert not (store.settings.run_dir / "instances" / "b2").exists()


def test_a_kept_fork_comes_back_at_the_same_address(target: ProcessTarget, store: Store) -> None:
    spec = store.real_shim("b2", PREDICT.format(2))
    running = target.start(spec, quiet)
    target.keep(spec)
    first = live_of(target, "b2").family.life.pid
    os.kill(first, signal.SIGKILL)
    assert within(20, lambda: target.find("b2") is not None and live_of(target, "b2").family.life.pid != first)
    assert isinstance(child_of(target, "b2"), WarmChild)
    assert predict(running.address, "1 + 1") == "2"
    assert "[main b1] ended with signal 9" in store.settings.app_log(1).read_text()


def test_a_dead_parent_means_a_fresh_start(target: ProcessTarget, store: Store) -> None:
    os.kill(parent_pid(target), signal.SIGKILL)
    time.sleep(0.1)
    running = target.start(store.real_shim("b2", PREDICT.format(2)), quiet)
    assert not isinstance(child_of(target, "b2"), WarmChild)
    assert predict(running.address, "1 + 1") == "2"


def test_a_stopped_parent_that_does_not_answer_means_a_fresh_start(target: ProcessTarget, store: Store) -> None:
    pid = parent_pid(target)
    os.kill(pid, signal.SIGSTOP)
    try:
        running = target.start(store.real_shim("b2", PREDICT.format(2)), quiet)
        assert not isinstance(child_of(target, "b2"), WarmChild)
        assert predict(running.address, "1 + 1") == "2"
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_preview_never_forks_from_productions_parent(target: ProcessTarget, store: Store) -> None:
    target.start(store.real_shim("b2", PREDICT.format(2), label="feature/x b2"), quiet)
    assert not isinstance(child_of(target, "b2"), WarmChild)


def test_another_app_never_forks_from_this_ones_parent(target: ProcessTarget, store: Store) -> None:
    target.start(store.real_shim("b2", PREDICT.format(2), app_id=2), quiet)
    assert not isinstance(child_of(target, "b2"), WarmChild)


def test_a_parent_ends_with_the_last_release_that_could_use_it(target: ProcessTarget, store: Store) -> None:
    pid = parent_pid(target)
    spec = store.real_shim("b2", PREDICT.format(2))
    target.start(spec, quiet)
    target.keep(spec)
    target.stop("b1", grace_s=2)
    assert Path(f"/proc/{pid}").exists()
    target.stop("b2", grace_s=2)
    assert not Path(f"/proc/{pid}").exists()
    assert list((store.settings.run_dir / "warm").iterdir()) == []


def test_forks_outlive_their_parent_and_its_worker(target: ProcessTarget, store: Store) -> None:
    running = target.start(store.real_shim("b2", PREDICT.format(2)), quiet)
    target.close()
    assert predict(running.address, "1 + 1") == "2"
    again = ProcessTarget(store.settings)
    try:
        assert again.find("b2") == running
        assert predict(running.address, "2 + 2") == "4"
    finally:
        end(again)
        for live in target._roster.all():  # this process is still their parent, as a dead worker would not be
            assert live.child is not None
            live.child.wait(5)
