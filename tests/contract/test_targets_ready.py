"""A launcher that waited for its build: the build is like any other, and nothing waits for ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildpacks.kitchen import LIFECYCLE
from buildpacks.order import Child
from gitserver.targets.build_runner import SandboxRunner
from gitserver.targets.probe import Isolation, probe_isolation
from gitserver.targets.ready import ReadyLauncher, Script, start_waiting
from tests.contract.targets_house import make_settings, within

PYTHON = Path(os.path.realpath(sys.executable))
# Everything that an exec, a sandbox and a plan decide, as a program finds it.
PROBE = """
import ctypes, json, os, resource, signal, sys

def load_all():
    pass

def status(name):
    with open("/proc/self/status") as file:
        return next(line.split()[1:] for line in file if line.startswith(name + ":"))

def reads(path):
    try:
        return os.listdir(path) if os.path.isdir(path) else open(path).read()
    except OSError as error:
        return type(error).__name__

def main(argv):
    old = os.umask(0)
    os.umask(old)
    facts = {
        "argv": sys.argv[1:], "given": argv, "env": dict(os.environ), "cwd": os.getcwd(), "umask": old,
        "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(), "session": os.getsid(0) == os.getpid(),
        "descriptors": sorted(n for n in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{n}")),
        "capabilities": [status(n) for n in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "no_new_privs": status("NoNewPrivs"), "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),
        "limits": [resource.getrlimit(n) for n in (4, 7, 1)],
        "ignored": status("SigIgn"), "blocked": status("SigBlk"), "flags": [sys.flags.isolated, sys.flags.no_site],
        "root": reads("/root"), "state": reads(os.environ["SECRET"]), "stdin": os.read(0, 1).decode(),
        "encodings": [sys.stdout.encoding, sys.stdout.errors, sys.getfilesystemencoding()],
    }
    with open(argv[0], "w") as file:
        json.dump(facts, file)
    print("said", flush=True)
    print("told", file=sys.stderr)
    return 7

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Isolation]:
    found = probe_isolation(tmp_path_factory.mktemp("probe"), required="auto")
    yield found
    if found.cgroups is not None:
        found.cgroups.remove()


class Site:
    """A build whose program is the probe."""

    def __init__(self, tmp_path: Path, isolation: Isolation) -> None:
        self.settings, self.isolation = make_settings(tmp_path / "state"), isolation
        self.work = self.settings.state / "builds" / "1" / "work"
        self.work.mkdir(parents=True)
        self.script = tmp_path / "scripts" / "probe.py"
        self.script.parent.mkdir()
        self.script.write_text(PROBE)
        (self.settings.state / "secret").write_text("the server's")
        self.lines: list[str] = []

    def run(self, ready: ReadyLauncher | None) -> tuple[int, dict[str, Any]]:
        """Its status, and what it found."""
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "SECRET": str(self.settings.state / "secret")}
        found = self.work / "found.json"
        child = Child(
            argv=[str(PYTHON), "-I", "-S", str(self.script), str(found)], env=env, cwd=self.work,
            readable=[Path(sys.base_prefix), self.script.parent], writable=[self.work], timeout_s=30, trusted=False,
        )  # fmt: skip
        runner = SandboxRunner(self.settings, self.isolation, 3, threading.Event(), ready=ready)
        status = runner(child, self.lines.append)
        facts = json.loads(found.read_text())
        facts["env"].pop("ALGO_INSTANCE")  # names the thread
        return status, facts


@pytest.fixture
def site(tmp_path: Path, isolation: Isolation) -> Site:
    return Site(tmp_path, isolation)


def waits(ready: ReadyLauncher) -> bool:
    """One is there now."""
    waiting = ready.take()
    if waiting is not None:
        waiting.close()
    return waiting is not None


def test_a_build_by_a_launcher_that_waited_finds_what_any_build_finds(site: Site) -> None:
    cold_status, cold = site.run(None)
    ready = ReadyLauncher(Script(python=PYTHON, path=site.script))
    within(10, lambda: ready._waiting is not None)
    before = ready._waiting
    status, found = site.run(ready)
    assert before is not None
    assert before.process.returncode == status == cold_status == 7, "it was that process"
    assert found == cold
    assert site.lines == ["said", "told"] * 2
    if os.geteuid() == 0:
        assert found["uid"] == [20003] * 3
        assert found["state"] == "FileNotFoundError"
        assert found["capabilities"][2] == ["0000000000000000"]
    assert found["descriptors"] == [0, 1, 2]


def test_the_next_one_is_started_when_a_build_has_ended(site: Site) -> None:
    ready = ReadyLauncher(Script(python=PYTHON, path=site.script))
    within(10, lambda: waits(ready))
    site.run(ready)
    within(10, lambda: waits(ready))


def test_one_that_died_while_it_waited_costs_nothing_but_its_time(site: Site) -> None:
    ready = ReadyLauncher(Script(python=PYTHON, path=site.script))
    within(10, lambda: ready._waiting is not None)
    assert ready._waiting is not None
    ready._waiting.process.send_signal(signal.SIGKILL)
    ready._waiting.process.wait(10)
    assert site.run(ready)[0] == 7


def test_one_that_cannot_load_its_program_costs_nothing_either(site: Site) -> None:
    site.script.write_text(
        PROBE.replace("def load_all():", "def load_all():\n    raise SystemExit(3)\n\ndef unused():")
    )
    ready = ReadyLauncher(Script(python=PYTHON, path=site.script))
    time.sleep(0.5)
    assert site.run(ready)[0] == 7


def test_it_ends_with_the_server_that_started_it(site: Site) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom gitserver.targets.ready import Script, start_waiting\n"
        "waiting = start_waiting(Script(python=Path(sys.argv[1]), path=Path(sys.argv[2])))\n"
        "print(waiting.process.pid, flush=True)\ntime.sleep(60)"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(PYTHON), str(site.script)], stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    server.kill()
    server.wait(10)
    server.stdout.close()
    within(10, lambda: _is_gone(pid))


def test_nobody_who_needs_it_is_a_clean_end(site: Site) -> None:
    waiting = start_waiting(Script(python=PYTHON, path=site.script))
    waiting.close()
    assert waiting.process.returncode == 0


def test_what_a_change_of_code_imports_is_loaded_ahead() -> None:
    """Names in the lifecycle's own list are modules, and our own buildpacks' detections are among what they bring."""
    code = (
        "import runpy, sys\nfound = runpy.run_path(sys.argv[1], run_name='ready')\nfound['load_all']()\n"
        "print(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [str(PYTHON), "-I", "-S", "-c", code, str(LIFECYCLE)], capture_output=True, text=True, check=True
    )  # fmt: skip
    loaded = set(done.stdout.split())
    packs = {f"buildpacks.packs.{pack}.{phase}" for pack in ("algo_python", "algo_model", "algo_procfile")
             for phase in ("detect", "build")}  # fmt: skip
    assert packs <= loaded
    assert "buildpacks.packs.algo_python.uv" not in loaded, "what installs packages is no part of a change of code"


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
