"""The tools of the tests on containers, held to a real engine and real sockets."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest

from tests.services.containers import foreign_image
from tests.services.counting import CountingSocket
from tests.services.engines import TestEngine, graphdriver_engine
from tests.services.targets import Docker, Model, kill_one
from tests.services.waiting import eventually


@pytest.fixture(scope="module")
def engine() -> TestEngine:
    """The session's engine."""
    return graphdriver_engine()


def test_containers_are_found_by_the_folder_they_were_given_killed_and_removed(
    engine: TestEngine, tmp_path: Path
) -> None:
    ground, state = Docker(engine.host), tmp_path / "state"
    mark = hashlib.sha256(bytes(state)).hexdigest()[:12]
    image = foreign_image(engine.host, tmp_path / "files", "algo-test/tools:1")
    (state / "run").mkdir(parents=True)
    client = ground.containers.client
    network = client.networks.create(f"algo-test-tools-{os.getpid()}", labels={"algo.server": mark})
    other = client.containers.run(image, ["/bin/sleep", "600"], detach=True, network_mode="none")
    ours = client.containers.run(
        image, ["/bin/sleep", "600"], detach=True, network=network.name, environment={"ALGO_MODEL_NAME": "iris"},
        volumes=[f"{state / 'run'}:/run/algo"],
    )  # fmt: skip
    try:
        assert [box.id for box in ground.containers.of(state)] == [ours.id]
        (model,) = ground.models(state, "iris")
        assert ground.models(state, "another") == []
        assert isinstance(model, Model)
        kill_one(model)
        eventually(lambda: ground.models(state, "iris") == [], within_s=20, what="the killed model is seen as dead")
        left = [str(ours.name), f"network {network.name}"]
        assert list(ground.left_over(state)) == left, "an ended container is still something that is left"
        ground.clean(state)
        assert ground.left_over(state) == {}
        assert client.networks.list(names=[str(network.name)]) == []
        other.reload()
        assert other.status == "running"
    finally:
        other.remove(force=True)
        ground.clean(state)
        client.images.remove("algo-test/tools:1", force=True)


def test_a_line_counts_what_is_sent_to_the_other_side_and_can_be_cut(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "far"))
    listener.listen()

    def echo() -> None:
        connection, _ = listener.accept()
        with connection:
            while piece := connection.recv(65536):
                connection.sendall(piece)

    thread = threading.Thread(target=echo)
    thread.start()
    with CountingSocket(tmp_path / "far", tmp_path / "near") as line, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(tmp_path / "near"))
        client.sendall(b"x" * 100_000)
        back = b""
        while len(back) < 100_000:
            back += client.recv(65536)
        assert line.sent == 100_000
        line.cut()
        assert client.recv(1) == b""
    thread.join(10)
    assert not thread.is_alive()
    listener.close()
