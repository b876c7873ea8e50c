"""What reaches a model or the control plane through the gateway, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway_house import ALICE, BEARER, BOB, House, open_house, read_reply


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


def test_a_call_reaches_the_production_release_without_its_prefix(house: House) -> None:
    reply = house.get("/alice/iris/predict?a=1")
    assert reply.status == 200
    assert (reply.json["name"], reply.json["line"]) == ("b1", "GET /predict?a=1 HTTP/1.1")
    seen = reply.json["headers"]
    assert seen["x-forwarded-prefix"] == "/alice/iris"
    assert (seen["x-forwarded-for"], seen["x-forwarded-proto"], seen["x-forwarded-host"]) == ("127.0.0.1", "http", "h")
    assert seen["host"] == "h"
    assert seen["x-request-id"] == reply.headers["x-request-id"]
    assert "connection" not in reply.headers


def test_our_token_never_reaches_the_model(house: House) -> None:
    assert "authorization" not in house.get("/alice/iris/").json["headers"]
    assert "authorization" not in house.get("/alice/open/").json["headers"]
    foreign = house.get("/alice/open/", b"Authorization: Bearer something-else", token=b"")
    assert foreign.json["headers"]["authorization"] == "Bearer something-else"


def test_the_control_plane_gets_git_and_api_with_the_header(house: House) -> None:
    for target in ("/alice/iris.git/info/refs?service=git-upload-pack", "/api/v1/apps", "/", "/ui/", "/alice"):
        reply = house.get(target)
        assert reply.json["name"] == "web"
        assert reply.json["line"] == f"GET {target} HTTP/1.1"
        assert reply.json["headers"]["authorization"] == f"Bearer {ALICE.text}"


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Simple " + ALICE.text.encode(),
        b"authorization: " + ALICE.text.encode(),
        b"Authorization: Basic " + __import__("base64").b64encode(b"x:" + ALICE.text.encode()),
    ],
)
def test_each_way_to_send_the_token_opens_the_app(house: House, header: bytes) -> None:
    assert house.get("/alice/iris/", header, token=b"").status == 200


def test_without_a_token_the_answer_says_how_to_send_one(house: House) -> None:
    reply = house.get("/alice/iris/predict", token=b"")
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="algo", Basic realm="algo"'
    assert reply.json == {
        "error": "This call needs a token that is valid here: Authorization: Bearer algo_... "
        "(make one: algo tokens create)"
    }


def test_sec_10_12_18_an_app_of_somebody_else_looks_like_one_that_does_not_exist(house: House) -> None:
    bob = f"Authorization: Bearer {BOB.text}\r\n".encode()

    def answers(name: str, token: bytes) -> list[tuple[int, bytes]]:
        targets = ("{}/predict", "{}", "{}@v9/predict", "{}/?app=bob/other&app=x", "v1/algo/{}", "v1/algo/{}/9")
        replies = [house.get("/" + target.format(name), token=token) for target in targets]
        return [(reply.status, reply.body.replace(name.encode(), b"NAME")) for reply in replies]

    assert answers("alice/iris", bob) == answers("alice/none", bob)
    assert answers("alice/iris", b"") == answers("alice/none", b"")
    assert {status for status, _ in answers("alice/iris", bob)} == {404}
    assert {status for status, _ in answers("alice/iris", b"")} == {401}


def test_an_unknown_version_is_told_what_exists(house: House) -> None:
    reply = house.get("/alice/iris@v9/predict")
    assert reply.status == 404
    assert reply.json == {"error": "alice/iris has no version or branch 'v9'; it has: main, v1, v2, feature/x"}


def test_an_app_without_a_release_says_how_to_make_one(house: House) -> None:
    reply = house.get("/alice/new/predict")
    assert reply.status == 503
    assert reply.json == {"error": "alice/new has no running release yet; push one: git push algo main"}


def test_algorithmia_gets_its_own_error_object(house: House) -> None:
    reply = house.get("/v1/algo/alice/iris/9.9")
    assert reply.status == 404
    assert reply.json["error"]["message"].startswith("alice/iris has no version or branch '9.9'; it has: main")
    assert reply.json["metadata"] == {"duration": 0.0}


def test_algorithmia_paths_reach_the_runtime_without_the_version(house: House) -> None:
    for version in ("", "/2", "/v2", "/latest", "/main", "/4f2c9e1"):
        reply = house.get(f"/v1/algo/alice/iris{version}?timeout=10")
        assert (reply.json["name"], reply.json["line"]) == ("b1", "GET /v1/algo/alice/iris?timeout=10 HTTP/1.1")
    assert house.get("/v1/algo/alice/iris/feature/x").json["name"] == "b2"


def test_a_branch_is_reached_with_slash_or_dash(house: House) -> None:
    for target in ("/alice/iris@feature/x/predict", "/alice/iris@feature-x/predict", "/alice/iris@beefbee/predict"):
        reply = house.get(target)
        assert (reply.json["name"], reply.json["line"]) == ("b2", "GET /predict HTTP/1.1")
        assert reply.json["headers"]["x-forwarded-prefix"] == target.removesuffix("/predict")


def test_an_app_without_slash_is_sent_to_the_one_with(house: House) -> None:
    reply = house.get("/alice/iris?x=1")
    assert (reply.status, reply.headers["location"]) == (308, "/alice/iris/?x=1")
    assert house.get("/alice/iris@feature/x").headers["location"] == "/alice/iris@feature/x/"


def test_what_the_client_says_of_forwarding_is_replaced(house: House) -> None:
    lies = (b"X-Forwarded-For: 6.6.6.6", b"X-Forwarded-Prefix: /x", b"Forwarded: for=6.6.6.6", b"X-Real-IP: 6.6.6.6")
    seen = house.get("/alice/iris/", *lies).json["headers"]
    assert (seen["x-forwarded-for"], seen["x-forwarded-prefix"]) == ("127.0.0.1", "/alice/iris")
    assert "forwarded" not in seen
    assert "x-real-ip" not in seen


def test_hop_by_hop_headers_end_at_the_gateway(house: House) -> None:
    seen = house.get(
        "/alice/iris/", b"Connection: keep-alive, X-Secret", b"X-Secret: 1", b"Keep-Alive: timeout=5",
        b"TE: trailers", b"Proxy-Authorization: x", b"Upgrade: h2c",
    ).json["headers"]  # fmt: skip
    assert not {"connection", "x-secret", "keep-alive", "te", "proxy-authorization", "upgrade"} & set(seen)


def test_a_request_id_of_the_client_is_kept(house: House) -> None:
    reply = house.get("/alice/iris/", b"X-Request-Id: mine-1")
    assert (reply.json["headers"]["x-request-id"], reply.headers["x-request-id"]) == ("mine-1", "mine-1")


def test_pipelined_requests_are_answered_in_order(house: House) -> None:
    one = b"POST /alice/iris/%d HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 2\r\n\r\nab"
    with house.connect() as connection:
        connection.sendall(
            b"".join(one % number for number in range(5)) + b"GET /nope/nope/ HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        stream = b""
        while stream.count(b"HTTP/1.1 ") < 6 or not stream.endswith(b'create)"}\n'):
            stream += connection.recv(65536)
    positions = [stream.index(b"POST /%d HTTP/1.1" % number) for number in range(5)]
    assert positions == sorted(positions)


def test_http_1_0_is_answered_and_closed(house: House) -> None:
    reply = house.talk(b"GET /alice/iris/ HTTP/1.0\r\n" + BEARER + b"\r\n", until_close=True)
    assert (reply.status, reply.headers["connection"]) == (200, "close")


def test_head_has_no_body_and_the_connection_goes_on(house: House) -> None:
    head = b"HEAD /alice/iris/ HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n"
    with house.connect() as connection:
        for _ in range(2):
            connection.sendall(head)
            reply = read_reply(connection, is_head=True)
            assert (reply.status, reply.body) == (200, b"")
            assert int(reply.headers["content-length"]) > 0


def test_a_split_head_is_put_together(house: House) -> None:
    head = b"GET /alice/iris/ HTTP/1.1\r\nHost: h\r\n" + BEARER + b"\r\n"
    with house.connect() as connection:
        for position in range(len(head)):
            connection.sendall(head[position : position + 1])
        assert read_reply(connection).status == 200


def test_healthz_names_the_part_that_is_missing(house: House) -> None:
    reply = house.get("/healthz", token=b"")
    assert (reply.status, reply.json) == (503, {"error": "not ready: ssh"})
