"""What is removed from an engine, when, and what never is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from gitserver.targets.docker_leftovers import Leftovers, Networks
from gitserver.targets.docker_plan import INSTANCE_LABEL, SERVER_LABEL, Naming
from tests.services.fake_engine import FakeEngine

NAMING = Naming(mark="0123456789ab")


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def leftovers(engine: FakeEngine) -> Iterator[Leftovers]:
    made = Leftovers(engine, NAMING)
    yield made
    made.close()


def ours(engine: FakeEngine, instance: str) -> str:
    return engine.add(NAMING.container(instance), {SERVER_LABEL: NAMING.mark, INSTANCE_LABEL: instance})


def soon(condition: Callable[[], bool]) -> bool:
    deadline_at = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline_at:
            return False
        time.sleep(0.02)
    return True


def test_a_sweep_removes_this_servers_strays_and_nothing_else(engine: FakeEngine, leftovers: Leftovers) -> None:
    stray, adopted, new = ours(engine, "r1"), ours(engine, "r2"), ours(engine, "r3")
    plain = engine.add("web", {})
    build = engine.add("build", {SERVER_LABEL: NAMING.mark})
    other = engine.add("other", {SERVER_LABEL: "ffffffffffff", INSTANCE_LABEL: "r1"})
    leftovers.spare(NAMING.container("r3"))
    leftovers.sweep(["r2"])
    assert stray not in engine.boxes
    assert set(engine.boxes) == {adopted, new, plain, build, other}


def test_what_an_engine_that_is_down_keeps_is_removed_when_it_is_back(engine: FakeEngine, leftovers: Leftovers) -> None:
    doomed, stray, serving = ours(engine, "r1"), ours(engine, "r2"), ours(engine, "r3")
    engine.is_down = True
    leftovers.remove(doomed)
    leftovers.sweep(["r3"])
    assert set(engine.boxes) == {doomed, stray, serving}
    leftovers.spare(NAMING.container("r4"))
    engine.is_down = False
    new = ours(engine, "r4")
    assert soon(lambda: set(engine.boxes) == {serving, new})


def test_the_last_instance_takes_its_apps_network_along(engine: FakeEngine) -> None:
    networks = Networks(engine, NAMING)
    networks.join(7, "r1")
    networks.adopt(7, "r2")
    networks.join(8, "r3")
    networks.leave("r1")
    assert set(engine.networks) == {NAMING.network(7), NAMING.network(8)}
    networks.leave("r2")
    networks.leave("r2")
    networks.leave("never-joined")
    assert set(engine.networks) == {NAMING.network(8)}


def test_a_network_in_use_and_an_engine_that_is_down_make_no_trouble(engine: FakeEngine) -> None:
    networks = Networks(engine, NAMING)
    networks.join(7, "r1")
    engine.busy.add(NAMING.network(7))
    networks.leave("r1")
    engine.busy.clear()
    networks.join(7, "r2")
    engine.is_down = True
    networks.leave("r2")
    assert set(engine.networks) == {NAMING.network(7)}
