"""Images go into real engines of both stores: only what is new moves, and what is not complete is not there."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from buildpacks.image.values import LAYER_GZIP, Blob, ImageLayer, OutboundImage
from buildpacks.order import BuildFailed
from gitserver.targets.containers import Sent
from gitserver.targets.engine import DockerEngine
from gitserver.targets.engine_load import expected_id
from tests.services import handmade
from tests.services.engines import TestEngine, containerd_engine, graphdriver_engine

MARK = f"load-{os.getpid()}"


@pytest.fixture(scope="module", params=["graphdriver", "containerd"])
def real(request: pytest.FixtureRequest) -> TestEngine:
    """The engine itself, as its owner speaks to it."""
    return graphdriver_engine() if request.param == "graphdriver" else containerd_engine()


@pytest.fixture
def engine(real: TestEngine) -> Iterator[DockerEngine]:
    made = DockerEngine(real.host)
    yield made
    for image in made.images({"algo.test": MARK}):
        made.remove_image(image.id)
    made.close()


def silent(_: str) -> None:
    """What the engine warns of is no concern of these tests."""


def deps(reads: handmade.Reads | None = None) -> ImageLayer:
    return handmade.layer("deps", {"deps/weights": bytes(range(256)) * 8192}, reads)


def release(code: str, reads: handmade.Reads | None = None) -> OutboundImage:
    """The image of an app: programs, dependencies, and this code on top."""
    app = handmade.layer("app", {"app/code": f"{code} of {MARK}".encode()}, reads)
    return image([handmade.base(reads), deps(reads), app])


def image(layers: list[ImageLayer]) -> OutboundImage:
    return handmade.image(layers, labels={"algo.test": MARK})


def tag(name: str) -> str:
    return f"algo/{MARK}:{name}"


def test_an_image_is_there_complete_and_runs(engine: DockerEngine, real: TestEngine) -> None:
    first = release("first")
    sent = engine.ensure(first, tag("runs"), silent)
    assert sent.image == expected_id(first, engine.facts().store)
    found = engine.image(tag("runs"))
    assert found is not None
    assert (found.id, list(found.diff_ids)) == (sent.image, [layer.diff_id for layer in first.layers])
    assert real.docker("run", "--rm", "--network", "none", sent.image, "cat", "/app/code") == f"first of {MARK}"


def test_a_code_only_change_reads_and_sends_no_byte_of_the_other_layers(engine: DockerEngine) -> None:
    engine.ensure(release("one"), tag("one"), silent)
    reads = handmade.Reads()
    sent = engine.ensure(release("two", reads), tag("two"), silent)
    assert reads.titles == ["app"]
    assert sent.layers_sent == 1
    assert sent.sent_bytes < 64 * 1024


def test_a_second_server_finds_what_the_first_one_sent(engine: DockerEngine, real: TestEngine) -> None:
    engine.ensure(release("one"), tag("one"), silent)
    other, reads = DockerEngine(real.host), handmade.Reads()
    other.ensure(release("elsewhere", reads), tag("elsewhere"), silent)
    other.close()
    assert reads.titles == ["app"]


def test_an_image_that_is_there_costs_nothing_and_takes_another_tag(engine: DockerEngine) -> None:
    reads = handmade.Reads()
    first = engine.ensure(release("same", reads), tag("same"), silent)
    reads.titles.clear()
    again = engine.ensure(release("same", reads), tag("same"), silent)
    named = engine.ensure(release("same", reads), tag("other-name"), silent)
    assert again == named == Sent(image=first.image, sent_bytes=0, layers_sent=0)
    assert reads.titles == []
    found = engine.image(first.image)
    assert found is not None
    assert set(found.tags) == {tag("same"), tag("other-name")}


def test_a_tag_that_somebody_moved_is_put_back(engine: DockerEngine, real: TestEngine) -> None:
    mine = engine.ensure(release("mine"), tag("moved"), silent)
    theirs = engine.ensure(release("theirs"), tag("theirs"), silent)
    real.docker("tag", theirs.image, tag("moved"))
    assert engine.ensure(release("mine"), tag("moved"), silent).image == mine.image
    found = engine.image(tag("moved"))
    assert found is not None
    assert found.id == mine.image


def test_an_image_removed_behind_our_back_is_sent_again(engine: DockerEngine, real: TestEngine) -> None:
    engine.ensure(release("lost"), tag("lost"), silent)
    real.docker("rmi", "--force", tag("lost"))
    sent = engine.ensure(release("lost"), tag("lost"), silent)
    assert sent.layers_sent >= 1
    assert engine.image(tag("lost")) is not None


def test_the_same_layers_in_another_order_are_another_image(engine: DockerEngine) -> None:
    first = release("order")
    base, middle, top = first.layers
    turned = image([base, top, middle])
    engine.ensure(first, tag("order"), silent)
    sent = engine.ensure(turned, tag("turned"), silent)
    found = engine.image(sent.image)
    assert found is not None
    assert list(found.diff_ids) == [layer.diff_id for layer in turned.layers]


def test_a_layer_that_comes_twice_is_there_twice(engine: DockerEngine) -> None:
    base, middle, top = release("twice").layers
    engine.ensure(image([base, middle]), tag("once"), silent)
    sent = engine.ensure(image([base, middle, top, middle]), tag("twice"), silent)
    found = engine.image(sent.image)
    assert found is not None
    assert len(found.diff_ids) == 4


def test_a_damaged_layer_leaves_nothing_that_could_be_served(engine: DockerEngine) -> None:
    broken = image([handmade.base(), handmade.layer("deps", {"deps/x": MARK.encode() * 50_000}, damage=True)])
    with pytest.raises(BuildFailed) as failed:
        engine.ensure(broken, tag("broken"), silent)
    assert failed.value.code == "layer-damaged"
    assert failed.value.fields["layer"] == "deps"
    assert engine.image(tag("broken")) is None
    assert engine.image(expected_id(broken, engine.facts().store)) is None


def test_a_damaged_layer_that_the_engine_has_does_not_matter(engine: DockerEngine) -> None:
    base, _, _ = engine_layers = release("sound").layers
    engine.ensure(image(list(engine_layers)), tag("sound"), silent)
    damaged = handmade.layer("deps", {"deps/weights": bytes(range(256)) * 8192}, damage=True)
    engine.ensure(image([base, damaged, handmade.layer("app", {"a": MARK.encode()})]), tag("next"), silent)


def test_a_layer_that_cannot_be_read_from_disk_is_no_failure_of_the_engine(engine: DockerEngine) -> None:
    def unreadable() -> Iterator[bytes]:
        yield Path("/nowhere/layer").read_bytes()

    lost = replace(handmade.layer("model", {"m": MARK.encode()}), read=unreadable)
    with pytest.raises(BuildFailed) as failed:
        engine.ensure(image([handmade.base(), lost]), tag("unreadable"), silent)
    assert failed.value.code == "layer-damaged"
    assert engine.image(tag("unreadable")) is None


def test_an_engine_that_has_a_layer_in_another_form_is_sent_all_of_it(tmp_path: Path) -> None:
    """The containerd store keeps what it was given: a compressed blob is none of the plain one that we leave out."""
    real = containerd_engine()
    engine, told = DockerEngine(real.host), list[str]()
    plain = handmade.layer("other-form", {"deps/other": MARK.encode() * 1000})
    data = gzip.compress(b"".join(plain.read()), mtime=0)
    path = tmp_path / "blob"
    path.write_bytes(data)
    blob = Blob(digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size_bytes=len(data), media_type=LAYER_GZIP)
    engine.ensure(image([handmade.base(), replace(plain, stored=(blob, path))]), tag("gzip"), silent)
    sent = engine.ensure(image([handmade.base(), plain]), tag("plain"), told.append)
    assert sent.layers_sent == 2
    assert len(told) == 1
    assert told[0].startswith("The engine did not take the new layers alone (")
    assert real.docker("run", "--rm", "--network", "none", sent.image, "head", "-c", "5", "/deps/other") == MARK[:5]
    for name in ("gzip", "plain"):
        engine.remove_image(tag(name))
    engine.close()


def test_two_threads_may_load_one_image_at_once(engine: DockerEngine) -> None:
    results = together([engine, engine], release("threads"), tag("threads"))
    assert results[0].image == results[1].image
    assert sorted(result.sent_bytes > 0 for result in results) == [False, True]


def test_two_servers_may_load_one_image_at_once(engine: DockerEngine, real: TestEngine) -> None:
    other = DockerEngine(real.host)
    results = together([engine, other], release("servers"), tag("servers"))
    other.close()
    assert results[0].image == results[1].image


def test_an_image_is_removed_by_tag_or_with_all_its_tags_by_id(engine: DockerEngine) -> None:
    sent = engine.ensure(release("removed"), tag("removed"), silent)
    engine.ensure(release("removed"), tag("removed-too"), silent)
    engine.remove_image(tag("removed-too"))
    assert engine.image(sent.image) is not None
    engine.ensure(release("removed"), tag("removed-too"), silent)
    engine.remove_image(sent.image)
    assert engine.image(sent.image) is None
    engine.remove_image(sent.image)


def together(engines: list[DockerEngine], one: OutboundImage, name: str) -> list[Sent]:
    """Every engine is asked for the image at the same moment."""
    gate, results = threading.Barrier(len(engines)), list[Sent]()

    def run(engine: DockerEngine) -> None:
        gate.wait(10)
        results.append(engine.ensure(one, name, silent))

    threads = [threading.Thread(target=run, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == len(engines)
    return results
