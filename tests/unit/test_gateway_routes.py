"""Which address leads where, without a socket."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitserver.gateway.entries import NotRunning, OnDemand, Serving
from gitserver.gateway.hosts import endpoint_label
from gitserver.gateway.table import (
    AddSlash,
    BadPath,
    NoSuchApp,
    NoSuchRef,
    RouteTable,
    ToGateway,
    ToModel,
    ToWeb,
)
from gitserver.ledger.records import EnvKind
from gitserver.push import AppName
from tests.gateway_house import make_environment, make_snapshot, make_version

TABLE = RouteTable.from_snapshot(make_snapshot(), "")
V1 = OnDemand(app_id=1, image="sha256:one", scope=EnvKind.PRODUCTION, label="v1")
LOOSE = OnDemand(app_id=1, image="sha256:loose", scope=EnvKind.PREVIEW, label="c0ffee0")


def resolve(target: str, host: str = "h", table: RouteTable = TABLE) -> object:
    return table.resolve(host.encode(), target.encode())


@pytest.mark.parametrize(
    ("target", "place", "rest", "prefix"),
    [
        ("/alice/iris/", Serving(instance="b1"), "/", "/alice/iris"),
        (
            "/alice/iris/v2/models/iris/infer?x=%2e",
            Serving(instance="b1"),
            "/v2/models/iris/infer?x=%2e",
            "/alice/iris",
        ),
        ("/alice/iris//a", Serving(instance="b1"), "//a", "/alice/iris"),
        ("/alice/iris/%C3%A9", Serving(instance="b1"), "/%C3%A9", "/alice/iris"),
        ("/alice/iris@main/p", Serving(instance="b1"), "/p", "/alice/iris@main"),
        ("/alice/iris@feature/x/p", Serving(instance="b2"), "/p", "/alice/iris@feature/x"),
        ("/alice/iris@feature-x/p", Serving(instance="b2"), "/p", "/alice/iris@feature-x"),
        ("/alice/iris@v1/p", V1, "/p", "/alice/iris@v1"),
        ("/alice/iris@1/p", V1, "/p", "/alice/iris@1"),
        ("/alice/iris@v2/p", Serving(instance="b1"), "/p", "/alice/iris@v2"),
        ("/alice/iris@latest/p", Serving(instance="b1"), "/p", "/alice/iris@latest"),
        ("/alice/iris@aaaaaaa/p", V1, "/p", "/alice/iris@aaaaaaa"),
        ("/alice/iris@4f2c9e1/p", Serving(instance="b1"), "/p", "/alice/iris@4f2c9e1"),
        ("/alice/iris@beefbee/p", Serving(instance="b2"), "/p", "/alice/iris@beefbee"),
        ("/alice/iris@c0ffee0/p", LOOSE, "/p", "/alice/iris@c0ffee0"),
        ("/alice/new/p", NotRunning(branch="main"), "/p", "/alice/new"),
        ("/v1/algo/alice/iris", Serving(instance="b1"), "/v1/algo/alice/iris", ""),
        ("/v1/algo/alice/iris/1?output=raw", V1, "/v1/algo/alice/iris?output=raw", ""),
        ("/v1/algo/alice/iris/1.*", V1, "/v1/algo/alice/iris", ""),
        ("/v1/algo/alice/iris/feature/x", Serving(instance="b2"), "/v1/algo/alice/iris", ""),
    ],
)
def test_an_address_leads_to_its_place(target: str, place: object, rest: str, prefix: str) -> None:
    route = resolve(target)
    assert isinstance(route, ToModel)
    assert (route.place, route.target, route.prefix) == (place, rest.encode(), prefix.encode())


@pytest.mark.parametrize(
    ("target", "is_git"),
    [
        ("/alice/iris.git/info/refs?service=git-receive-pack", True),
        ("/alice/iris.git/info/lfs/objects/batch", True),
        ("/alice/none.git/git-receive-pack", True),
        ("/", False),
        ("/alice", False),
        ("/alice/", False),
        ("/ui/x/y", False),
        ("/api/v1/apps/alice/iris/previews/feature%2Fx", False),
        ("/v1/other", False),
        ("/static/a.css", False),
        ("/healthz/x", False),
    ],
)
def test_the_control_plane_gets_the_rest(target: str, is_git: bool) -> None:
    assert resolve(target) == ToWeb(is_git=is_git)


def test_healthz_is_the_gateways_own() -> None:
    assert resolve("/healthz") == ToGateway()
    assert resolve("/healthz?x=1") == ToGateway()


@pytest.mark.parametrize(
    "target", ["/alice/none/", "/nobody/iris/x", "/v1/algo/alice", "/alice/Iris/", "/alice/iris.gitx/"]
)
def test_an_unknown_app_is_no_app(target: str) -> None:
    assert isinstance(resolve(target), NoSuchApp)


@pytest.mark.parametrize("ref", ["v3", "3", "1.1", "4f2c9e", "4F2C9E1", "feature", "", "-h", "latestx", "0000000"])
def test_an_unknown_ref_lists_what_exists(ref: str) -> None:
    route = resolve(f"/alice/iris@{ref}/p")
    assert isinstance(route, NoSuchRef)
    assert route.entry.listing == ("main", "v1", "v2", "feature/x")


@pytest.mark.parametrize(
    "target",
    [
        "/alice/iris/../x", "/alice/iris/%2e%2E/x", "/alice/iris/.", "/alice/iris/a%2Fb", "/alice/iris/a%5cb",
        "/alice/iris/%00", "/alice/iris/%0a", "/alice/iris/%7f", "/alice/iris/%", "/alice/iris/%4", "/alice/iris/%gg",
        "/alice/iris/%ff", "/api/%2e%2e/x", "/api/x%00", "/alice%2firis/x", "/ui/a%2fb",
    ],
)  # fmt: skip
def test_a_path_with_two_meanings_is_refused(target: str) -> None:
    assert isinstance(resolve(target), BadPath)


def test_an_app_without_slash_gets_one_and_keeps_its_query() -> None:
    route = resolve("/alice/iris@feature/x?a=b")
    assert isinstance(route, AddSlash)
    assert route.location == b"/alice/iris@feature/x/?a=b"


def test_versions_are_found_by_number_and_the_highest_wins() -> None:
    tags = ["v1.2.0", "v1.10.0", "v1.9.3", "2.0", "nightly"]
    versions = tuple(make_version(number, 1, tag, f"sha256:{tag}") for number, tag in enumerate(tags, 1))
    table = RouteTable.from_snapshot(replace(make_snapshot(), versions=versions), "")

    def image(ref: str) -> str | None:
        route = resolve(f"/v1/algo/alice/iris/{ref}", table=table)
        return route.place.image if isinstance(route, ToModel) and isinstance(route.place, OnDemand) else None

    assert [image(ref) for ref in ("1.2", "1.2.*", "1.9.3", "v1.9.3", "1", "1.*", "2", "v2.0", "latest", "1.1")] == [
        "sha256:v1.2.0", "sha256:v1.2.0", "sha256:v1.9.3", "sha256:v1.9.3", "sha256:v1.10.0", "sha256:v1.10.0",
        "sha256:2.0", "sha256:2.0", "sha256:nightly", None,
    ]  # fmt: skip


def test_an_exact_branch_wins_over_the_slug_of_another() -> None:
    environments = (
        *make_snapshot().environments,
        make_environment(7, 1, "a/b", 2),
        make_environment(8, 1, "a-b", 1),
        make_environment(9, 1, "a", 1),
    )
    table = RouteTable.from_snapshot(replace(make_snapshot(), environments=environments), "")
    assert [getattr(resolve(f"/alice/iris@{ref}/p", table=table), "place", None) for ref in ("a-b", "a/b", "a")] == [
        Serving(instance="b1"),
        Serving(instance="b2"),
        Serving(instance="b1"),
    ]


def test_a_domain_gives_each_endpoint_a_host() -> None:
    table = RouteTable.from_snapshot(make_snapshot(), "models.example")
    for host, instance in (
        ("iris--alice.models.example", "b1"),
        ("IRIS--alice.models.example:8080", "b1"),
        ("feature-x--iris--alice.models.example", "b2"),
    ):
        route = resolve("/healthz?x", host, table)
        assert isinstance(route, ToModel)
        assert (route.place, route.target, route.prefix) == (Serving(instance=instance), b"/healthz?x", b"")
    assert isinstance(resolve("/", "none--alice.models.example", table), NoSuchApp)
    assert resolve("/", "models.example", table) == ToWeb(is_git=False)
    assert isinstance(resolve("/alice/iris/", "iris--alice.elsewhere.example", table), ToModel)
    assert resolve("/healthz", "iris--alice.models.example.evil", table) == ToGateway()


def test_a_label_never_has_more_than_63_characters_and_long_ones_stay_apart() -> None:
    name = AppName(owner="o" * 40, app="a" * 40)
    labels = [endpoint_label(name, branch) for branch in (None, "x", "y", "Feature/Ü", "feature/ü")]
    assert len(set(labels)) == len(labels)
    assert all(len(label) <= 63 and not label.endswith("-") for label in labels)
    assert endpoint_label(AppName(owner="alice", app="iris"), "Feature/X_1") == "feature-x-1--iris--alice"
