"""What an instance and a build can reach from inside, at each level: attempts by real processes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitserver.errors import Problem
from gitserver.targets.probe import probe_isolation
from gitserver.targets.process import ProcessTarget
from gitserver.targets.sandbox import Level, Limits, SandboxPlan
from gitserver.targets.spawn import SandboxFailed, spawn
from tests.contract.targets_house import ROOT, Store, call, end, make_settings

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="run the tests as root to see the levels that need it")

# Tries things and writes down what came of each: "ok" or the error's name.
INSIDE = """
import os, json, signal, socket, pathlib
def attempt(act):
    try:
        found = act()
    except OSError as error:
        return type(error).__name__
    return found if isinstance(found, (list, str, int)) else "ok"
def status(*names):
    lines = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
    return [lines[n].strip() for n in names]
def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(make_settings(tmp_path / "state"))


@pytest.fixture
def target(store: Store) -> Iterator[ProcessTarget]:
    made = ProcessTarget(store.settings, warm=False)
    yield made
    end(made)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can get to: pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="algo-test-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def look(target: ProcessTarget, store: Store, probe: str, *, instance: str = "r1", app_id: int = 1) -> Any:
    """What an expression gives inside an instance."""
    spec = store.web(instance, app_id=app_id, BEFORE=INSIDE, PROBE=probe)
    running = target.start(spec, lambda _line: None)
    try:
        return ast.literal_eval(call(running.address))
    finally:
        target.stop(instance, grace_s=0)


@needs_root
def test_an_instance_has_a_user_of_its_own_without_any_right(target: ProcessTarget, store: Store) -> None:
    names = "'Uid', 'Gid', 'Groups', 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs'"
    uid, gid, groups, *rights = look(target, store, f"status({names})", app_id=7)
    assert (uid.split(), gid.split(), groups) == (["20007"] * 4, ["20007"] * 4, "")
    assert rights == ["0000000000000000"] * 5 + ["1"]


@needs_root
def test_an_instance_cannot_dump_its_memory_to_disk_or_open_files_without_end(
    target: ProcessTarget, store: Store
) -> None:
    found = look(target, store, "[list(__import__('resource').getrlimit(n)) for n in (4, 7, 1)]")
    core, files, size = found
    assert core == [0, 0]
    assert files[1] <= 65536
    assert size == [8 * 1024**3] * 2


@needs_root
def test_sec_51_the_server_state_and_homes_are_not_there(target: ProcessTarget, store: Store) -> None:
    state = store.settings.state
    (state / "ledger.sqlite").write_text("secret")
    (state / "git" / "1.git").mkdir(parents=True)
    found = look(
        target, store,
        f"[attempt(lambda: os.listdir(p)) for p in ({str(state)!r}, {str(Path.home())!r}, '/root', '/home')]"
        f" + [attempt(lambda: open(p).read()) for p in ({str(state / 'ledger.sqlite')!r}, '/root/.bashrc')]"
        f" + [os.path.exists(p) for p in ({str(state / 'git')!r}, {str(state / 'run' / 'warm')!r})]",
    )  # fmt: skip
    assert found == ["PermissionError"] * 4 + ["FileNotFoundError"] * 2 + [False, False]


@needs_root
def test_sec_51_another_apps_instance_cannot_be_seen_or_reached(target: ProcessTarget, store: Store) -> None:
    neighbour = store.shim("r2", app_id=2)
    running = target.start(neighbour, lambda _line: None)
    path = running.address.removeprefix("unix:")
    pid = int(call(running.address).removeprefix("pid "))
    image = store.settings.state / "images" / "sha256" / neighbour.image_digest.removeprefix("sha256:")
    found = look(
        target, store,
        f"[attempt(lambda: connect({path!r})), attempt(lambda: os.listdir({str(image)!r})),"
        f" os.path.exists('/proc/{pid}'), attempt(lambda: os.kill({pid}, 9)),"
        f" attempt(lambda: open('/proc/{pid}/environ').read())]",
    )  # fmt: skip
    assert found == ["PermissionError", "FileNotFoundError", False, "PermissionError", "FileNotFoundError"] or (
        found == ["FileNotFoundError", "FileNotFoundError", False, "PermissionError", "FileNotFoundError"]
    )
    assert call(running.address) == f"pid {pid}"


@needs_root
def test_sec_51_nothing_outside_its_own_folder_can_be_written(
    target: ProcessTarget, store: Store, tmp_path: Path
) -> None:
    image = store.settings.state / "images"
    found = look(
        target, store,
        "[attempt(lambda: open(p + '/x', 'w').close()) for p in"
        f" (os.getcwd(), '/etc', '/usr/local/bin', {str(ROOT)!r}, {str(image)!r}, '/', '/var/lib')]"
        " + [attempt(lambda: pathlib.Path(os.environ[n], 'x').write_text('x')) for n in ('HOME', 'TMPDIR')]"
        " + [attempt(lambda: pathlib.Path(p, 'x').write_text('x')) for p in ('/tmp', '/dev/shm')]",
    )  # fmt: skip
    assert set(found[:7]) <= {"PermissionError", "OSError", "FileNotFoundError"}
    assert found[7:] == [1, 1, 1, 1]
    assert not Path("/tmp/x").exists()
    assert not Path("/dev/shm/x").exists()


@needs_root
def test_a_file_of_the_machine_that_everybody_may_read_is_still_not_an_instances(
    target: ProcessTarget, store: Store
) -> None:
    # The sources of this very test lie outside the system's folders; their modes let anybody read them.
    path = ROOT / "pyproject.toml"
    if not target.isolation.landlock:
        pytest.skip("this kernel has no Landlock (5.19 or newer)")
    assert look(target, store, f"attempt(lambda: open({str(path)!r}).read())") in {
        "PermissionError",
        "FileNotFoundError",
    }


@needs_root
def test_processes_of_the_machine_are_neither_seen_nor_signalled(target: ProcessTarget, store: Store) -> None:
    found = look(
        target, store,
        f"[attempt(lambda: os.kill(p, 0)) for p in (1, {os.getpid()})]"
        " + [sorted(p for p in os.listdir('/proc') if p.isdigit()) == [str(os.getpid())]]",
    )  # fmt: skip
    assert found == ["PermissionError", "PermissionError", True]


@needs_root
def test_sec_32_a_container_engines_socket_is_not_there(target: ProcessTarget, store: Store) -> None:
    found = look(
        target, store,
        "[os.path.exists(p) for p in ('/run/docker.sock', '/var/run/docker.sock')]"
        " + [attempt(lambda: os.listdir('/run'))]",
    )  # fmt: skip
    assert found == [False, False, "PermissionError"]


def test_sec_53_a_secret_is_in_no_file_of_the_server(target: ProcessTarget, store: Store) -> None:
    target.start(store.shim(SECRET="CANARY-57"), lambda _line: None)
    target.keep(store.shim(SECRET="CANARY-57"))
    with pytest.raises(Problem) as caught:
        target.start(store.shim("r2", SECRET="CANARY-57", BEFORE="sys.exit(1)"), lambda _line: None)
    assert "CANARY" not in json.dumps(caught.value.failure.as_json())
    for path in store.settings.state.rglob("*"):
        if path.is_file():
            assert b"CANARY" not in path.read_bytes(), path


def test_sec_54_files_of_the_server_are_private(target: ProcessTarget, store: Store) -> None:
    target.start(store.shim(), lambda _line: None)
    target._log.event(1, "main r1", "x")
    for folder in (store.settings.run_dir / "instances" / "r1", store.settings.state / "logs"):
        for path in folder.rglob("*"):
            if path.is_file() and "io" not in path.parts:
                assert path.stat().st_mode & 0o077 == 0, path


# -- levels ----------------------------------------------------------------------------------------------------------


def test_a_step_that_fails_is_named_and_nothing_runs() -> None:
    plan = SandboxPlan(
        argv=["/bin/true"], env={}, cwd="/no/such/folder", level=Level.NONE, uid=None, readable=[], writable=[],
        hidden=[], rooms=[], join=["/no/such/group"], limits=Limits(), landlock=False, private_proc=False, parent=None,
    )  # fmt: skip
    with pytest.raises(SandboxFailed, match=r"control group: .*No such file"):
        spawn(plan, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.raises(SandboxFailed, match=r"working folder: .*No such file"):
        spawn(replace(plan, join=[]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@needs_root
def test_a_place_that_this_machine_lacks_exists_for_one_child_alone(tmp_path: Path) -> None:
    found = probe_isolation(tmp_path, required="auto")
    if found.cgroups is not None:
        found.cgroups.remove()
    if found.level < Level.NAMESPACE:
        pytest.skip("mount namespaces are not allowed here: run as root of the machine")
    folder, name = tmp_path / "place", f"/place-{os.getpid()}"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    code = (
        f"import os; open('{name}/made', 'w').write('x'); print(os.access('/etc', os.R_OK), os.access('/', os.W_OK), "
        "os.path.exists('/tmp/outside'), os.listdir('/root') if os.access('/root', os.R_OK) else 'hidden')"
    )
    plan = SandboxPlan(
        argv=["/usr/bin/python3", "-c", code], env={"PATH": "/usr/bin:/bin"}, cwd="/", level=Level.NAMESPACE, uid=12345,
        readable=[], writable=[str(folder)], hidden=["/tmp", "/root"], rooms=[], join=[], limits=Limits(),
        landlock=found.landlock, private_proc=found.private_proc, parent=os.getpid(), places=[(str(folder), name)],
    )  # fmt: skip
    child = spawn(plan, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out.split()) == (0, [b"True", b"False", b"False", b"hidden"]), err
    assert (folder / "made").read_text() == "x"
    assert not Path(name).exists()


@needs_root
def test_the_level_is_found_and_told(tmp_path: Path) -> None:
    found = probe_isolation(tmp_path, required="auto")
    assert found.level >= Level.USER
    assert found.mechanisms["user"] == "yes"
    if found.cgroups is not None:
        found.cgroups.remove()


# A server on an unprivileged account, or one whose container lacks rights: the same target, its level and its attempts.
SERVER = """
import sys, json, os
sys.path[:0] = sys.argv[1].split(":")
from pathlib import Path
from dataclasses import replace
from gitserver.errors import Problem
from gitserver.targets.process import ProcessTarget
from tests.contract.targets_house import Store, call, end, make_settings, within
store = Store(make_settings(Path(sys.argv[2]), isolation=sys.argv[3]))
try:
    target = ProcessTarget(store.settings)
except Problem as problem:
    print(json.dumps(problem.failure.as_json()))
    raise SystemExit
log = lambda line: None
found = {"level": target.isolation.level.name, "mechanisms": dict(target.isolation.mechanisms)}
try:
    (store.settings.state / "ledger.sqlite").write_text("secret")
    spec = store.web(BEFORE=sys.argv[4], PROBE=sys.argv[5])
    found["inside"] = call(target.start(spec, log).address)
    found["shim"] = call(target.start(store.shim("r2"), log).address)[:4]
    daemon = store.web("r3", PROBE="int(GRANDCHILD)", BEFORE=sys.argv[6])
    grandchild = int(call(target.start(daemon, log).address))
    target.stop("r3", grace_s=1)
    found["daemon_gone"] = within(2, lambda: not os.path.exists(f"/proc/{grandchild}"))
    try:
        code = "x = bytearray(300 * 2**20); time.sleep(30)"
        target.start(replace(store.shim("r4", BEFORE=code), memory_mib=96), log)
    except Problem as problem:
        found["greedy"] = problem.failure.as_json()
finally:
    end(target)
print(json.dumps(found))
"""
DAEMON = """
import subprocess, sys
code = "import os, time; os.setsid(); os.fork() and os._exit(0); print(os.getpid(), flush=True); "
code += "os.close(1); time.sleep(99)"
GRANDCHILD = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True).stdout
"""


def sources(python: str) -> str:
    """sys.path of a server that runs on another interpreter than the tests."""
    import sysconfig

    return f"{ROOT}:{sysconfig.get_path('purelib')}" if python != sys.executable else str(ROOT)


@needs_root
def test_a_server_without_any_right_isolates_files_by_landlock_and_limits_memory_by_itself(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    home = tmp_path / "account"
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 12345)
    probe = (
        "[attempt(lambda: open(p).read())"
        " for p in (os.environ['HOME'] + '/../../../../../ledger.sqlite', '/etc/shadow')]"
        " + [attempt(lambda: os.kill(os.getppid(), 0))] + status('NoNewPrivs') + status('Uid')[0].split()[:1]"
    )
    plan = SandboxPlan(
        argv=[sys.executable, "-c", SERVER, str(ROOT), str(home / "state"), "auto", INSIDE, probe, DAEMON],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, cwd="/", level=Level.NAMESPACE, uid=12345,
        readable=[str(ROOT), sys.prefix, sys.base_prefix], writable=[str(home)], hidden=["/tmp", "/root"], rooms=[],
        join=[], limits=Limits(user_processes=2000), landlock=False, private_proc=True, parent=os.getpid(),
    )  # fmt: skip
    found = outcome(spawn(plan, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert found["level"] == "NONE"
    assert found["mechanisms"]["user"] == "the server does not run as root"
    inside = ast.literal_eval(found["inside"])
    assert inside[3:] == ["1", "12345"]
    if found["mechanisms"]["landlock"] == "yes":
        assert inside[:2] == ["PermissionError", "PermissionError"]
        assert inside[2] in {"PermissionError", "ok"}  # signals are kept inside from Landlock 6 on
    assert found["shim"] == "pid "
    assert found["daemon_gone"] is True
    assert (found["greedy"]["code"], found["greedy"]["fields"]) == ("out-of-memory", {"limit_mib": 96})


@needs_root
@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or not Path("/usr/bin/python3.11").exists(),
    reason="install python3.11 of the distribution: this level needs an interpreter that all users reach",
)
def test_a_root_server_without_mount_namespaces_still_gives_each_app_a_user(reachable: Path) -> None:
    state, python = reachable / "state", "/usr/bin/python3.11"
    probe = (
        f"[attempt(lambda: open(p).read()) for p in ({str(state / 'ledger.sqlite')!r}, '/etc/shadow')]"
        " + status('CapEff', 'CapBnd', 'NoNewPrivs') + status('Uid')[0].split()[:1]"
    )
    again = f"import os, sys; os.execv({python!r}, [{python!r}, '-c', *sys.argv[1:]])"
    arguments = [sources(python), str(state), "auto", INSIDE, probe, DAEMON]
    with subprocess.Popen(
        [python, "-c", f"import ctypes; ctypes.CDLL(None).prctl(24, 21, 0, 0, 0)\n{again}", SERVER, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"HOME": "/nonexistent", "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
    ) as server:  # fmt: skip
        found = outcome(server)
    assert found["level"] == "USER"
    assert "Operation not permitted" in found["mechanisms"]["namespace"]
    assert ast.literal_eval(found["inside"]) == ["PermissionError"] * 2 + ["0000000000000000"] * 2 + ["1", "20001"]
    assert (found["shim"], found["daemon_gone"]) == ("pid ", True)
    assert found["greedy"]["code"] == "out-of-memory"


@needs_root
def test_a_root_server_that_cannot_isolate_refuses_to_start(tmp_path: Path) -> None:
    # Neither mount namespaces nor other users: without CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID.
    drop = "import ctypes\nfor number in (6, 7, 21): ctypes.CDLL(None).prctl(24, number, 0, 0, 0)\n"
    again = f"import os, sys; os.execv({sys.executable!r}, [{sys.executable!r}, '-c', *sys.argv[1:]])"
    arguments = [str(ROOT), str(tmp_path / "state"), "auto", INSIDE, "1", DAEMON]
    with subprocess.Popen(
        [sys.executable, "-c", drop + again, SERVER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    ) as server:  # fmt: skip
        found = outcome(server)
    assert found["code"] == "isolation-missing"
    assert (found["fields"]["required"], found["fields"]["found"]) == ("user", "none")
    assert "Operation not permitted" in found["fields"]["why"]


def outcome(server: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the server script printed last."""
    said, errors = server.communicate(timeout=90)
    assert said.strip(), errors.decode()[-3000:]
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found
