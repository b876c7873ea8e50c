"""Children of a build in the sandbox: what they see, what they say, how they end."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.order import BuildFailed, Child
from gitserver.targets.build_lines import MAX_LINE_BYTES
from gitserver.targets.build_runner import WHEEL_UID, SandboxRunner, give_away
from gitserver.targets.probe import Isolation, probe_isolation
from tests.contract.targets_house import make_settings, within

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="run the tests as root: builds get users of their own then")
PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(scope="module")
def isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Isolation]:
    found = probe_isolation(tmp_path_factory.mktemp("probe"), required="auto")
    yield found
    if found.cgroups is not None:
        found.cgroups.remove()


class Kitchen:
    """One build's folders and its runner."""

    def __init__(self, tmp_path: Path, isolation: Isolation) -> None:
        self.settings = make_settings(tmp_path / "state")
        self.cancelled = threading.Event()
        self.runner = SandboxRunner(self.settings, isolation, 3, self.cancelled)
        self.work = self.settings.state / "builds" / "1" / "work"
        self.work.mkdir(parents=True)
        self.lines: list[str] = []

    def run(self, code: str, *, trusted: bool = False, timeout_s: float = 30, **env: str) -> int:
        child = Child(
            argv=[PYTHON, "-I", "-S", "-c", code], env={"PATH": "/usr/bin:/bin", **env}, cwd=self.work,
            readable=[Path(sys.base_prefix)], writable=[self.work], timeout_s=timeout_s, trusted=trusted,
        )  # fmt: skip
        return self.runner(child, self.lines.append)


@pytest.fixture
def kitchen(tmp_path: Path, isolation: Isolation) -> Kitchen:
    return Kitchen(tmp_path, isolation)


def test_lines_arrive_as_they_are_written_and_the_status_is_the_childs(kitchen: Kitchen) -> None:
    assert kitchen.run("import sys; print('one'); print('two', file=sys.stderr); sys.exit(7)") == 7
    assert sorted(kitchen.lines) == ["one", "two"]


def test_a_child_that_a_signal_ended_says_which(kitchen: Kitchen) -> None:
    assert kitchen.run("import os; os.kill(os.getpid(), 15)") == 143


def test_sec_08_control_bytes_are_taken_out_and_endless_lines_are_cut(kitchen: Kitchen) -> None:
    code = "import sys; sys.stdout.buffer.write(b'\\x1b[31mred\\x07\\r\\n' + b'x' * 40000 + b'\\nno end')"
    assert kitchen.run(code) == 0
    assert kitchen.lines[0] == "[31mred"
    assert [len(line) for line in kitchen.lines[1:4]] == [MAX_LINE_BYTES, MAX_LINE_BYTES, 40000 - 2 * MAX_LINE_BYTES]
    assert kitchen.lines[-1] == "no end"


def test_its_time_ends_all_of_it(kitchen: Kitchen) -> None:
    code = "import os, time; os.fork() or os.setsid(); open(str(os.getpid()), 'w'); time.sleep(60)"
    began = time.monotonic()
    with pytest.raises(BuildFailed) as caught:
        kitchen.run(code, timeout_s=1.5)
    assert (caught.value.code, caught.value.fields) == ("build-timeout", {"seconds": 1})
    assert time.monotonic() - began < 10
    pids = [path.name for path in kitchen.work.iterdir() if path.name.isdigit()]
    assert len(pids) >= 2
    assert within(3, lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_a_child_that_closes_its_output_and_stays_is_ended_too(kitchen: Kitchen) -> None:
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("import os, time; os.close(1); os.close(2); time.sleep(60)", timeout_s=1)
    assert caught.value.code == "build-timeout"


def test_a_daemon_that_a_build_leaves_behind_neither_delays_nor_outlives_it(kitchen: Kitchen) -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    open("pid", "w").write(str(os.getpid()))
    time.sleep(60)
time.sleep(0.3)
"""
    began = time.monotonic()
    assert kitchen.run(code) == 0
    assert time.monotonic() - began < 5
    pid = (kitchen.work / "pid").read_text()
    assert within(3, lambda: not Path(f"/proc/{pid}").exists())


def test_a_cancelled_build_ends_at_once(kitchen: Kitchen) -> None:
    threading.Timer(0.5, kitchen.cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("import time; time.sleep(60)")
    assert caught.value.code == "cancelled"
    assert time.monotonic() - began < 5


def test_sec_05_the_environment_is_what_was_given_and_nothing_else(kitchen: Kitchen) -> None:
    os.environ["CANARY_OF_THE_SERVER"] = "x"
    try:
        assert kitchen.run("import os, json; print(json.dumps(sorted(os.environ)))", GIVEN="1") == 0
    finally:
        del os.environ["CANARY_OF_THE_SERVER"]
    assert set(json.loads(kitchen.lines[0])) - {"LC_CTYPE"} == {"ALGO_INSTANCE", "GIVEN", "PATH"}


@needs_root
def test_sec_33_no_credential_of_the_server_can_be_read_from_a_build(kitchen: Kitchen) -> None:
    state = kitchen.settings.state
    secrets = [state / "owner-token", state / "ledger.sqlite", state / "ssh_host_key", state / "git" / "3.git" / "HEAD"]
    for path in secrets:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("CANARY")
    code = f"""
import os
for path in {[str(path) for path in secrets]} + ["/root/.netrc", "/proc/1/environ", "/proc/{os.getpid()}/environ"]:
    try:
        print(open(path).read())
    except OSError as error:
        print(type(error).__name__)
"""
    for trusted in (True, False):
        assert kitchen.run(code, trusted=trusted) == 0
    assert set(kitchen.lines) <= {"FileNotFoundError", "PermissionError"}


@needs_root
def test_sec_32_a_build_owns_nothing_but_its_workspace(kitchen: Kitchen) -> None:
    code = """
import os
print(os.getresuid(), [p for p in os.listdir("/proc") if p.isdigit()] == [str(os.getpid())])
lines = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
print([lines[n].strip() for n in ("CapEff", "CapBnd", "NoNewPrivs")])
print([os.path.exists(p) for p in ("/run/docker.sock", "/var/run/docker.sock")])
open("made", "w").close()
"""
    assert kitchen.run(code, trusted=True) == 0
    assert kitchen.lines == [
        f"({WHEEL_UID}, {WHEEL_UID}, {WHEEL_UID}) True", "['0000000000000000', '0000000000000000', '1']",
        "[False, False]",
    ]  # fmt: skip
    assert (kitchen.work / "made").stat().st_uid == WHEEL_UID


@needs_root
def test_a_build_of_foreign_code_runs_as_the_apps_own_user_over_what_the_first_one_made(kitchen: Kitchen) -> None:
    assert kitchen.run("import os; os.mkdir('sub'); open('sub/file', 'w').write('1')", trusted=True) == 0
    assert kitchen.run("import os; print(os.getuid()); open('sub/file', 'w').write('2')") == 0
    assert kitchen.lines == ["20003"]


@needs_root
def test_a_build_that_takes_too_much_memory_is_told_so(kitchen: Kitchen, isolation: Isolation) -> None:
    kitchen.runner = SandboxRunner(kitchen.settings, isolation, 3, kitchen.cancelled, memory_mib=96)
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("x = bytearray(400 * 2**20); import time; time.sleep(30)")
    assert (caught.value.code, caught.value.fields) == ("build-memory", {"limit_mib": 96})


@needs_root
def test_a_build_is_held_to_its_memory_without_control_groups_too(kitchen: Kitchen, isolation: Isolation) -> None:
    bare = replace(isolation, cgroups=None)
    kitchen.runner = SandboxRunner(kitchen.settings, bare, 3, kitchen.cancelled, memory_mib=96)
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("x = bytearray(400 * 2**20); import time; time.sleep(30)")
    assert (caught.value.code, caught.value.fields) == ("build-memory", {"limit_mib": 96})


@needs_root
def test_a_blob_that_the_server_shares_stays_the_servers(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_text("weights")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "model.bin").hardlink_to(blob)
    (tree / "code.py").touch()
    (tree / "link").symlink_to(blob)
    give_away(tree, 20003)
    owners = {path.name: path.lstat().st_uid for path in (tree, *tree.iterdir())}
    assert owners == {"tree": 20003, "model.bin": 0, "code.py": 20003, "link": 20003}
    assert blob.stat().st_uid == 0
