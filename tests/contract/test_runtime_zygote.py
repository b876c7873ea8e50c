"""The warm parent, for real: forks that serve, the same as fresh starts, and refusals that say why."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.runtime_shim import FUNCTION, SKLEARN, Shim, make_shim, write_iris_model


def ask(path: Path, message: Mapping[str, Any], outputs: Path | None = None) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(path))
        send(sock, message, outputs)
        return read_line(sock)


def send(sock: socket.socket, message: Mapping[str, Any], outputs: Path | None) -> None:
    line = json.dumps(message).encode() + b"\n"
    if outputs is None:
        sock.sendall(line)
        return
    with outputs.open("ab") as log:
        rights = array.array("i", [log.fileno(), log.fileno()])
        sent = sock.sendmsg([line], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        if sent < len(line):
            sock.sendall(line[sent:])


def read_line(sock: socket.socket) -> dict[str, Any]:
    received = b""
    while not received.endswith(b"\n"):
        part = sock.recv(65536)
        assert part, received
        received += part
    reply: dict[str, Any] = json.loads(received)
    return reply


def fork(zygote: Path, shim: Shim, **more: Any) -> dict[str, Any]:
    return ask(zygote, {"op": "fork", "env": shim.env, "cwd": str(shim.app_dir), **more}, outputs=shim.run_dir / "log")


def wait_for(path: Path, timeout_s: float = 20.0) -> None:
    deadline_at = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < deadline_at, path
        time.sleep(0.002)


def end(pid: int, zygote: Path) -> dict[str, Any]:
    os.kill(pid, signal.SIGTERM)
    deadline_at = time.monotonic() + 20
    while (reply := ask(zygote, {"op": "exit", "pid": pid}))["running"]:
        assert time.monotonic() < deadline_at
        time.sleep(0.05)
    return reply


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("zygote")
    template = make_shim(folder, {}, SKLEARN)
    process = subprocess.Popen(
        [
            *[sys.executable, "-P", "-m", "_gitserver_runtime.zygote"],
            *["--socket", str(folder / "z"), "--imports", "sklearn.pipeline,sklearn.linear_model,joblib,not_there"],
        ],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(template.layer), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    deadline_at = time.monotonic() + 60
    while True:
        try:
            ask(folder / "z", {"op": "ping"})
            break
        except (FileNotFoundError, ConnectionRefusedError):
            assert process.poll() is None
            assert time.monotonic() < deadline_at
            time.sleep(0.05)
    yield folder / "z"
    assert ask(folder / "z", {"op": "stop"}) == {"ok": True}
    assert process.wait(timeout=10) == 0
    assert not (folder / "z").exists()


def test_a_fork_serves_the_same_model_as_a_fresh_start(warm: Path, tmp_path: Path) -> None:
    shim = make_shim(tmp_path, {}, SKLEARN)
    write_iris_model(shim.app_dir / "model/iris.joblib")
    started = time.perf_counter()
    reply = fork(warm, shim)
    assert reply["ok"], reply
    wait_for(shim.ready_path)
    print(f"fork to ready: {(time.perf_counter() - started) * 1e3:.0f} ms")
    stat = Path(f"/proc/{reply['pid']}/stat").read_text()
    assert int(stat.rpartition(")")[2].split()[19]) == reply["start_ticks"]
    assert os.getsid(reply["pid"]) == reply["pid"]
    with shim.client() as client:
        answer = client.post("/predict", json={"instances": [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]})
    assert answer.json() == {"predictions": [0, 2]}
    assert end(reply["pid"], warm) == {"ok": True, "running": False, "status": 0}


def test_a_fork_sees_only_its_own_environment_folder_and_output(warm: Path, tmp_path: Path) -> None:
    code = (
        "import os, sys\nprint('hello from', os.getcwd())\n"
        "def predict():\n    return {'env': sorted(os.environ), 'fds': len(os.listdir('/proc/self/fd'))}\n"
    )
    shim = make_shim(tmp_path, {"predict.py": code}, FUNCTION, {"GREETING": "hi"})
    reply = fork(warm, shim)
    wait_for(shim.ready_path)
    with shim.client() as client:
        seen = client.post("/predict", json={}).json()
    assert "GREETING" in seen["env"]
    assert seen["fds"] < 20
    assert f"hello from {shim.app_dir}" in shim.log
    end(reply["pid"], warm)


def test_two_forks_of_one_parent_share_no_user_module(warm: Path, tmp_path: Path) -> None:
    pids = []
    for number in (1, 2):
        shim = make_shim(tmp_path / str(number), {"predict.py": f"def predict():\n    return {number}\n"}, FUNCTION)
        pids.append(fork(warm, shim)["pid"])
        wait_for(shim.ready_path)
        with shim.client() as client:
            assert client.post("/predict", json={}).json() == number
    assert set(pids) <= set(ask(warm, {"op": "ping"})["children"])
    for pid in pids:
        end(pid, warm)


def test_a_fork_that_cannot_load_ends_with_its_reason(warm: Path, tmp_path: Path) -> None:
    shim = make_shim(tmp_path, {"predict.py": "import numpi\ndef predict(): pass\n"}, FUNCTION)
    reply = fork(warm, shim)
    wait_for(shim.run_dir / "termination.json")
    failure = json.loads((shim.run_dir / "termination.json").read_text())
    assert (failure["code"], failure["fields"]["module"]) == ("import-failed", "numpi")
    time.sleep(0.1)
    assert ask(warm, {"op": "exit", "pid": reply["pid"]})["status"] == 4


def test_a_held_fork_starts_only_when_it_is_released(warm: Path, tmp_path: Path) -> None:
    shim = make_shim(tmp_path, {"predict.py": "def predict():\n    return 1\n"}, FUNCTION)
    message = {"op": "fork", "env": shim.env, "cwd": str(shim.app_dir), "hold": True}
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(warm))
        send(sock, message, shim.run_dir / "log")
        reply = read_line(sock)
        time.sleep(0.3)
        assert not shim.ready_path.exists()
        sock.sendall(b'{"op": "go"}\n')
        wait_for(shim.ready_path)
    end(reply["pid"], warm)


def test_a_held_fork_whose_client_goes_away_ends(warm: Path, tmp_path: Path) -> None:
    shim = make_shim(tmp_path, {"predict.py": "def predict():\n    return 1\n"}, FUNCTION)
    reply = fork(warm, shim, hold=True)
    deadline_at = time.monotonic() + 10
    while (ended := ask(warm, {"op": "exit", "pid": reply["pid"]}))["running"]:
        assert time.monotonic() < deadline_at
        time.sleep(0.02)
    assert ended["status"] == 75


def test_other_pool_sizes_need_a_fresh_start(warm: Path, tmp_path: Path) -> None:
    shim = make_shim(tmp_path, {"predict.py": "def predict():\n    return 1\n"}, FUNCTION, {"OMP_NUM_THREADS": "4"})
    assert fork(warm, shim) == {"ok": False, "why": "pools: OMP_NUM_THREADS=4, the warm parent has 1"}


def test_a_module_that_is_not_installed_is_reported_and_costs_nothing_else(warm: Path) -> None:
    reply = ask(warm, {"op": "ping"})
    assert reply["failed"] == {"not_there": "ModuleNotFoundError: No module named 'not_there'"}
    assert "sklearn.linear_model" in reply["imports"]


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b'{"op": "fly"}\n', b'{"op": "fork"}\n', b'{"op": "fork", "env": {"a": 1}, "cwd": "/"}\n']
)
def test_a_request_that_makes_no_sense_is_refused_and_the_parent_lives(warm: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(warm))
        sock.sendall(line)
        assert not read_line(sock)["ok"]
    assert ask(warm, {"op": "ping"})["ok"]
