"""Children of a build in containers of a real engine: what they say, what they see, how they end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from buildpacks.order import BuildFailed
from gitserver.targets.build_lines import MAX_LINE_BYTES
from gitserver.targets.build_runner import WHEEL_UID
from gitserver.targets.container_runner import LABEL, BuildSite, sweep
from gitserver.targets.containers import ContainerSpec
from gitserver.targets.engine import DockerEngine
from gitserver.targets.environment import server_mark
from tests.contract.build_house import Kitchen, make_site, needs_root
from tests.services.engines import graphdriver_engine


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    with closing(DockerEngine(graphdriver_engine().host)) as found:
        yield found


@pytest.fixture(scope="module")
def site(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> BuildSite:
    return make_site(engine, tmp_path_factory.mktemp("stack"))


@pytest.fixture
def kitchen(tmp_path: Path, engine: DockerEngine, site: BuildSite) -> Iterator[Kitchen]:
    made = Kitchen(tmp_path, engine, site)
    yield made
    assert made.left() == []


# -- what they say, how they end


def test_lines_arrive_as_they_are_written_and_the_status_is_the_childs(kitchen: Kitchen) -> None:
    code = "import sys; print('one', flush=True); print('two', file=sys.stderr); print('no end', end=''); sys.exit(7)"
    assert kitchen.run(code) == 7
    assert sorted(kitchen.lines) == ["no end", "one", "two"]


def test_a_child_that_a_signal_ended_says_which(kitchen: Kitchen) -> None:
    assert kitchen.run("import os; os.kill(os.getpid(), 15)") == 143


def test_a_command_that_is_not_there_says_so(kitchen: Kitchen) -> None:
    assert kitchen.child(["/usr/bin/nothing-here"]) == 127
    assert kitchen.lines == ["/usr/bin/nothing-here could not be started: No such file or directory"]


def test_sec_08_control_bytes_are_taken_out_and_long_lines_are_cut(kitchen: Kitchen) -> None:
    code = "import sys; sys.stdout.buffer.write(b'\\x1b[31mred\\x07\\r\\n' + b'x' * 40000 + b'\\nno end')"
    assert kitchen.run(code) == 0
    assert kitchen.lines[0] == "[31mred"
    assert [len(line) for line in kitchen.lines[1:4]] == [MAX_LINE_BYTES, MAX_LINE_BYTES, 40000 - 2 * MAX_LINE_BYTES]
    assert kitchen.lines[-1] == "no end"


def test_its_time_ends_all_of_it_and_the_container_is_gone(kitchen: Kitchen) -> None:
    began = time.monotonic()
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("import os, time; os.fork() or os.setsid(); time.sleep(60)", timeout_s=3)
    assert (caught.value.code, caught.value.fields) == ("build-timeout", {"seconds": 3})
    assert time.monotonic() - began < 15


def test_a_cancelled_build_ends_at_once(kitchen: Kitchen) -> None:
    threading.Timer(2, kitchen.cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("import time; time.sleep(60)")
    assert caught.value.code == "cancelled"
    assert time.monotonic() - began < 15


def test_a_daemon_that_a_build_leaves_behind_neither_delays_nor_outlives_it(kitchen: Kitchen) -> None:
    began = time.monotonic()
    assert kitchen.run("import os, time; os.fork() or (os.setsid(), time.sleep(60)); time.sleep(0.3)") == 0
    assert time.monotonic() - began < 20


def test_a_build_that_takes_too_much_memory_is_told_so(kitchen: Kitchen) -> None:
    kitchen.memory_mib = 64
    with pytest.raises(BuildFailed) as caught:
        kitchen.run("x = bytearray(400 * 2**20); import time; time.sleep(30)")
    assert (caught.value.code, caught.value.fields) == ("build-memory", {"limit_mib": 64})


def test_what_a_dead_worker_left_is_removed_and_containers_of_others_stay(kitchen: Kitchen) -> None:
    def container(name: str, mark: str) -> str:
        spec = ContainerSpec(
            name=name, image=kitchen.site.image, argv=["/bin/sleep", "60"], env={}, cwd="/", user="65534:65534",
            labels={LABEL: mark}, network="none", memory_mib=64, processes=16,
        )  # fmt: skip
        made = kitchen.engine.create(spec)
        kitchen.engine.start(made)
        return made

    mark = server_mark(kitchen.settings.state)
    foreign = container(f"fhelper-foreign-{os.getpid()}", "0123456789ab")
    try:
        container(f"fhelper-left-{os.getpid()}", mark)
        assert sweep(kitchen.settings, kitchen.engine) == 1
        assert kitchen.left() == []
        state = kitchen.engine.inspect(foreign)
        assert state is not None
        assert state.is_running
    finally:
        kitchen.engine.remove(foreign)


# -- what they see


@needs_root
def test_sec_32_a_build_container_owns_nothing_but_its_workspace(kitchen: Kitchen) -> None:
    code = """
import os
print(os.getresuid(), os.getresgid(), len([p for p in os.listdir("/proc") if p.isdigit()]))
lines = dict(l.split(":", 1) for l in open("/proc/self/status").read().splitlines())
print([lines[n].strip() for n in ("CapEff", "CapBnd", "NoNewPrivs")])
print([os.path.exists(p) for p in ("/run/docker.sock", "/var/run/docker.sock")])
for path in ("/made", "/usr/made", "/etc/made", "/root/made"):
    try:
        open(path, "w")
    except OSError as error:
        print(error.errno)
open("made", "w").close()
open("/tmp/made", "w").close()
"""
    assert kitchen.run(code) == 0
    *seen, caps, sockets, _, _, _, _ = kitchen.lines
    assert seen == ["(20003, 20003, 20003) (20003, 20003, 20003) 2"]
    assert (caps, sockets) == ("['0000000000000000', '0000000000000000', '1']", "[False, False]")
    assert set(kitchen.lines[3:]) <= {"30", "13"}
    assert (kitchen.work / "made").stat().st_uid == 20003


@needs_root
def test_a_child_that_executes_nothing_of_the_repository_has_the_wheel_cache_user(kitchen: Kitchen) -> None:
    assert kitchen.run("import os; print(os.getuid())", trusted=True) == 0
    assert kitchen.lines == [str(WHEEL_UID)]


def test_sec_33_neither_the_servers_files_nor_the_operators_passwords_reach_a_build(kitchen: Kitchen) -> None:
    secret = kitchen.settings.state / "owner-token"
    secret.write_text("CANARY")
    os.environ["CANARY_OF_THE_SERVER"] = "CANARY"
    code = f"""
import os
print(sorted(os.environ.items()))
for path in ({str(secret)!r}, "/root/.netrc", "/root/.docker/config.json"):
    try:
        print(open(path).read())
    except OSError as error:
        print(type(error).__name__)
"""
    try:
        index = "https://reader:CANARY@index.example/simple"
        assert kitchen.run(code, UV_DEFAULT_INDEX=index, UV_INDEX=f"one={index} two={index}") == 0
    finally:
        del os.environ["CANARY_OF_THE_SERVER"]
    assert "https://index.example/simple" in kitchen.lines[0]
    assert "CANARY" not in "".join(kitchen.lines)
    assert set(kitchen.lines[1:]) <= {"FileNotFoundError", "PermissionError"}


def test_what_is_only_readable_is_not_written(kitchen: Kitchen) -> None:
    tool = kitchen.settings.state / "tool"
    tool.mkdir()
    (tool / "file").write_text("as it was")
    tool.chmod(0o777)
    code = f"import os; print(open({str(tool / 'file')!r}).read(), flush=True); os.mkdir({str(tool / 'made')!r})"
    assert kitchen.child([kitchen.site.python, "-c", code], (tool,)) == 1
    assert "as it was" in kitchen.lines  # two pipes have no order
    assert any("Read-only file system" in line for line in kitchen.lines)


def test_the_servers_usr_bin_never_hides_the_images_own(kitchen: Kitchen) -> None:
    assert kitchen.child([kitchen.site.python, "-c", "print('here')"], (Path("/usr/bin"), Path("/usr"))) == 0
    assert kitchen.lines == ["here"]
