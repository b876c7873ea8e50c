"""Containers, logs and networks of real engines, as the docker target asks for them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from gitserver.errors import Problem
from gitserver.targets.containers import ContainerSpec, Mount
from gitserver.targets.engine import DockerEngine
from tests.services import handmade
from tests.services.engines import TestEngine, containerd_engine, graphdriver_engine
from tests.services.waiting import eventually, free_port

MARK = f"boxes-{os.getpid()}"
LABELS: Mapping[str, str] = {"algo.test": MARK}


@pytest.fixture(scope="module", params=["graphdriver", "containerd"])
def real(request: pytest.FixtureRequest) -> TestEngine:
    """The engine itself, as its owner speaks to it."""
    return graphdriver_engine() if request.param == "graphdriver" else containerd_engine()


@pytest.fixture(scope="module")
def engine(real: TestEngine) -> Iterator[DockerEngine]:
    made = DockerEngine(real.host)
    yield made
    for image in made.images(LABELS):
        made.remove_image(image.id)
    made.close()


@pytest.fixture(scope="module")
def image_id(engine: DockerEngine) -> str:
    made = handmade.image([handmade.base()], labels=LABELS, config={"Cmd": ["/never"], "Env": ["FROM_IMAGE=1"]})
    return engine.ensure(made, f"algo/{MARK}:base", lambda _: None).image


@pytest.fixture
def spec(engine: DockerEngine, image_id: str) -> Iterator[ContainerSpec]:
    """A container that sleeps; whatever a test made under our label is gone after it."""
    yield ContainerSpec(
        name=f"algo-{MARK}", image=image_id, argv=["sleep", "60"], env={"A": "1"}, cwd="/", user="20001:20001",
        labels=LABELS, network="none", memory_mib=64, processes=20,
    )  # fmt: skip
    for state in engine.containers(LABELS):
        engine.remove(state.id)


def run(engine: DockerEngine, spec: ContainerSpec, script: str) -> list[str]:
    """The lines that a script writes in such a container."""
    container = engine.create(replace(spec, argv=["sh", "-c", script]))
    engine.start(container)
    assert engine.wait(container, 30) is not None
    return [line.decode() for _, line in engine.follow(container, None)]


def test_a_container_has_what_it_was_given_and_no_more(engine: DockerEngine, spec: ContainerSpec) -> None:
    script = "id -u; id -g; echo $A; echo $FROM_IMAGE; echo $PWD; cat /proc/self/status"
    lines = run(engine, replace(spec, cwd="/etc"), script)
    assert lines[:5] == ["20001", "20001", "1", "1", "/etc"]
    status = dict(line.split(":", 1) for line in lines[5:])
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


def test_a_container_writes_to_its_tmpfs_and_its_mounts_alone(
    engine: DockerEngine, spec: ContainerSpec, tmp_path: Path
) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o755)
    mounts = [
        Mount(host_path=tmp_path / "open", path="/run/open", read_only=False),
        Mount(host_path=tmp_path / "closed", path="/run/closed", read_only=True),
    ]
    places = "/tmp /run/open /run/closed /etc /"
    lines = run(
        engine,
        replace(spec, mounts=mounts, tmpfs={"/tmp": "size=1m,mode=1777"}),
        f"for place in {places}; do if echo x > $place/f; then echo yes; else echo no; fi; done 2>/dev/null",
    )
    assert lines == ["yes", "yes", "no", "no", "no"]
    assert (tmp_path / "open/f").read_text() == "x\n"


def test_a_port_is_reached_on_this_machine_alone(engine: DockerEngine, spec: ContainerSpec, real: TestEngine) -> None:
    port = free_port()
    name = f"algo-{MARK}"
    engine.ensure_network(name, LABELS)
    container = engine.create(replace(spec, network=name, publish={8080: port}))
    engine.start(container)
    bound = real.docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", container)
    assert bound == f'{{"8080/tcp":[{{"HostIp":"127.0.0.1","HostPort":"{port}"}}]}}'
    with pytest.raises((URLError, ConnectionError)):  # taken by the engine's proxy; nothing listens behind it
        urlopen(f"http://127.0.0.1:{port}/", timeout=5)
    engine.remove(container)
    engine.remove_network(name)


def test_more_memory_than_allowed_ends_it_and_the_engine_says_why(engine: DockerEngine, spec: ContainerSpec) -> None:
    if not engine.facts().has_limits:
        pytest.skip("this engine cannot limit memory")
    container = engine.create(replace(spec, argv=["tail", "/dev/zero"], memory_mib=16))
    engine.start(container)
    assert engine.wait(container, 30) == 137

    def seen() -> tuple[bool, int, int | None, bool]:
        state = engine.inspect(container)
        assert state is not None
        return state.is_running, state.pid, state.exit_status, state.was_oom_killed

    # The end and its cause are two events of containerd's, and a busy engine writes down the second one later.
    eventually(lambda: seen()[3], within_s=10, what="the engine says that memory ran out")
    assert seen() == (False, 0, 137, True)


def test_a_running_container_is_seen_signalled_and_removed(engine: DockerEngine, spec: ContainerSpec) -> None:
    # An init, for the kernel gives process 1 no signal that it does not wait for.
    container = engine.create(replace(spec, init=True))
    created = engine.inspect(container)
    assert created is not None
    assert (created.is_running, created.started_at) == (False, None)
    engine.start(container)
    state = engine.inspect(spec.name)
    assert state is not None
    assert (state.id, state.name, state.image) == (container, spec.name, spec.image)
    assert state.is_running
    assert Path(f"/proc/{state.pid}").exists()
    assert state.started_at is not None
    assert [one.id for one in engine.containers({"algo.test": MARK})] == [container]
    assert [one.id for one in engine.containers({"algo.test": "", "algo.nobody": ""})] == []
    began = time.monotonic()
    assert engine.wait(container, 0.3) is None
    assert time.monotonic() - began < 5
    engine.kill(container, "SIGTERM")
    assert engine.wait(container, 30) == 143
    engine.kill(container, "SIGKILL")
    engine.remove(container)
    engine.remove(container)
    engine.kill(container, "SIGKILL")
    assert engine.inspect(container) is None
    assert not Path(f"/proc/{state.pid}").exists()


def test_an_image_that_a_container_uses_stays(engine: DockerEngine, spec: ContainerSpec) -> None:
    container = engine.create(spec)
    with pytest.raises(Problem) as refused:
        engine.remove_image(spec.image)
    assert refused.value.failure.code == "engine-refused"
    assert engine.image(spec.image) is not None
    engine.start(container)


def test_a_container_of_our_name_is_made_anew_and_one_of_others_stays(
    engine: DockerEngine, spec: ContainerSpec, real: TestEngine
) -> None:
    first = engine.create(spec)
    engine.start(first)
    second = engine.create(spec)
    assert engine.inspect(first) is None
    theirs = replace(spec, labels={**LABELS, "algo.owner": "another server"})
    with pytest.raises(Problem) as refused:
        engine.create(theirs)
    assert refused.value.failure.code == "engine-refused"
    assert refused.value.failure.fields["detail"] == (
        f"another container is called {spec.name}, and it is not this server's"
    )
    assert engine.inspect(second) is not None


def test_a_command_that_is_not_there_is_refused_in_the_engines_words(engine: DockerEngine, spec: ContainerSpec) -> None:
    container = engine.create(replace(spec, argv=["/no/such/program"]))
    with pytest.raises(Problem) as refused:
        engine.start(container)
    assert refused.value.failure.code == "engine-refused"
    assert refused.value.failure.fields["step"] == "start the container"
    assert "/no/such/program" in str(refused.value.failure.fields["detail"])


def test_an_image_that_is_not_there_is_refused(engine: DockerEngine, spec: ContainerSpec) -> None:
    with pytest.raises(Problem) as refused:
        engine.create(replace(spec, image=f"sha256:{'0' * 64}"))
    assert refused.value.failure.code == "engine-refused"
    assert "no such image" in str(refused.value.failure.fields["detail"]).lower()


def test_lines_come_with_their_time_and_a_follower_goes_on_where_it_was(
    engine: DockerEngine, spec: ContainerSpec
) -> None:
    container = engine.create(
        replace(spec, argv=["sh", "-c", "echo one; sleep 0.2; echo two >&2; sleep 0.2; echo three; echo; sleep 0.2"])
    )
    engine.start(container)
    lines = list(engine.follow(container, None))
    assert [line for _, line in lines] == [b"one", b"two", b"three", b""]
    assert [at for at, _ in lines] == sorted(at for at, _ in lines)
    assert [line for _, line in engine.follow(container, lines[1][0])] == [b"two", b"three", b""]
    state = engine.inspect(container)
    assert state is not None
    assert state.started_at is not None
    assert abs((lines[0][0] - state.started_at).total_seconds()) < 5


def test_a_long_line_comes_whole_and_an_endless_one_in_pieces(engine: DockerEngine, spec: ContainerSpec) -> None:
    lines = run(engine, spec, "head -c 40000 /dev/zero; echo; echo next; head -c 200000 /dev/zero")
    assert [len(line) for line in lines[:2]] == [40_000, len("next")]
    assert sum(len(line) for line in lines[2:]) == 200_000
    assert max(len(line) for line in lines[2:]) < 100_000


def test_a_follower_ends_with_the_container_and_with_the_door(real: TestEngine, spec: ContainerSpec) -> None:
    engine = DockerEngine(real.host)
    container = engine.create(replace(spec, argv=["sh", "-c", "echo up; sleep 60"]))
    engine.start(container)
    seen = list[bytes]()
    ends = [threading.Thread(target=lambda: seen.extend(line for _, line in engine.follow(container, None)))]
    ends[0].start()
    eventually(lambda: seen == [b"up"], within_s=10, what="the line is there")
    engine.kill(container, "SIGKILL")
    ends[0].join(10)
    assert not ends[0].is_alive()
    engine.start(container)
    ends.append(threading.Thread(target=lambda: seen.extend(line for _, line in engine.follow(container, None))))
    ends[1].start()
    eventually(lambda: len(seen) >= 3, within_s=10, what="the lines come again")
    engine.close()
    ends[1].join(10)
    assert not ends[1].is_alive()
    assert list(engine.follow(container, None)) == []
    assert list(engine.follow("nobody", None)) == []


def test_a_network_is_made_once_and_stays_while_something_is_in_it(engine: DockerEngine, spec: ContainerSpec) -> None:
    name = f"algo-{MARK}-net"
    engine.ensure_network(name, LABELS)
    engine.ensure_network(name, LABELS)
    with pytest.raises(Problem) as theirs:
        engine.ensure_network(name, {"algo.owner": "another server"})
    assert theirs.value.failure.code == "engine-refused"
    container = engine.create(replace(spec, network=name))
    engine.start(container)
    with pytest.raises(Problem) as busy:
        engine.remove_network(name)
    assert busy.value.failure.code == "engine-refused"
    engine.remove(container)
    engine.remove_network(name)
    engine.remove_network(name)


def test_there_is_a_network_for_more_apps_than_an_engine_has_room_for(engine: DockerEngine) -> None:
    names = [f"algo-{MARK}-{number}" for number in range(36)]
    try:
        for name in names:
            engine.ensure_network(name, LABELS)
    finally:
        for name in names:
            engine.remove_network(name)
