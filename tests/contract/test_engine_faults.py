"""Engines that are gone, hang, end in the middle or have no room: a Problem within seconds, and then it goes on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.image.values import ImageLayer
from gitserver.errors import Problem
from gitserver.targets.containers import ContainerSpec
from gitserver.targets.engine import DockerEngine
from tests.services import handmade
from tests.services.engines import TestEngine, own_engine
from tests.services.waiting import eventually

SOON_S = 10.0
NOBODY = 65534


@pytest.fixture(scope="module")
def real() -> Iterator[TestEngine]:
    made = own_engine()
    yield made
    made.close()


@pytest.fixture
def engine(real: TestEngine) -> Iterator[DockerEngine]:
    real.start()
    made = DockerEngine(real.host, timeout_s=2)
    yield made
    made.close()


def failure_of(ask: Callable[[], object]) -> tuple[str, dict[str, object]]:
    """Code and fields of what it fails with, which must not take long."""
    began = time.monotonic()
    with pytest.raises(Problem) as failed:
        ask()
    assert time.monotonic() - began < SOON_S
    return failed.value.failure.code, dict(failed.value.failure.fields)


def during(layer: ImageLayer, act: Callable[[], None]) -> ImageLayer:
    """The layer, and what happens when the first half of it was read."""

    def read() -> Iterator[bytes]:
        chunks = list(layer.read())
        yield from chunks[: len(chunks) // 2]
        act()
        yield from chunks[len(chunks) // 2 :]

    return replace(layer, read=read)


def big_layer(seed: bytes) -> ImageLayer:
    return handmade.layer("deps", {"deps/x": seed * (4 << 20)})


def test_no_engine_is_told_with_its_address(tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/none"
    assert failure_of(DockerEngine(host).facts) == (
        "engine-down", {"host": host, "detail": "there is no such socket"}
    )  # fmt: skip
    assert failure_of(DockerEngine("tcp://127.0.0.1:1").facts) == (
        "engine-down", {"host": "tcp://127.0.0.1:1", "detail": "nothing listens there"}
    )  # fmt: skip


def test_a_socket_that_we_may_not_use_is_told_as_that(real: TestEngine, engine: DockerEngine) -> None:
    engine.facts()
    other = DockerEngine(real.host)
    os.seteuid(NOBODY)
    try:
        code, fields = failure_of(other.facts)
    finally:
        os.seteuid(0)
    assert (code, fields) == ("engine-no-permission", {"host": real.host})


def test_a_restarted_engine_is_asked_again_over_a_new_connection(real: TestEngine, engine: DockerEngine) -> None:
    before = engine.facts()
    assert engine.inspect("nobody") is None
    real.stop()
    assert failure_of(lambda: engine.inspect("nobody"))[0] == "engine-down"
    real.start()
    assert engine.inspect("nobody") is None
    assert engine.facts() == before


def test_an_engine_that_hangs_is_down_after_the_time_for_an_answer(real: TestEngine, engine: DockerEngine) -> None:
    engine.facts()
    real.pause()
    try:
        code, fields = failure_of(lambda: engine.inspect("nobody"))
    finally:
        real.resume()
    assert (code, fields["detail"]) == ("engine-down", "no answer within 2 s")
    assert engine.inspect("nobody") is None


def test_an_engine_killed_during_a_load_is_told_in_seconds_and_takes_the_image_later(
    real: TestEngine, engine: DockerEngine
) -> None:
    image = handmade.image([handmade.base(), during(big_layer(b"k"), real.kill)])
    assert failure_of(lambda: engine.ensure(image, "algo/killed:1", print))[0] == "engine-down"
    real.start()
    assert engine.image("algo/killed:1") is None
    whole = handmade.image([handmade.base(), big_layer(b"k")])
    assert engine.ensure(whole, "algo/killed:1", print).image == whole.image_id


def test_an_engine_stopped_during_a_load_is_told_in_seconds(real: TestEngine, engine: DockerEngine) -> None:
    def stop() -> None:
        stopping.start()
        time.sleep(0.5)

    stopping = threading.Thread(target=real.stop)
    layers = [during(big_layer(b"s"), stop), *(big_layer(bytes([number])) for number in range(8))]
    image = handmade.image([handmade.base(), *layers])
    assert failure_of(lambda: engine.ensure(image, "algo/stopped:1", print))[0] == "engine-down"
    stopping.join(60)
    real.start()
    whole = handmade.image([handmade.base(), big_layer(b"s"), *layers[1:]])
    assert engine.ensure(whole, "algo/stopped:1", print).image == whole.image_id


def test_followers_end_with_their_engine_and_the_container_is_there_after_it(
    real: TestEngine, engine: DockerEngine
) -> None:
    image = engine.ensure(handmade.image([handmade.base()]), "algo/faults:1", print).image
    spec = ContainerSpec(
        name="algo-faults", image=image, argv=["sh", "-c", "echo up; sleep 60"], env={}, cwd="/", user="1:1",
        labels={"algo.test": "faults"}, network="none", memory_mib=32, processes=8, init=True,
    )  # fmt: skip
    container, seen = engine.create(spec), list[bytes]()
    engine.start(container)
    follower = threading.Thread(target=lambda: seen.extend(line for _, line in engine.follow(container, None)))
    follower.start()
    eventually(lambda: seen, within_s=SOON_S, what="the first line")
    real.stop()
    follower.join(SOON_S)
    assert not follower.is_alive()
    assert list(engine.follow(container, None)) == []
    real.start()
    state = engine.inspect(container)
    assert state is not None
    assert not state.is_running
    engine.start(container)
    engine.remove(container)


def test_a_full_disk_of_the_engine_is_told_as_that_and_leaves_nothing() -> None:
    small = own_engine(space_mib=48)
    engine = DockerEngine(small.host)
    try:
        image = handmade.image([handmade.base(), *(big_layer(bytes([number])) for number in range(20))])
        code, fields = failure_of(lambda: engine.ensure(image, "algo/full:1", print))
        assert code == "engine-out-of-space"
        assert "no space left on device" in str(fields["detail"])
        assert engine.image("algo/full:1") is None
        little = handmade.image([handmade.base()])
        assert engine.ensure(little, "algo/full:2", print).image == little.image_id
    finally:
        engine.close()
        small.close()
