"""What the management API does, through the WSGI application and a real ledger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitserver.errors import Failure
from gitserver.ledger.records import BuildKind, BuildState, EnvKind
from tests.web_house import COMMIT_1, COMMIT_2, DIGEST_1, DIGEST_2, House

IRIS = "/api/v1/apps/alice/iris"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path) as one:
        yield one


def document(house: House, method: str, path: str, *, status: int, body: dict[str, Any] | None = None) -> Any:
    answer = house.ask(method, path, token=house.alices, body=body)
    assert answer.status_code == status, answer.data
    return json.loads(answer.data)


def test_an_app_is_made_in_ones_own_namespace(house: House) -> None:
    made = document(house, "POST", "/api/v1/apps", body={"name": "iris"}, status=201)
    assert made["name"] == "alice/iris"
    assert made["git_url"] == "http://127.0.0.1:8080/alice/iris.git"
    assert made["ssh_url"] == "ssh://git@127.0.0.1:2222/alice/iris.git"
    assert (made["public"], made["production"], made["previews"]) == (False, None, 0)
    again = document(house, "POST", "/api/v1/apps", body={"name": "alice/iris"}, status=409)
    assert again["error"] == "alice/iris exists already."
    foreign = document(house, "POST", "/api/v1/apps", body={"name": "bob/iris"}, status=403)
    assert foreign["next"] == "algo create alice/iris"
    assert [row["action"] for row in house.audit_rows()] == ["app.create"]


@pytest.mark.parametrize("name", ["", "A", "a;id", "a$(x)", "../x", "a/b/c", "-x", "x" * 41, "alice/", "a\nb", "api/x"])
def test_a_bad_name_makes_no_app(house: House, name: str) -> None:
    assert document(house, "POST", "/api/v1/apps", body={"name": name}, status=400)["code"] == "bad-name"
    assert house.ledger.apps("alice") == []


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body"),
        ({"name": 1}, "body.name"),
        ({"name": "x", "is_public": True}, "body"),
        ({"name": "x" * 101}, "body.name"),
        ({"name": None}, "body.name"),
    ],
)
def test_a_body_of_another_shape_is_refused(house: House, body: dict[str, Any], where: str) -> None:
    answer = document(house, "POST", "/api/v1/apps", body=body, status=400)
    assert (answer["code"], answer["fields"]["where"]) == ("bad-request", where)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"name": "a"} x'])
def test_a_body_that_is_no_json_object_is_refused(house: House, data: bytes) -> None:
    with house.wsgi.test_client() as client:
        answer = client.post(
            "/api/v1/apps", data=data, content_type="application/json",
            headers={"Authorization": f"Bearer {house.alices}"},
        )  # fmt: skip
    assert answer.status_code == 400


def test_a_form_of_another_site_changes_nothing(house: House) -> None:
    with house.wsgi.test_client() as client:
        answer = client.post(
            "/api/v1/apps", data=b'{"name": "x"}', content_type="text/plain",
            headers={"Authorization": f"Bearer {house.alices}"},
        )  # fmt: skip
    assert (answer.status_code, house.ledger.apps("alice")) == (400, [])


def test_a_body_over_a_mebibyte_is_refused(house: House) -> None:
    answer = document(house, "POST", "/api/v1/apps", body={"name": "x" * 2_000_000}, status=413)
    assert answer["error"] == "The request's body is larger than 1048576 bytes."


def test_an_unknown_page_and_a_wrong_method_are_told_in_json(house: House) -> None:
    assert document(house, "GET", "/api/v1/nope", status=404)["code"] == "no-such-page"
    assert document(house, "GET", "/", status=404)["code"] == "no-such-page"
    answer = house.ask("PUT", "/api/v1/apps", token=house.alices)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_access_is_changed_and_both_states_are_in_the_audit(house: House) -> None:
    app = house.app()
    assert document(house, "PUT", f"{IRIS}/access", body={"public": True}, status=200)["public"] is True
    found = house.ledger.app(app.id)
    assert found is not None
    assert found.is_public
    row = house.audit_rows()[0]
    assert (row["action"], row["before"], row["after"], row["actor"]) == ("app.access", False, True, "alice")
    assert row["token"] == house.alices.split("_")[1]


def test_an_app_is_destroyed_only_by_its_whole_name(house: House) -> None:
    house.app()
    refused = document(house, "DELETE", IRIS, body={"confirm": "iris"}, status=409)
    assert refused["error"] == "'iris' is not alice/iris. Nothing was destroyed."
    document(house, "DELETE", IRIS, body={"confirm": "alice/iris"}, status=200)
    document(house, "GET", IRIS, status=404)


def test_releases_say_what_happened_newest_first(house: House) -> None:
    app = house.app()
    house.serve(app)
    house.ledger.add_config(app.id, EnvKind.PRODUCTION, {"A": "1", "B": "2"}, actor="alice", why="")
    house.serve(app, why="config")
    house.ledger.add_config(app.id, EnvKind.PRODUCTION, {"A": "3"}, actor="alice", why="")
    house.serve(app, why="config")
    house.serve(app, commit=COMMIT_2, digest=DIGEST_2, tag="v1", why="publish")
    house.serve(app, why="rollback to v1")
    house.serve(app, kind=EnvKind.PREVIEW, branch="feature/x")
    found = document(house, "GET", f"{IRIS}/releases", status=200)["releases"]
    assert [(one["number"], one["environment"], one["summary"], one["serving"]) for one in found] == [
        (1, "preview:feature/x", "Deploy 1111111", True),
        (5, "production", "Rollback to v1 (1111111)", True),
        (4, "production", "Publish v1", False),
        (3, "production", "Config set A, unset B", False),
        (2, "production", "Config set A, B", False),
        (1, "production", "Deploy 1111111", False),
    ]
    only = document(house, "GET", f"{IRIS}/releases?environment=production&limit=2", status=200)["releases"]
    assert [one["number"] for one in only] == [5, 4]


def test_a_rollback_to_a_version_is_a_durable_job(house: House) -> None:
    app = house.app()
    tag_object = "c" * 40
    house.serve(app)
    house.ledger.add_version(
        app.id, tag="v1", object_oid=tag_object, commit=COMMIT_1, image_digest=DIGEST_1, config_version=0, actor="alice"
    )
    answer = document(house, "POST", f"{IRIS}/rollback", body={"version": "v1", "with_config": True}, status=202)
    build = house.ledger.build(answer["id"])
    assert build is not None
    assert (build.kind, build.git_ref, build.old, build.new, build.commit, build.actor) == (
        BuildKind.ROLLBACK, "refs/tags/v1", tag_object, tag_object, COMMIT_1, "alice",
    )  # fmt: skip
    assert dict(build.options) == {"with-config": ""}
    assert (build.env_kind, build.branch) == (EnvKind.PRODUCTION, "main")


def test_a_rollback_without_a_target_goes_to_the_release_before(house: House) -> None:
    app = house.app()
    house.serve(app)
    house.serve(app, commit=COMMIT_2, digest=DIGEST_2)
    answer = document(house, "POST", f"{IRIS}/rollback", body={}, status=202)
    build = house.ledger.build(answer["id"])
    assert build is not None
    assert (build.commit, dict(build.options)) == (COMMIT_1, {"release": "1"})


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"version": "v9"}, 404, "There is no version v9; there are none yet."),
        ({"release": 9}, 404, "There is no release 9; valid targets are 1."),
        ({"release": 2}, 404, "There is no release 2; valid targets are 1."),
        ({"release": 1, "version": "v1"}, 400, "body: expected version or release, found both."),
    ],
)
def test_a_rollback_to_nowhere_names_the_valid_targets(
    house: House, body: dict[str, Any], status: int, sentence: str
) -> None:
    app = house.app()
    house.serve(app)
    house.serve(app)
    assert document(house, "POST", f"{IRIS}/rollback", body=body, status=status)["error"] == sentence
    assert house.ledger.queued() == []


def test_a_rollback_before_the_first_release_is_refused(house: House) -> None:
    house.app()
    answer = document(house, "POST", f"{IRIS}/rollback", body={}, status=409)
    assert answer["code"] == "nothing-serves"


def test_config_changes_many_at_once_and_releases_once(house: House) -> None:
    app = house.app()
    house.serve(app)
    answer = document(house, "PATCH", f"{IRIS}/config", body={"set": {"A": "1", "B": "2"}}, status=202)
    assert (answer["version"], answer["changed"], len(answer["builds"])) == (1, ["A", "B"], 1)
    build = house.ledger.build(answer["builds"][0]["id"])
    assert build is not None
    assert (build.kind, build.commit, build.branch) == (BuildKind.CONFIG, COMMIT_1, "main")
    answer = document(house, "PATCH", f"{IRIS}/config", body={"set": {"A": "x"}, "unset": ["B"]}, status=202)
    assert answer["changed"] == ["A", "B"]
    shown = document(house, "GET", f"{IRIS}/config", status=200)
    assert (shown["version"], shown["values"]) == (2, {"A": "x"})
    unchanged = document(house, "PATCH", f"{IRIS}/config", body={"set": {"A": "x"}}, status=202)
    assert (unchanged["version"], unchanged["changed"], unchanged["builds"]) == (2, [], [])


def test_a_config_change_does_not_supersede_a_waiting_push(house: House) -> None:
    app = house.app()
    house.serve(app)
    push = house.build(app, commit=COMMIT_2)
    document(house, "PATCH", f"{IRIS}/config", body={"set": {"A": "1"}}, status=202)
    waiting = house.ledger.build(push)
    assert waiting is not None
    assert waiting.state is BuildState.QUEUED


def test_config_before_the_first_push_waits_for_it(house: House) -> None:
    house.app()
    answer = document(house, "PATCH", f"{IRIS}/config", body={"set": {"A": "1"}}, status=202)
    assert (answer["version"], answer["builds"]) == (1, [])


def test_sec_52_previews_have_a_configuration_of_their_own(house: House) -> None:
    app = house.app()
    house.serve(app)
    house.serve(app, kind=EnvKind.PREVIEW, branch="feature/x")
    document(house, "PATCH", f"{IRIS}/config", body={"set": {"KEY": "production-value"}}, status=202)
    answer = document(house, "PATCH", f"{IRIS}/config", body={"set": {"KEY": "p"}, "scope": "preview"}, status=202)
    assert [build["environment"] for build in answer["builds"]] == ["preview:feature/x"]
    assert document(house, "GET", f"{IRIS}/config?scope=preview", status=200)["values"] == {"KEY": "p"}
    assert house.ledger.config(app.id, EnvKind.PRODUCTION).values == {"KEY": "production-value"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"set": {"1A": "x"}}, "a name has letters, digits and _, and no digit first"),
        ({"set": {"A=B": "x"}}, "a name has letters, digits and _, and no digit first"),
        ({"set": {"A\n": "x"}}, "a name has letters, digits and _, and no digit first"),
        ({"set": {"PORT": "1"}}, "the server sets it for every process"),
        ({"set": {"LD_PRELOAD": "1"}}, "the server sets it for every process"),
        ({"set": {"A": "x\0y"}}, "a value cannot hold a NUL character"),
        ({"set": {"A": "\ud800"}}, "the value is not valid Unicode"),
        ({"unset": ["NOPE"]}, "it is not set"),
    ],
)
def test_config_that_no_process_could_get_is_refused_whole(house: House, body: dict[str, Any], reason: str) -> None:
    app = house.app()
    body = {**body, "set": {"GOOD": "1", **body.get("set", {})}}
    answer = document(house, "PATCH", f"{IRIS}/config", body=body, status=400)
    assert (answer["code"], answer["fields"]["reason"]) == ("bad-config", reason)
    assert house.ledger.config(app.id, EnvKind.PRODUCTION).number == 0


def test_a_preview_is_deleted_by_a_durable_job(house: House) -> None:
    app = house.app()
    house.serve(app, kind=EnvKind.PREVIEW, branch="feature/x")
    shown = document(house, "GET", f"{IRIS}/previews", status=200)["previews"]
    assert [(one["branch"], one["url"]) for one in shown] == [
        ("feature/x", "http://127.0.0.1:8080/alice/iris@feature-x")
    ]
    answer = document(house, "DELETE", f"{IRIS}/previews/feature/x", status=202)
    build = house.ledger.build(answer["id"])
    assert build is not None
    assert (build.kind, build.git_ref, build.old, build.new) == (
        BuildKind.DELETE, "refs/heads/feature/x", COMMIT_1, "0" * 40,
    )  # fmt: skip
    missing = document(house, "DELETE", f"{IRIS}/previews/nope", status=404)
    assert missing["error"] == "There is no preview of nope; there are: feature/x."


def test_a_failed_build_is_told_in_words(house: House) -> None:
    app = house.app()
    build = house.build(app)
    house.ledger.finish(
        build, BuildState.FAILED, failure=Failure(code="nothing-serves", fields={"environment": "x", "action": "y"})
    )
    shown = document(house, "GET", f"/api/v1/builds/{build}", status=200)
    assert shown["state"] == "failed"
    assert shown["failure"]["error"] == "x has no release yet, so there is nothing to y."
    ended = document(house, "POST", f"/api/v1/builds/{build}/cancel", status=409)
    assert ended["error"] == f"Build {build} has ended: failed."


def test_a_waiting_build_is_cancelled(house: House) -> None:
    build = house.build(house.app())
    document(house, "POST", f"/api/v1/builds/{build}/cancel", status=202)
    shown = document(house, "GET", f"/api/v1/builds/{build}", status=200)
    assert (shown["state"], shown["cancelled_by"]) == ("cancelled", "alice")


def test_sec_53_secrets_are_masked_in_logs_and_absent_from_the_audit(house: House) -> None:
    app = house.app()
    house.serve(app)
    secret = "CANARY-s3cr3t/value"
    document(house, "PATCH", f"{IRIS}/config", body={"set": {"API_KEY": secret}}, status=202)
    build = house.build(app)
    for path in (house.settings.build_log(build), house.settings.app_log(app.id)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"before {secret} after\nplain\nlast {secret}")
    house.ledger.request_cancel(build, "alice")
    for log in (f"/api/v1/builds/{build}/log?follow=1", f"{IRIS}/logs"):
        answer = house.ask("GET", log, token=house.alices)
        assert answer.data == b"before [masked] after\nplain\nlast [masked]"
    assert "CANARY" not in house.audit_path.read_text()
    failed = house.build(app)
    failure = Failure(code="internal", fields={"build": 1, "detail": f"key {secret}"}, log=(f"KeyError: {secret}",))
    house.ledger.finish(failed, BuildState.FAILED, failure=failure)
    told = document(house, "GET", f"/api/v1/builds/{failed}", status=200)["failure"]
    assert told["log"] == ["KeyError: [masked]"]
    assert "key [masked]." in told["error"]
    everything = b"".join(
        house.ask("GET", path, token=house.alices).data
        for path in (IRIS, f"{IRIS}/releases", f"{IRIS}/builds", f"{IRIS}/versions", f"{IRIS}/previews")
    )
    assert b"CANARY" not in everything


def test_the_last_lines_of_an_apps_log_are_shown(house: House) -> None:
    app = house.app()
    path = house.settings.app_log(app.id)
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"line {number}\n" for number in range(20_000)))
    answer = house.ask("GET", f"{IRIS}/logs?lines=3", token=house.alices)
    assert answer.data == b"line 19997\nline 19998\nline 19999\n"
    assert house.ask("GET", f"{IRIS}/logs?lines=0", token=house.alices).data == b""


def test_a_token_is_shown_once_and_ends(house: House) -> None:
    made = document(house, "POST", "/api/v1/tokens", body={"label": "ci", "days": 30}, status=201)
    assert house.ask("GET", "/api/v1/whoami", token=made["token"]).status_code == 200
    listed = house.ask("GET", "/api/v1/tokens", token=house.alices).data
    secret = made["token"].rpartition("_")[2]
    assert secret.encode() not in listed
    assert made["details"]["last4"] == secret[-4:]
    house.clock.turn(days=30)
    assert house.ask("GET", "/api/v1/whoami", token=made["token"]).status_code == 401


def test_sec_17_neither_audit_nor_ledger_holds_a_tokens_secret(house: House, tmp_path: Path) -> None:
    secret = document(house, "POST", "/api/v1/tokens", body={}, status=201)["token"].rpartition("_")[2].encode()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(secret not in path.read_bytes() for path in files)


def test_another_persons_token_and_key_cannot_be_removed(house: House) -> None:
    bobs_id = house.bobs.split("_")[1]
    document(house, "DELETE", f"/api/v1/tokens/{bobs_id}", status=404)
    house.ledger.add_key(house.bob.id, fingerprint="SHA256:a/b", public_key="ssh-ed25519 x", label="")
    document(house, "DELETE", "/api/v1/keys/SHA256:a/b", status=404)
    assert house.ask("DELETE", "/api/v1/keys/SHA256:a/b", token=house.bobs).status_code == 200


def test_many_failed_logins_are_told_to_wait_and_a_good_token_is_not(house: House) -> None:
    bad = "algo_" + "0" * 16 + "_" + "0" * 64
    statuses = [house.ask("GET", "/api/v1/whoami", token=bad).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert house.ask("GET", "/api/v1/whoami", token=bad).headers["Retry-After"] == "60"
    assert house.ask("GET", "/api/v1/whoami", token=house.alices).status_code == 200
    elsewhere = house.ask("GET", "/api/v1/whoami", token=bad, headers={"X-Forwarded-For": "1.1.1.1, 10.0.0.9"})
    assert elsewhere.status_code == 401


def test_sec_48_a_crash_shows_a_number_and_nothing_of_our_inside(house: House) -> None:
    house.ledger.close()
    (house.settings.state / "ledger.sqlite").unlink()
    answer = house.ask("GET", "/api/v1/whoami", token=house.alices, headers={"X-Request-Id": "abcdef-123456"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] == "abcdef-123456"
    told = json.loads(answer.data)
    assert told["error"] == "The server failed; this was request abcdef-123456."
    assert all(
        word not in answer.data for word in (b"sqlite", b"Traceback", b".py", str(house.settings.state).encode())
    )


def test_a_request_id_of_odd_form_is_replaced(house: House) -> None:
    answer = house.ask("GET", "/healthz", headers={"X-Request-Id": "a b<script>"})
    assert len(answer.headers["X-Request-Id"]) == 16


def test_sec_61_every_change_has_a_row_in_the_audit(house: House) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM+D4nNyJhR9wRUhvqrNuUkg2hQiCyMbabqv8IdyXEZg a"
    document(house, "POST", "/api/v1/apps", body={"name": "iris"}, status=201)
    app = house.ledger.apps("alice")[0]
    house.serve(app)
    house.serve(app)
    house.serve(app, kind=EnvKind.PREVIEW, branch="x")
    document(house, "PUT", f"{IRIS}/access", body={"public": True}, status=200)
    document(house, "PATCH", f"{IRIS}/config", body={"set": {"A": "v\nforged"}}, status=202)
    rollback = document(house, "POST", f"{IRIS}/rollback", body={}, status=202)["id"]
    document(house, "POST", f"/api/v1/builds/{rollback}/cancel", status=202)
    document(house, "DELETE", f"{IRIS}/previews/x", status=202)
    fingerprint = document(house, "POST", "/api/v1/keys", body={"public_key": key}, status=201)["fingerprint"]
    document(house, "DELETE", f"/api/v1/keys/{fingerprint}", status=200)
    token = document(house, "POST", "/api/v1/tokens", body={"label": "a\nb"}, status=201)["details"]["id"]
    document(house, "DELETE", f"/api/v1/tokens/{token}", status=200)
    document(house, "DELETE", IRIS, body={"confirm": "alice/iris"}, status=200)
    rows = house.audit_rows()
    assert [row["action"] for row in rows] == [
        "app.create", "app.access", "config.change", "app.rollback", "build.cancel", "preview.delete",
        "key.add", "key.remove", "token.create", "token.revoke", "app.destroy",
    ]  # fmt: skip
    assert {row["actor"] for row in rows} == {"alice"}
    assert rows[2]["names"] == ["A"]
    assert "forged" not in house.audit_path.read_text()


def test_sec_54_no_file_of_the_state_folder_is_readable_by_others(house: House, tmp_path: Path) -> None:
    document(house, "POST", "/api/v1/apps", body={"name": "iris"}, status=201)
    assert house.audit_path.stat().st_mode & 0o077 == 0


def test_status_counts_only_the_callers_own_and_says_what_is_down(house: House) -> None:
    house.build(house.app())
    house.build(house.app("bob/other"))
    house.build(house.app("bob/third"))
    shown = document(house, "GET", "/api/v1/status", status=200)
    assert shown["components"] == {"web": True, "gateway": False, "worker": False}
    assert (shown["apps"], shown["builds"]) == (1, {"queued": 1, "running": 0})
