"""What a push to a registry does when something is wrong with it: cut, slow, busy, down, read-only, full."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import buildpacks.image.upload as uploads
from buildpacks.image.push import PushOrder, push_image
from buildpacks.image.registry import Registry
from buildpacks.image.values import ImageLayer
from buildpacks.order import BuildFailed
from tests.contract.registry_house import image_of, layer_of, noise, plain, push, tar_of
from tests.services.registry import (
    Between,
    Cut,
    Delay,
    RealRegistry,
    Request,
    answer_of,
    can_mount,
    free_port,
    running,
    small_disk,
)

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    with running(RealRegistry(home=tmp_path_factory.mktemp("registry"))) as registry:
        yield registry


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads in chunks of 1 MiB, so that a few megabytes behave as gigabytes do."""
    monkeypatch.setattr(uploads, "CHUNK_BYTES", MIB)


def weights(seed: str, size: int = 4 * MIB) -> ImageLayer:
    return layer_of(tar_of(model=noise(size, seed)), kind="slice", title="model/net.safetensors")


def is_upload(request: Request) -> bool:
    return request.method in {"PUT", "PATCH"} and "/uploads/" in request.path and request.size_bytes > 100_000


def failure_of(registry: Registry, tmp_path: Path, layer: ImageLayer | None = None) -> BuildFailed:
    with pytest.raises(BuildFailed) as failed:
        push(image_of(layer or weights("f", 1 * MIB)), registry, tmp_path)
    return failed.value


# -- cut off -----------------------------------------------------------------------------------------------------------


def test_an_upload_that_is_cut_goes_on_where_the_registry_is(
    house: RealRegistry, tmp_path: Path, small_chunks: None
) -> None:
    cuts = [2]  # the third chunk is cut in its middle, before the registry sees any of it

    def rule(request: Request) -> Cut | None:
        if is_upload(request):
            cuts[0] -= 1
            if cuts[0] == -1:
                return Cut(after_bytes=300_000, is_seen=False)
        return None

    layer = weights("resumed")
    with Between(house.port, rule) as between:
        pushed = push(image_of(layer), plain(between.name), tmp_path, repository="cut/resumed")
        asked = [request.method for request in between.seen if "/uploads/" in request.path]
        chunks = between.bodies("PATCH")
    assert layer.diff_id in house.blob_digests()
    assert asked[:6] == ["POST", "PATCH", "PATCH", "PATCH", "GET", "PATCH"]
    rest = layer.tar_bytes - 4 * MIB
    assert chunks == [*[MIB] * 5, rest], "every chunk once, and the one that was cut twice"
    # What was sent twice: at most the chunk that was cut.
    assert pushed.sent_bytes < layer.tar_bytes + MIB + 20_000


def test_an_upload_whose_middle_the_registry_lost_begins_again(house: RealRegistry, tmp_path: Path) -> None:
    cuts = [1]

    def rule(request: Request) -> Cut | None:
        if is_upload(request) and cuts[0]:
            cuts[0] -= 1
            return Cut(after_bytes=2 * MIB, is_seen=True)
        return None

    layer = weights("restarted")
    with Between(house.port, rule) as between:
        push(image_of(layer), plain(between.name), tmp_path, repository="cut/restarted")
        assert between.bodies("PUT").count(layer.tar_bytes) == 2
    assert layer.diff_id in house.blob_digests()


def test_a_registry_that_takes_no_chunks_gets_the_layer_whole(
    house: RealRegistry, tmp_path: Path, small_chunks: None
) -> None:
    seen: list[str] = []

    def rule(request: Request) -> bytes | None:
        if request.method == "PATCH":
            seen.append(request.path)
            if len(seen) == 2:
                return answer_of(400, b'{"errors":[{"code":"UNKNOWN","message":"one chunk only"}]}')
        return None

    layer = weights("whole")
    with Between(house.port, rule) as between:
        client = plain(between.name)
        push(image_of(layer), client, tmp_path, repository="cut/whole")
        assert layer.tar_bytes in between.bodies("PUT")
        push(image_of(weights("whole, the next")), client, tmp_path, repository="cut/whole")
    assert len(seen) == 2, "it is not asked again"


def test_the_least_size_of_a_chunk_is_kept(house: RealRegistry, tmp_path: Path, small_chunks: None) -> None:
    def rule(request: Request) -> bytes | None:
        if request.method == "POST":
            uuid = "/v2/least/app/blobs/uploads/one?_state=x"
            return answer_of(202, Location=uuid, OCI_Chunk_Min_Length=str(3 * MIB), Range="0-0")
        if request.method == "PATCH":
            return answer_of(202, Location=f"{request.path}", Range=f"0-{sum(sizes(request)) - 1}")
        return answer_of(201) if request.method in {"PUT", "DELETE"} else answer_of(404)

    got: list[int] = []

    def sizes(request: Request) -> list[int]:
        got.append(request.size_bytes)
        return got

    with Between(house.port, rule) as between:
        push(image_of(weights("least", 7 * MIB)), plain(between.name), tmp_path, repository="least/app")
    assert got[:2] == [3 * MIB, 3 * MIB]
    assert len(got) == 3


def test_a_connection_that_always_breaks_ends_the_push_with_its_cause(house: RealRegistry, tmp_path: Path) -> None:
    def rule(request: Request) -> Cut | None:
        return Cut(after_bytes=100_000, is_seen=False) if is_upload(request) else None

    with Between(house.port, rule) as between:
        failed = failure_of(plain(between.name), tmp_path)
    assert failed.code == "registry-broke-off"
    assert "onnection" in str(failed.fields["cause"])
    assert " " in str(failed.fields["cause"]), "words, not the name of a class"
    assert len([request for request in between.seen if is_upload(request)]) == 5


# -- slow, busy --------------------------------------------------------------------------------------------------------


def test_a_registry_that_is_slow_is_waited_for_as_long_as_it_gives_signs_of_life(
    house: RealRegistry, tmp_path: Path
) -> None:
    def rule(request: Request) -> Delay:
        return Delay(seconds=0.4)

    with Between(house.port, rule) as between:
        started = time.monotonic()
        pushed = push(image_of(weights("slow")), plain(between.name, idle_s=1.0), tmp_path, repository="slow/app")
    assert time.monotonic() - started > 1.0, "the whole took longer than any of its silences may"
    assert pushed.layers_sent == 1


def test_a_registry_that_falls_silent_is_given_up(house: RealRegistry, tmp_path: Path) -> None:
    def rule(request: Request) -> Delay | None:
        return Delay(seconds=30) if request.method == "POST" else None

    with Between(house.port, rule) as between:
        started = time.monotonic()
        failed = failure_of(plain(between.name, idle_s=0.3), tmp_path)
    assert failed.code == "registry-slow"
    assert time.monotonic() - started < 15


def test_a_registry_that_is_busy_is_asked_again_when_it_said(house: RealRegistry, tmp_path: Path) -> None:
    times: list[float] = []

    def rule(request: Request) -> bytes | None:
        if request.method != "POST":
            return None
        times.append(time.monotonic())
        return answer_of(429, Retry_After="1") if len(times) == 1 else None

    with Between(house.port, rule) as between:
        push(image_of(weights("busy", MIB)), plain(between.name), tmp_path, repository="busy/app")
    assert times[1] - times[0] >= 1.0


def test_a_busy_answer_to_an_upload_loses_nothing(house: RealRegistry, tmp_path: Path, small_chunks: None) -> None:
    answers = [None, answer_of(503), None, answer_of(502)]

    def rule(request: Request) -> bytes | None:
        return answers.pop(0) if request.method == "PATCH" and answers else None

    layer = weights("busy upload")
    with Between(house.port, rule) as between:
        push(image_of(layer), plain(between.name), tmp_path, repository="busy/upload")
    assert layer.diff_id in house.blob_digests()


def test_a_registry_that_stays_busy_is_told_with_its_words(house: RealRegistry, tmp_path: Path) -> None:
    def rule(request: Request) -> bytes | None:
        if request.method != "POST":
            return None
        return answer_of(503, b'{"errors":[{"code":"UNAVAILABLE","message":"storage is migrating"}]}')

    with Between(house.port, rule) as between:
        failed = failure_of(plain(between.name), tmp_path)
    assert (failed.code, failed.fields["status"]) == ("registry-busy", 503)
    assert failed.fields["message"] == "storage is migrating"


# -- down, read-only, full ---------------------------------------------------------------------------------------------


def test_a_registry_that_is_down_is_told_with_its_name(tmp_path: Path) -> None:
    name = f"localhost:{free_port()}"
    failed = failure_of(plain(name), tmp_path)
    assert failed.code == "registry-unreachable"
    assert failed.fields == {"registry": name, "cause": "Connection refused"}


def test_a_name_that_nobody_has_is_told_with_its_name(tmp_path: Path) -> None:
    failed = failure_of(plain("registry.invalid:5000"), tmp_path)
    assert failed.code == "registry-unreachable"
    assert "registry.invalid" in str(failed.fields["registry"])


def test_a_registry_that_goes_down_in_the_middle_keeps_what_it_has_and_the_next_push_goes_on(tmp_path: Path) -> None:
    with running(RealRegistry(home=tmp_path / "registry")) as registry:

        def rule(request: Request) -> None:
            if is_upload(request) and request.size_bytes > 3 * MIB:
                registry.stop()

        image = image_of(weights("small", MIB), weights("big", 4 * MIB))
        with Between(registry.port, rule) as between:
            client = plain(between.name)
            with pytest.raises(BuildFailed) as failed:
                push(image, client, tmp_path / "blobs")
            assert failed.value.code in {"registry-unreachable", "registry-broke-off"}
        registry.start()
        pushed = push(image, plain(registry.name), tmp_path / "blobs")
        assert pushed.layers_sent + pushed.layers_known == 2
        assert {layer.diff_id for layer in image.layers} <= registry.blob_digests()


def test_a_read_only_registry_is_told_as_that(house: RealRegistry, tmp_path: Path) -> None:
    with running(RealRegistry(home=tmp_path / "registry", read_only=True)) as registry:
        failed = failure_of(plain(registry.name), tmp_path)
    assert failed.code == "registry-read-only"
    assert failed.fields["repository"] == "team/iris"


@pytest.mark.skipif(not can_mount(), reason="only root can make a small disk")
def test_a_registry_without_space_is_told_as_that_and_not_asked_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "6m") as disk, running(RealRegistry(home=disk)) as registry:
        started = time.monotonic()
        failed = failure_of(plain(registry.name), tmp_path, weights("full", 12 * MIB))
        assert failed.code == "registry-full"
        assert failed.fields["message"] == "no space left on its device"
        assert time.monotonic() - started < 5


def test_a_registry_that_denies_is_told_with_its_words(house: RealRegistry, tmp_path: Path) -> None:
    def rule(request: Request) -> bytes:
        return answer_of(403, b'{"errors":[{"code":"DENIED","message":"only for members of team"}]}')

    with Between(house.port, rule) as between:
        failed = failure_of(plain(between.name), tmp_path)
    assert (failed.code, failed.fields["message"]) == ("registry-denied", "only for members of team")


def test_a_place_that_is_no_registry_is_told_without_its_web_page(house: RealRegistry, tmp_path: Path) -> None:
    def rule(request: Request) -> bytes:
        return answer_of(404, b"<html>welcome to our shop</html>", Content_Type="text/html; charset=utf-8")

    with Between(house.port, rule) as between:
        failed = failure_of(plain(between.name), tmp_path)
    assert (failed.code, failed.fields["status"]) == ("registry-refused", 404)
    assert failed.fields["message"] == "status 404"


# -- ended by us -------------------------------------------------------------------------------------------------------


def test_a_push_that_is_cancelled_ends_soon_even_while_it_waits(house: RealRegistry, tmp_path: Path) -> None:
    stop = threading.Event()

    def rule(request: Request) -> bytes:
        stop.set()
        return answer_of(503, Retry_After="30")

    with Between(house.port, rule) as between:
        order = PushOrder(image=image_of(weights("c")), repository="a/b", log=lambda line: None, stop=stop)
        started = time.monotonic()
        client = plain(between.name)
        with pytest.raises(BuildFailed, match="cancelled"):
            push_image(order, client, tmp_path)
        client.close()
    assert time.monotonic() - started < 5


def test_one_layer_that_fails_stops_the_others(house: RealRegistry, tmp_path: Path) -> None:
    broken = weights("broken", MIB)

    def read() -> Iterator[bytes]:
        raise BuildFailed("layer-lost-in-store", layer="model/net.safetensors", path="gone")

    lost = ImageLayer(diff_id=broken.diff_id, tar_bytes=broken.tar_bytes, kind="slice", title="x.bin", read=read)

    def rule(request: Request) -> Delay | None:
        return Delay(seconds=0.2) if is_upload(request) else None

    others = [weights(f"other {number}", 2 * MIB) for number in range(8)]
    with Between(house.port, rule) as between:
        with pytest.raises(BuildFailed, match="layer-lost-in-store"):
            push(image_of(lost, *others), plain(between.name), tmp_path, repository="stop/app")
        assert len(between.bodies("POST")) < 6
