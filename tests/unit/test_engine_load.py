"""What an engine is sent, how its answer is read, what its failures are called: tables, without an engine."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from buildpacks.image.values import OutboundImage
from gitserver import explain
from gitserver.errors import Json, Problem
from gitserver.targets.containers import ContainerSpec, EngineImage, Mount, StoreKind
from gitserver.targets.engine_api import container_document, facts_of, image_of, parse_time, split_log_line, state_of
from gitserver.targets.engine_load import (
    expected_id,
    find_difference,
    find_donors,
    find_refusal,
    load_timeout_s,
    plan_sending,
)
from gitserver.targets.engine_loader import Loader
from gitserver.targets.engine_networks import small_subnets
from gitserver.targets.engine_trouble import explain_trouble
from tests.services import handmade

LAYERS = {name: handmade.layer(name, {name: name.encode()}) for name in "abcd"}
GRAPH, BLOBS = StoreKind.GRAPHDRIVER, StoreKind.CONTAINERD


def image(names: str) -> OutboundImage:
    return handmade.image([LAYERS[name] for name in names])


def ids(names: str) -> tuple[str, ...]:
    return tuple(LAYERS[name].diff_id for name in names)


@pytest.mark.parametrize(
    ("wanted", "known", "sent"),
    [
        ("abc", [], "abc"),
        ("abc", ["abc"], ""),
        ("abc", ["ab"], "c"),
        ("abc", ["abd"], "c"),
        ("abc", ["a", "abd", ""], "c"),
        ("abc", ["bc", "c"], "abc"),  # not from the bottom up
        ("abc", ["ba"], "abc"),  # another order is another chain
        ("aba", ["ab"], "a"),  # the one entry of a serves both places
        ("aba", ["aba"], ""),
    ],
)
def test_a_graph_driver_is_spared_the_chain_that_it_has(wanted: str, known: list[str], sent: str) -> None:
    plan = plan_sending(image(wanted), GRAPH, [ids(names) for names in known])
    assert "".join(sorted(layer.title for layer in plan.layers)) == sent
    assert plan.empty == set(ids(wanted)) - {layer.diff_id for layer in plan.layers}
    assert not plan.skip


@pytest.mark.parametrize(
    ("wanted", "known", "sent"),
    [("abc", [], "abc"), ("abc", ["ca"], "b"), ("abc", ["a", "b"], "c"), ("aba", ["a"], "b"), ("abc", ["dcba"], "")],
)
def test_the_containerd_store_is_spared_every_blob_that_it_has(wanted: str, known: list[str], sent: str) -> None:
    plan = plan_sending(image(wanted), BLOBS, [ids(names) for names in known])
    assert "".join(layer.title for layer in plan.layers) == sent
    assert plan.skip == set(ids(wanted)) - {layer.diff_id for layer in plan.layers}
    assert not plan.empty


def test_the_images_that_spare_the_most_are_looked_at_and_no_others() -> None:
    chains = {"x": ids("d"), "y": ids("a"), "z": ids("ab"), "w": ids("ab")}
    assert find_donors(image("abc"), GRAPH, chains) == ["z"]
    assert find_donors(image("abc"), BLOBS, {**chains, "c": ids("c")}) == ["z", "c"]
    assert find_donors(image("abc"), BLOBS, {"x": ids("d")}) == []
    assert find_donors(image("abc"), BLOBS, {}) == []


def test_the_engine_may_be_silent_for_as_long_as_it_unpacks() -> None:
    plan = plan_sending(image("a"), GRAPH, [])
    assert 60 < load_timeout_s(plan) < 61
    huge = replace(LAYERS["a"], tar_bytes=5 << 30)
    assert load_timeout_s(replace(plan, layers=(huge,))) == 60 + 512


@pytest.mark.parametrize("store", StoreKind)
def test_an_image_is_there_when_its_id_and_all_its_layers_are(store: StoreKind) -> None:
    wanted = image("abc")
    right = EngineImage(
        id=expected_id(wanted, store), tags=(), labels={}, diff_ids=ids("abc"), size_bytes=1
    )  # fmt: skip
    assert find_difference(wanted, store, right) == ""
    assert find_difference(wanted, store, None) == "it is not there"
    assert find_difference(wanted, store, replace(right, id="sha256:0")).startswith("its id is sha256:0, not sha256:")
    assert find_difference(wanted, store, replace(right, diff_ids=())) == "0 of its 3 layers are there"


@pytest.mark.parametrize(
    ("events", "refusal"),
    [
        ([{"stream": "Loaded image: algo/x:1\n"}], ""),
        ([{"status": "Loading layer", "progressDetail": {}}, {"stream": "Loaded image: algo/x:1\n"}], ""),
        ([{"error": "invalid diffID", "errorDetail": {"message": "invalid diffID for layer 3"}}],
         "invalid diffID for layer 3"),
        ([{"error": "no words"}], "no words"),
        ([{"errorDetail": {}}], "it gave no reason"),
        ([{"message": "unexpected EOF"}], "unexpected EOF"),
        ([{"stream": "Loaded image: algo/x:1\n"}, {"stream": "Error unpacking image algo/x:1: not found\n"}],
         "Error unpacking image algo/x:1: not found"),
        ([], ""),
    ],
)  # fmt: skip
def test_an_answer_is_read_to_its_end(events: list[dict[str, Json]], refusal: str) -> None:
    assert find_refusal(events, lambda _: None) == refusal


class Shelf:
    """An engine with a graph driver, as far as loading goes: chains of layers, by content, and tags on them."""

    host = "unix:///shelf"

    def __init__(self) -> None:
        self.there: dict[str, EngineImage] = {}
        self.offered: OutboundImage | None = None
        self.before_send: Callable[[], None] = lambda: None
        self.loads = 0

    def image(self, name: str) -> EngineImage | None:
        return next((one for one in self.there.values() if name == one.id or name in one.tags), None)

    def image_ids(self, labels: Mapping[str, str], repository: str = "") -> Sequence[str]:
        return list(self.there)

    def name_image(self, image: str, tag: str) -> None:
        self.there[image] = replace(self.there[image], tags=(*self.there[image].tags, tag))

    def remove_image(self, image: str) -> None:
        found = self.image(image)
        if found is not None:
            del self.there[found.id]

    def send(self, archive: Iterable[bytes], timeout_s: float, log: Callable[[str], None]) -> str:
        self.before_send()
        self.loads += 1
        sent = sum(len(chunk) for chunk in archive)
        assert self.offered is not None
        wanted = [layer.diff_id for layer in self.offered.layers]
        has_chain = any(list(one.diff_ids[:2]) == wanted[:2] for one in self.there.values())
        if not has_chain and sent < sum(layer.tar_bytes for layer in self.offered.layers):
            return "invalid diffID for layer 0"
        self.there[self.offered.image_id] = EngineImage(
            id=self.offered.image_id, tags=(f"algo/x:{self.loads}",), labels={}, diff_ids=wanted, size_bytes=1
        )
        return ""


def test_an_engine_that_lost_a_layer_since_we_looked_is_sent_everything_once() -> None:
    shelf, told = Shelf(), list[str]()
    loader = Loader(shelf)
    shelf.offered = image("abc")
    loader.ensure(shelf.offered, "algo/x:1", GRAPH, told.append)
    shelf.before_send = shelf.there.clear
    shelf.offered = image("abd")
    sent = loader.ensure(shelf.offered, "algo/x:3", GRAPH, told.append)
    assert (shelf.loads, sent.layers_sent, sent.image) == (3, 3, shelf.offered.image_id)
    assert told == [
        "The engine did not take the new layers alone (invalid diffID for layer 0); sending the whole image"
    ]


def test_an_engine_that_refuses_all_of_it_has_nothing_of_it() -> None:
    shelf = Shelf()
    shelf.offered = image("abc")
    with pytest.raises(Problem) as refused:  # the shelf tags it as another image than the one that is asked for
        Loader(shelf).ensure(shelf.offered, "algo/x:other", GRAPH, lambda _: None)
    assert refused.value.failure.code == "image-load-failed"
    assert refused.value.failure.fields == {"image": "algo/x:other", "detail": "it is not there"}
    assert explain.title(refused.value.failure) == "the Docker engine did not take the image"


class Refused(Exception):  # noqa: N818 -- stands for docker.errors.APIError
    """An answer of an engine that says no."""

    def __init__(self, explanation: str) -> None:
        super().__init__("500 Server Error")
        self.explanation = explanation


def wrapped(inner: BaseException) -> Exception:
    """As the SDK hands it on: inside the arguments of another one, with its words lost."""
    return ConnectionError("Connection aborted.", RuntimeError("outer", inner))


HOST = "unix:///run/d.sock"


@pytest.mark.parametrize(
    ("trouble", "code", "detail"),
    [
        (wrapped(FileNotFoundError(errno.ENOENT, "x")), "engine-down", "there is no such socket"),
        (wrapped(ConnectionRefusedError(errno.ECONNREFUSED, "x")), "engine-down", "nothing listens there"),
        (wrapped(PermissionError(errno.EACCES, "x")), "engine-no-permission", None),
        (wrapped(TimeoutError("timed out")), "engine-down", "no answer within 5 s"),
        (wrapped(BrokenPipeError(errno.EPIPE, "x")), "engine-down", "it cut the connection"),
        (wrapped(ConnectionResetError(errno.ECONNRESET, "x")), "engine-down", "it cut the connection"),
        (ValueError("odd\nanswer"), "engine-down", "odd answer"),
        (Refused("write /x: no space left on device"), "engine-out-of-space", "write /x: no space left on device"),
        (Refused("port is already allocated"), "engine-refused", "port is already allocated"),
        (Refused("grpc: the client connection is closing"), "engine-down", "grpc: the client connection is closing"),
    ],
)
def test_trouble_is_told_by_its_cause(trouble: Exception, code: str, detail: str | None) -> None:
    problem = explain_trouble(trouble, host=HOST, step="start the container", timeout_s=5)
    assert (problem.failure.code, problem.failure.fields.get("detail")) == (code, detail)
    assert HOST in explain.sentence(problem.failure)


def test_the_words_of_a_missing_permission_have_the_line_to_type() -> None:
    problem = explain_trouble(PermissionError(errno.EACCES, "x"), host=HOST, step="describe itself", timeout_s=5)
    assert explain.lines(problem.failure)[-1] == (
        " !     Next: usermod --append --groups docker USER, then start the server again"
    )


def test_everything_that_an_image_could_say_of_how_it_runs_is_said_by_us() -> None:
    spec = ContainerSpec(
        name="algo-x", image="sha256:1", argv=["web"], env={"B": "2", "A": "1"}, cwd="/workspace", user="20001:20001",
        labels={"algo.server": "m"}, network="algo-net", memory_mib=256, processes=100, publish={8080: 40001},
        mounts=[Mount(host_path=Path("/state/io"), path="/run/algo", read_only=False)], cpus=1.5,
        tmpfs={"/tmp": "size=64m,mode=1777"},
    )  # fmt: skip
    assert container_document(spec, open_files=1000) == {
        "Image": "sha256:1", "Entrypoint": ["web"], "Cmd": [], "User": "20001:20001", "WorkingDir": "/workspace",
        "Env": ["A=1", "B=2"], "Labels": {"algo.server": "m"}, "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM", "ExposedPorts": {"8080/tcp": {}},
        "HostConfig": {
            "Memory": 268435456, "MemorySwap": 268435456, "PidsLimit": 100, "NanoCpus": 1500000000,
            "ReadonlyRootfs": True, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": {"/tmp": "size=64m,mode=1777"}, "ShmSize": 134217728,
            "Mounts": [{"Type": "bind", "Source": "/state/io", "Target": "/run/algo", "ReadOnly": False,
                        "BindOptions": {"Propagation": "rprivate"}}],
            "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "40001"}]},
            "NetworkMode": "algo-net", "Init": False, "IpcMode": "private",
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "2"}},
            "RestartPolicy": {"Name": "no"},
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}, {"Name": "nofile", "Soft": 1000, "Hard": 1000}],
        },
    }  # fmt: skip


def test_an_engine_is_told_by_its_store() -> None:
    info = {"ID": "I", "DockerRootDir": "/d", "MemoryLimit": True, "PidsLimit": True, "DriverStatus": [["a", "b"]]}
    version = {"Version": "20.10.24", "Arch": "arm64"}
    old = facts_of(info, version)
    assert (old.store, old.arch, old.has_limits, old.id) == (GRAPH, "arm64", True, "I:/d")
    new = facts_of(
        {**info, "PidsLimit": False, "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, version
    )
    assert (new.store, new.has_limits) == (BLOBS, False)


def test_an_image_without_tags_labels_or_layers_is_read() -> None:
    assert image_of({"Id": "sha256:1", "RepoTags": ["<none>:<none>"], "Config": None}) == EngineImage(
        id="sha256:1", tags=(), labels={}, diff_ids=(), size_bytes=0
    )


def test_a_container_that_never_ran_has_no_start() -> None:
    state: dict[str, Json] = {
        "Running": False, "Pid": 0, "ExitCode": 0, "OOMKilled": False, "Error": "", "StartedAt": "0001-01-01T00:00:00Z",
    }  # fmt: skip
    found = state_of({"Id": "1", "Name": "/algo-x", "Image": "sha256:1", "Config": {"Labels": None}, "State": state})
    assert (found.name, found.labels, found.started_at) == ("algo-x", {}, None)


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [("2026-11-25T03:19:36.230065289Z", 230065), ("2026-11-25T03:19:36Z", 0), ("2026-11-25T03:19:36.5Z", 500000)],
)
def test_an_engines_time_is_read_to_the_microsecond(text: str, microsecond: int) -> None:
    assert parse_time(text) == datetime(2026, 11, 25, 3, 19, 36, microsecond, tzinfo=UTC)


def test_a_time_elsewhere_than_in_utc_is_refused() -> None:
    with pytest.raises(ValueError, match="not a time in UTC"):
        parse_time("2026-11-25T03:19:36+01:00")


def test_a_log_frame_is_time_text_and_whether_the_line_ends() -> None:
    at = datetime(2026, 11, 25, 3, 19, 36, tzinfo=UTC)
    assert split_log_line(b"2026-11-25T03:19:36Z a b\n") == (at, b"a b", True)
    assert split_log_line(b"2026-11-25T03:19:36Z part") == (at, b"part", False)
    assert split_log_line(b"2026-11-25T03:19:36Z \n") == (at, b"", True)
    assert split_log_line(b"no time\n") is None
    assert split_log_line(b"\xff \n") is None


def test_subnets_to_try_are_the_same_ones_for_the_same_name_and_none_twice() -> None:
    first = list(small_subnets("algo-a-1"))
    assert first == list(small_subnets("algo-a-1"))
    assert first[0] != next(small_subnets("algo-a-2"))
    assert len({IPv4Network(subnet) for subnet in first}) == len(first) == 64
