"""The docker target in a real engine: what a container may, what its neighbours may not, and who outlives whom."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gitserver import explain
from gitserver.errors import Problem
from gitserver.targets.contract import Spec
from gitserver.targets.docker import DockerTarget
from tests.contract.docker_house import DockerPlace, command, make_outbound
from tests.contract.targets_house import LAST_WORDS, ROOT, call, end, make_settings, quiet, within


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DockerPlace]:
    made = DockerPlace(make_settings(tmp_path / "state"))
    yield made
    made.close()


def ask(place: DockerPlace, probe: str, spec: Spec | None = None, **env: str) -> object:
    """The value of an expression inside a web process's container."""
    running = place.target.start(spec or place.store.web("r1", app_id=1, PROBE=probe, **env), quiet)
    return ast.literal_eval(call(running.address))


# -- what a container may ----------------------------------------------------------------------------------------------


def test_an_app_runs_as_its_own_user_without_rights(place: DockerPlace) -> None:
    wanted = ("Uid", "Gid", "Cap", "NoN")
    probe = f"{{line.split(':')[0]: line.split()[-1] for line in open('/proc/self/status') if line[:3] in {wanted}}}"
    found = ask(place, probe, place.store.web(app_id=7, PROBE=probe))
    own = ("20007", "20007") if os.geteuid() == 0 else (str(os.geteuid()), str(os.getegid()))
    assert isinstance(found, dict)
    assert (found.pop("Uid"), found.pop("Gid")) == own
    assert found.pop("NoNewPrivs") == "1"
    assert set(found.values()) == {"0" * 16}


def test_nothing_but_tmp_and_its_own_folder_can_be_written(place: DockerPlace) -> None:
    before = """
def try_to_write(folder):
    try:
        open(folder + "/x", "w").write("x")
        os.remove(folder + "/x")
        return "yes"
    except OSError as error:
        return error.errno
"""
    folders = ["/tmp", "/run/algo", "/workspace", "/usr/bin", "/etc", "/", "/var/tmp", "/run"]
    found = ask(place, f"[try_to_write(folder) for folder in {folders}]", BEFORE=before)
    assert found == ["yes", "yes", *[30] * 6]  # EROFS


def test_a_write_to_a_read_only_place_is_told_in_one_sentence(place: DockerPlace) -> None:
    failure = place.refusal(place.store.web(BEFORE="open('/workspace/cache.db', 'w')")).failure
    assert (failure.code, failure.fields) == ("read-only-place", {"path": "/workspace/cache.db", "how": "status 1"})
    assert "may not write at /workspace/cache.db: a release writes below $TMPDIR alone" in explain.sentence(failure)


def test_neither_the_engine_nor_the_server_can_be_seen(place: DockerPlace) -> None:
    probe = (
        "[os.path.exists(p) for p in ('/var/run/docker.sock', '/run/docker.sock', "
        f"{str(place.store.settings.state)!r}, {place.real.host.removeprefix('unix://')!r})]"
    )
    assert ask(place, probe) == [False] * 4


def test_who_fills_this_machines_disk_through_its_folder_is_ended(place: DockerPlace) -> None:
    code = """
import threading
def fill():
    with open("/run/algo/junk", "wb") as file:
        for _ in range(100):
            file.write(b"x" * 2**20)
        os.fsync(file.fileno())
threading.Timer(0.5, fill).start()
"""
    spec = place.store.web(BEFORE=code)
    place.target.start(spec, quiet)
    pid = place.pid("r1")
    place.target.keep(spec)
    log = place.store.settings.app_log(1)
    assert within(
        20, lambda: "[main r1] filled /run/algo with more than 64 MiB or 1000 files; ended" in log.read_text()
    )
    assert within(5, lambda: not Path(f"/proc/{pid}").exists())
    assert within(30, lambda: place.pid("r1") != pid)
    assert log.read_text().count("[main r1] ended with signal 9; starting again in 0.1 s") == 1


def test_memory_and_processes_are_limited(place: DockerPlace) -> None:
    place.target.start(replace(place.store.shim(), memory_mib=128), quiet)
    (state,) = place.containers()
    limits = place.real.docker("inspect", state.id, "--format", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} "
                               "{{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}")  # fmt: skip
    assert limits.split() == [str(128 * 2**20), str(128 * 2**20), "1024", "no"]


def test_the_environment_is_made_from_nothing(place: DockerPlace) -> None:
    spec = place.store.web(
        PROBE="dict(os.environ)", PORT="1", ALGO_BIND="x", LD_PRELOAD="/x.so", ALGO_WORKERS="2", MINE="1",
        PYTHONPATH="/opt/mine",
    )  # fmt: skip
    env = ask(place, "", spec)
    assert isinstance(env, dict)
    env.pop("HOSTNAME", None)  # the engine's own
    assert env.pop("PROBE")
    assert env.pop("ALGO_INSTANCE").endswith("/r1")
    assert env == {
        "ALGO_BIND": "0.0.0.0:8080", "ALGO_MAX_BODY_BYTES": "104857600", "ALGO_MODEL_NAME": "app1",
        "ALGO_MODEL_VERSION": "main r1", "ALGO_OWNER": "alice", "ALGO_READY_FILE": "/run/algo/ready.json",
        "ALGO_READY_TIMEOUT": "30",
        "ALGO_TERMINATION_LOG": "/run/algo/termination.json", "ALGO_WORKERS": "2", "HOME": "/tmp", "HOST": "0.0.0.0",
        "LANG": "C.UTF-8", "MINE": "1", "PATH": "/usr/local/bin:/usr/bin:/bin", "PORT": "8080",
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "/workspace/lib:/opt/mine", "PYTHONUNBUFFERED": "1",
        "TMPDIR": "/tmp",
    }  # fmt: skip


# -- neighbours --------------------------------------------------------------------------------------------------------

KNOCK = """
import socket
def knock(address, port=8080):
    try:
        socket.create_connection((address, port), timeout=2).close()
        return True
    except OSError:
        return False
"""


def test_another_app_is_out_of_reach_and_another_release_of_the_app_is_not(place: DockerPlace) -> None:
    place.target.start(place.store.web("r1", app_id=1), quiet)
    (first,) = place.containers()
    address = place.real.docker(
        "inspect", first.id, "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    )
    probe = f"knock({address!r})"
    foreign = ask(place, "", place.store.web("r2", app_id=2, BEFORE=KNOCK, PROBE=probe))
    own = ask(place, "", place.store.web("r3", app_id=1, BEFORE=KNOCK, PROBE=probe))
    assert (foreign, own) == (False, True)
    assert sorted(place.networks()) == [place.naming.network(1), place.naming.network(2)]


def test_the_network_of_an_app_goes_with_its_last_instance(place: DockerPlace) -> None:
    for instance in ("r1", "r2"):
        place.target.start(place.store.shim(instance), quiet)
    place.target.stop("r1", grace_s=1)
    assert place.networks() == [place.naming.network(1)]
    place.target.stop("r2", grace_s=1)
    assert place.networks() == []


def test_a_port_is_published_for_this_machine_alone_and_stays(place: DockerPlace) -> None:
    spec = place.store.web()
    address = place.target.start(spec, quiet).address
    (state,) = place.containers()
    assert place.real.docker("port", state.id) == f"8080/tcp -> {address.removeprefix('tcp:')}"
    place.target.keep(spec)
    os.kill(place.pid("r1"), signal.SIGKILL)
    assert within(30, lambda: place.target.find("r1") is not None and place.pid("r1") != state.pid)
    assert place.target.find("r1").address == address  # type: ignore[union-attr]  # it was found a line above


# -- refused -----------------------------------------------------------------------------------------------------------


def test_who_listens_on_loopback_only_is_told_to_listen_on_all(place: DockerPlace) -> None:
    failure = place.refusal(place.store.web(ON="127.0.0.1")).failure
    assert (failure.code, failure.fields, failure.log) == ("loopback-only", {"port": 8080}, ("listening",))
    assert "0.0.0.0" in explain.sentence(failure)


def test_loopback_on_another_port_is_a_wrong_port(place: DockerPlace) -> None:
    failure = place.refusal(replace(place.store.web(ON="127.0.0.1", LISTEN="5000"), ready_timeout_s=2)).failure
    assert (failure.code, failure.fields) == ("wrong-port", {"expected": 8080, "found": 5000})


@pytest.mark.parametrize("words", [["no-such-program"], ["no-such-program", "_gitserver_runtime"]])
def test_a_command_that_is_not_there_says_so(place: DockerPlace, words: list[str]) -> None:
    failure = place.refusal(place.store.spec("r1", place.store.image({}, words))).failure
    assert (failure.code, failure.fields) == ("start-crashed", {"how": "status 127"})
    assert "no-such-program" in failure.log[-1]
    assert "No such file or directory" in failure.log[-1]


def test_an_image_for_other_machines_is_refused_before_anything_is_made(place: DockerPlace) -> None:
    other = "arm64" if place.engine.facts().arch == "amd64" else "amd64"
    target = DockerTarget(
        place.store.settings, place.engine, lambda document: make_outbound(document, arch=other), command
    )
    try:
        with pytest.raises(Problem) as caught:
            target.start(place.store.shim(), quiet)
    finally:
        end(target)
    assert caught.value.failure.code == "wrong-architecture"
    assert caught.value.failure.fields == {"image": other, "engine": place.engine.facts().arch}
    assert list(place.containers()) == []


def test_an_image_that_somebody_removed_is_brought_again(place: DockerPlace) -> None:
    spec = place.store.shim(MINE="1")
    place.target.start(spec, quiet)
    (state,) = place.containers()
    place.target.stop("r1", grace_s=1)
    place.real.docker("rmi", "--force", state.image)
    said: list[str] = []
    assert call(place.target.start(spec, said.append).address).startswith("pid ")
    assert [line for line in said if re.fullmatch(r"Image: 1 layer new, [0-9]+ kB sent to the engine", line)]


# -- kept and ended ----------------------------------------------------------------------------------------------------


def test_stop_ends_everything_in_the_container(place: DockerPlace) -> None:
    code = "import subprocess; CHILD = subprocess.Popen(['sleep', '600'], start_new_session=True)"
    place.target.start(place.store.web(BEFORE=code), quiet)
    (state,) = place.containers()
    found = [
        int(pid) for pid in place.real.docker("top", state.id, "-o", "pid").splitlines()[1:]
    ]  # pids of this machine
    assert len(found) == 3  # init, the web process, its child
    place.target.stop("r1", grace_s=1)
    assert list(place.containers()) == []
    assert within(2, lambda: not any(Path(f"/proc/{pid}").exists() for pid in found))


def test_a_web_process_that_knows_nothing_of_signals_ends_at_once(place: DockerPlace) -> None:
    place.target.start(place.store.web(), quiet)
    began = time.monotonic()
    place.target.stop("r1", grace_s=30)
    assert time.monotonic() - began < 15


def test_more_memory_than_allowed_while_it_serves_is_told_and_mended(place: DockerPlace) -> None:
    code = "import threading; threading.Timer(2, lambda: bytearray(400 * 2**20)).start()"
    spec = replace(place.store.web(BEFORE=code), memory_mib=96)
    place.target.start(spec, quiet)
    place.target.keep(spec)
    log = place.store.settings.app_log(1)
    assert within(30, lambda: "ended: more than its 96 MiB of memory; starting again in 0.1 s" in log.read_text())
    assert within(30, lambda: "runs again" in log.read_text())


def test_stop_of_one_that_crashes_again_and_again_leaves_nothing(place: DockerPlace) -> None:
    spec = place.store.shim()
    place.target.start(spec, quiet)
    place.target.keep(spec)
    place.store.break_shim(spec)
    os.kill(place.pid("r1"), signal.SIGKILL)
    log = place.store.settings.app_log(1)
    assert within(30, lambda: log.read_text().count("did not start again") >= 2)
    place.target.stop("r1", grace_s=1)
    time.sleep(1)
    assert place.target.instances() == ()
    assert list(place.containers()) == []
    assert place.networks() == []


def test_stop_in_the_middle_of_a_restart_ends_that_too(place: DockerPlace) -> None:
    spec = place.store.web(PROBE="1")
    place.target.start(spec, quiet)
    place.target.keep(spec)
    for _ in range(3):
        assert within(30, lambda: place.target.find("r1") is not None)
        os.kill(place.pid("r1"), signal.SIGKILL)
    assert within(5, lambda: place.target.find("r1") is None)
    time.sleep(0.2)
    assert place.target.instances() == ("r1",)
    place.target.stop("r1", grace_s=1)
    time.sleep(1)
    assert place.target.instances() == ()
    assert list(place.containers()) == []


# -- who outlives whom -------------------------------------------------------------------------------------------------

COUNTING = """
import threading
def count():
    for number in range(100000):
        print("line", number, flush=True)
        time.sleep(0.002)
threading.Thread(target=count, daemon=True).start()
"""


def test_instances_outlive_their_worker_and_are_found_again_with_every_line_once(place: DockerPlace) -> None:
    shim = place.target.start(place.store.shim("r1", BEFORE=COUNTING), quiet)
    web = place.target.start(place.store.web("r2", PROBE="os.getpid()"), quiet)
    before = [place.pid("r1"), place.pid("r2")]
    place.restart_worker()
    assert place.target.instances() == ("r1", "r2")
    assert [place.target.find("r1"), place.target.find("r2")] == [shim, web]
    assert [place.pid("r1"), place.pid("r2")] == before
    assert call(web.address)
    place.target.keep(place.store.shim("r1"))
    time.sleep(1)
    os.kill(before[0], signal.SIGKILL)
    assert within(30, lambda: place.target.find("r1") is not None and place.pid("r1") != before[0])
    lines = re.findall(r"line ([0-9]+)$", place.store.settings.app_log(1).read_text(), re.MULTILINE)
    assert len(lines) > 100  # a busy machine writes fewer
    assert [int(line) for line in lines] == list(range(len(lines)))
    place.target.stop("r2", grace_s=1)
    assert place.target.instances() == ("r1",)


WORKER = """
import sys, time
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests/contract"]
from pathlib import Path
from tests.contract.docker_house import DockerPlace
from tests.contract.targets_house import make_settings
place = DockerPlace(make_settings(Path(sys.argv[2])))
print(place.target.start(place.store.shim("r1"), print).address, flush=True)
print("starting", flush=True)
place.target.start(place.store.shim("r2", BEFORE="time.sleep(600)"), print)
"""


def test_a_half_started_container_of_a_killed_worker_goes_and_the_ready_one_stays(place: DockerPlace) -> None:
    argv = [sys.executable, "-c", WORKER, str(ROOT), str(place.store.settings.state)]
    environment = {**os.environ, "DOCKER_HOST": place.real.host, "TMPDIR": str(place.store.settings.state)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as worker:
        assert worker.stdout is not None
        said = [worker.stdout.readline()]
        while said[-1] != "starting\n":
            assert said[-1], "the worker ended"
            said.append(worker.stdout.readline())
        assert within(30, lambda: len(place.containers()) == 2 and place.pid("r2") > 0)
        worker.kill()
    address = next(line.strip() for line in said if line.startswith("unix:"))
    place.restart_worker()
    assert place.target.instances() == ("r1",)
    assert [state.name for state in place.containers()] == [place.naming.container("r1")]
    assert call(address).startswith("pid ")
    assert [path.name for path in (place.store.settings.run_dir / "instances").iterdir()] == ["r1"]


def test_containers_of_others_are_never_touched(place: DockerPlace, tmp_path: Path) -> None:
    place.target.start(place.store.shim(), quiet)
    image = place.containers()[0].image
    foreign = {
        "algo-e-plain": [],
        "algo-e-build": ["--label", f"algo.server={place.naming.mark}"],
        "algo-e-other": ["--label", "algo.server=0123456789ab", "--label", "algo.instance=r1"],
    }
    ids = {
        name: place.real.docker("run", "-d", "--name", name, *labels, "--entrypoint", "sleep", image, "600")
        for name, labels in foreign.items()
    }
    neighbour = DockerPlace(make_settings(tmp_path / "neighbour"), place.real)
    try:
        neighbour.target.start(neighbour.store.shim(), quiet)
        place.restart_worker()
        place.target.stop("r1", grace_s=1)
        assert place.target.instances() == ()
        for name, id_ in ids.items():
            state = place.engine.inspect(name)
            assert state is not None
            assert (state.id, state.is_running) == (id_, True)
        assert neighbour.target.find("r1") is not None
        assert call(neighbour.target.find("r1").address).startswith("pid ")  # type: ignore[union-attr]  # it was found
    finally:
        neighbour.close()
        place.real.docker("rm", "--force", *foreign)


def test_two_starts_of_one_instance_make_one_container(place: DockerPlace) -> None:
    spec = place.store.shim()
    addresses: list[str] = []
    threads = [
        threading.Thread(target=lambda: addresses.append(place.target.start(spec, quiet).address)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(addresses) == 3
    assert len(set(addresses)) == 1
    assert len(place.containers()) == 1


def test_the_last_words_of_a_stopped_instance_are_in_the_log(place: DockerPlace) -> None:
    code = "signal.signal(signal.SIGTERM, lambda *_: (print('good bye', flush=True), sys.exit(0)))"
    place.target.start(place.store.shim(BEFORE=LAST_WORDS + code), quiet)
    place.target.stop("r1", grace_s=5)
    assert place.store.settings.app_log(1).read_text().count("[main r1] good bye\n") == 1
