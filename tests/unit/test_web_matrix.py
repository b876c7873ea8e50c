"""Every route of the application, called as everybody. A route without an expectation here fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from gitserver.ledger.records import EnvKind
from gitserver.web.api import all_routes
from gitserver.web.app import API_PREFIX
from gitserver.web.routes import Access, Route
from gitserver.web.schema import check
from tests.web_house import COMMIT_2, DIGEST_2, House

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM+D4nNyJhR9wRUhvqrNuUkg2hQiCyMbabqv8IdyXEZg alice@laptop"
FINGERPRINT = "SHA256:SBV9IICR97smsoKQQim0zWKDZXanTLbZ9ZKUDW/5ARk"


@dataclass(frozen=True)
class Case:
    """How a route is called, and what each caller gets: nobody, another person, a revoked token, the owner."""

    path: str
    body: Mapping[str, Any] | None = None
    anonymous: int = 401
    other: int = 404
    revoked: int = 401
    owner: int = 200


CASES = {
    "healthz": Case("/healthz", anonymous=200, other=200, revoked=200),
    "openapi": Case("/api/v1/openapi.json", anonymous=200, other=200, revoked=200),
    "whoami": Case("/api/v1/whoami", other=200),
    "status": Case("/api/v1/status", other=200),
    "list_apps": Case("/api/v1/apps", other=200),
    "create_app": Case("/api/v1/apps", {"name": "alice/new"}, other=403, owner=201),
    "show_app": Case("/api/v1/apps/alice/iris"),
    "destroy_app": Case("/api/v1/apps/alice/iris", {"confirm": "alice/iris"}),
    "set_access": Case("/api/v1/apps/alice/iris/access", {"public": True}),
    "list_builds": Case("/api/v1/apps/alice/iris/builds"),
    "show_build": Case("/api/v1/builds/{build}"),
    "read_build_log": Case("/api/v1/builds/{build}/log"),
    "cancel_build": Case("/api/v1/builds/{build}/cancel", owner=202),
    "list_releases": Case("/api/v1/apps/alice/iris/releases"),
    "list_versions": Case("/api/v1/apps/alice/iris/versions"),
    "roll_back": Case("/api/v1/apps/alice/iris/rollback", {"release": 1}, owner=202),
    "redeploy": Case("/api/v1/apps/alice/iris/redeploy", {"upgrade": True}, owner=202),
    "list_previews": Case("/api/v1/apps/alice/iris/previews"),
    "delete_preview": Case("/api/v1/apps/alice/iris/previews/feature/x", owner=202),
    "list_images": Case("/api/v1/apps/alice/iris/images"),
    "show_image": Case("/api/v1/apps/alice/iris/images/v1"),
    "read_image_archive": Case("/api/v1/apps/alice/iris/images/v1/archive", owner=422),
    "show_sbom": Case("/api/v1/apps/alice/iris/images/v1/sbom", owner=422),
    "verify_image": Case("/api/v1/apps/alice/iris/images/v1/verify", owner=202),
    "push_image": Case("/api/v1/apps/alice/iris/images/v1/push", owner=409),
    "upgrade_app_stack": Case("/api/v1/apps/alice/iris/stack", {}, owner=409),
    "list_app_moves": Case("/api/v1/apps/alice/iris/stack"),
    "upgrade_all_stacks": Case("/api/v1/stacks/upgrade", {}, other=403, owner=409),
    "list_all_moves": Case("/api/v1/stacks/upgrade", other=403),
    "begin_collection": Case("/api/v1/gc", {}, other=403, owner=503),
    "show_collection": Case("/api/v1/gc", other=403, owner=503),
    "show_config": Case("/api/v1/apps/alice/iris/config"),
    "change_config": Case("/api/v1/apps/alice/iris/config", {"set": {"A": "1"}}, owner=202),
    "read_logs": Case("/api/v1/apps/alice/iris/logs"),
    "list_keys": Case("/api/v1/keys", other=200),
    "add_key": Case("/api/v1/keys", {"public_key": ED25519}, other=201, owner=201),
    "remove_key": Case(f"/api/v1/keys/{FINGERPRINT}"),
    "list_tokens": Case("/api/v1/tokens", other=200),
    "create_token": Case("/api/v1/tokens", {"label": "ci"}, other=201, owner=201),
    "revoke_token": Case("/api/v1/tokens/0101010101010101"),
}
# What the owner is told where the answer needs more than a ledger: another test sees the answer itself.
NEEDS_MORE = {
    "read_image_archive": "no-stack",
    "show_sbom": "no-stack",
    "push_image": "no-registry",
    "upgrade_app_stack": "no-stack-here",
    "upgrade_all_stacks": "no-stack-here",
    "begin_collection": "component-down",
    "show_collection": "component-down",
}
ROUTES = {route.name: route for route in all_routes()}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path) as one:
        yield one


@pytest.fixture
def build(house: House) -> int:
    """alice/iris with two releases, a version, a preview and a queued build, whose id this is."""
    app = house.app()
    house.serve(app)
    house.serve(app, commit=COMMIT_2, digest=DIGEST_2, tag="v1", why="publish")
    house.serve(app, kind=EnvKind.PREVIEW, branch="feature/x")
    house.ledger.add_version(
        app.id, tag="v1", object_oid=COMMIT_2, commit=COMMIT_2, image_digest=DIGEST_2, config_version=0, actor="alice"
    )
    return house.build(app)


def ask(house: House, route: Route, case: Case, build: int, token: str | None) -> TestResponse:
    if route.name == "remove_key":
        house.ledger.add_key(house.alice.id, fingerprint=FINGERPRINT, public_key=ED25519, label="")
    return house.ask(route.method, case.path.format(build=build), token=token, body=case.body)


def test_sec_10_every_route_has_a_row_in_this_matrix(house: House) -> None:
    registered = {rule.endpoint for rule in house.wsgi.url_map.iter_rules()}
    assert registered == {f"api.{name}" for name in CASES}
    assert set(ROUTES) == set(CASES)
    assert all(route.path.startswith(API_PREFIX + "/") for route in ROUTES.values() if route.name != "healthz")


@pytest.mark.parametrize("name", CASES)
def test_sec_10_nobody_gets_only_what_is_for_anyone(house: House, build: int, name: str) -> None:
    assert ask(house, ROUTES[name], CASES[name], build, None).status_code == CASES[name].anonymous


@pytest.mark.parametrize("name", CASES)
def test_sec_10_another_person_gets_only_their_own(house: House, build: int, name: str) -> None:
    answer = ask(house, ROUTES[name], CASES[name], build, house.bobs)
    assert answer.status_code == CASES[name].other
    assert b"iris" not in answer.data.replace(b"alice/iris that you may use", b"") or answer.status_code == 404
    assert DIGEST_2.encode() not in answer.data


@pytest.mark.parametrize("name", CASES)
def test_sec_10_a_revoked_token_gets_what_nobody_gets(house: House, build: int, name: str) -> None:
    house.ledger.revoke_token(house.alice.id, house.alices.split("_")[1])
    assert ask(house, ROUTES[name], CASES[name], build, house.alices).status_code == CASES[name].revoked


@pytest.mark.parametrize("name", CASES)
def test_sec_10_the_owner_gets_an_answer_of_the_declared_shape(house: House, build: int, name: str) -> None:
    if name == "read_build_log":  # ends when the build does, and at once without follow
        house.settings.build_log(build).parent.mkdir(parents=True)
        house.settings.build_log(build).write_text("-----> one\n")
    route = ROUTES[name]
    answer = ask(house, route, CASES[name], build, house.alices)
    assert answer.status_code == CASES[name].owner
    if name in NEEDS_MORE:
        assert json.loads(answer.data)["code"] == NEEDS_MORE[name]
        return
    assert route.status == CASES[name].owner
    if route.answers is None:
        assert answer.mimetype == "text/plain"
    else:
        check(json.loads(answer.data), route.answers, name)


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.access is Access.APP_OWNER])
def test_sec_18_a_foreign_app_and_one_that_does_not_exist_give_the_same_bytes(
    house: House, build: int, name: str
) -> None:
    foreign = ask(house, ROUTES[name], CASES[name], build, house.bobs)
    missing_case = Case(CASES[name].path.replace("alice/iris", "alice/nope"), CASES[name].body)
    missing = house.ask(ROUTES[name].method, missing_case.path, token=house.bobs, body=missing_case.body)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.data.replace(b"iris", b"nope") == missing.data
    varying = {"X-Request-Id"}
    assert {key for key, _ in foreign.headers} == {key for key, _ in missing.headers}
    assert {key: value for key, value in foreign.headers if key not in varying} == {
        key: value for key, value in missing.headers if key not in varying
    }


def test_sec_18_a_foreign_build_and_one_that_does_not_exist_give_the_same_bytes(house: House, build: int) -> None:
    foreign = house.ask("GET", f"/api/v1/builds/{build}", token=house.bobs)
    missing = house.ask("GET", f"/api/v1/builds/{build + 5}", token=house.bobs)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.data.replace(str(build).encode(), b"N") == missing.data.replace(str(build + 5).encode(), b"N")


def test_sec_16_a_fresh_server_answers_nobody(house: House) -> None:
    open_to_all = {name for name, route in ROUTES.items() if route.access is Access.ANYONE}
    assert open_to_all == {"healthz", "openapi"}
    for name in set(ROUTES) - open_to_all:
        answer = ask(house, ROUTES[name], CASES[name], 1, None)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="algo"')


ODD_QUERIES = ("?service=git-receive-pack", "?limit=1&limit=2", "?limit=x", "?limit=-1", "?%00=1")


@pytest.mark.parametrize("name", [name for name, route in ROUTES.items() if route.access is not Access.ANYONE])
def test_sec_12_parameters_are_not_read_before_the_caller_is_known(house: House, build: int, name: str) -> None:
    case, route = CASES[name], ROUTES[name]
    for query in ODD_QUERIES:
        path = case.path.format(build=build) + query
        assert house.ask(route.method, path, body=case.body).status_code == 401
        if route.access is not Access.SIGNED_IN:
            refused = 403 if route.access is Access.OPERATOR else 404
            assert house.ask(route.method, path, token=house.bobs, body={"broken": 1}).status_code == refused
        assert house.ask(route.method, path, token=house.alices, body=case.body).status_code == 400


def test_the_openapi_document_describes_every_route(house: House) -> None:
    document = json.loads(house.ask("GET", "/api/v1/openapi.json").data)
    described = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert described == set(CASES)
    assert all(operation["summary"] for path in document["paths"].values() for operation in path.values())
    rollback = document["paths"]["/api/v1/apps/{owner}/{app}/rollback"]["post"]
    assert [parameter["name"] for parameter in rollback["parameters"]] == ["owner", "app"]
    assert set(rollback["requestBody"]["content"]["application/json"]["schema"]["properties"]) == {
        "version", "release", "with_config",
    }  # fmt: skip
