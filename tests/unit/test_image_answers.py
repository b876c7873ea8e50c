"""What registries answer: challenges, tokens, refusals; read without a registry."""

from __future__ import annotations

import json

import pytest

from buildpacks.image.answers import Answer, Place, is_full, refusal
from buildpacks.image.challenge import Challenge, parse_challenge, parse_token
from buildpacks.image.registry import pause_s
from buildpacks.image.repository import Upload, after

HERE = Place(registry="h.example", repository="team/app", user="alice")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="x"', Challenge(kind="basic")),
        ("basic", Challenge(kind="basic")),
        (
            'Bearer realm="https://a.example/token",service="r.example",scope="repository:x:pull,push"',
            Challenge(kind="bearer", realm="https://a.example/token", service="r.example"),
        ),
        ("Bearer realm=https://a.example/t", Challenge(kind="bearer", realm="https://a.example/t")),
        (r'Bearer realm="https://a.example/\"t"', Challenge(kind="bearer", realm='https://a.example/"t')),
        ("Bearer service=x", None),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_a_challenge_is_read(header: str, expected: Challenge | None) -> None:
    assert parse_challenge(header) == expected


def test_a_token_is_given_up_before_it_ends() -> None:
    token = parse_token({"token": "abc", "expires_in": 300})
    assert token is not None
    assert (token.header, token.life_s) == ("Bearer abc", 290.0)
    short = parse_token({"access_token": "abc", "expires_in": 4})
    assert short is not None
    assert short.life_s == 2.0


@pytest.mark.parametrize("document", [None, [], {}, {"token": ""}, {"token": "a\r\nX: y"}, {"token": 5}])
def test_an_answer_without_a_token_is_none(document: object) -> None:
    assert parse_token(document) is None  # type: ignore[arg-type]  # what a foreign server may send


def answer(status: int, code: str = "", message: str = "", **headers: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}) if code else message
    return Answer(status=status, headers=headers, body=body.encode())


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (answer(401), "registry-login-wrong"),
        (answer(403, "DENIED", "no"), "registry-denied"),
        (answer(405, "UNSUPPORTED", "The operation is unsupported."), "registry-read-only"),
        (answer(404, "NAME_UNKNOWN", "create it first"), "registry-repository-missing"),
        (answer(507), "registry-full"),
        (answer(500, "UNKNOWN", "write /x: no space left on device"), "registry-full"),
        (answer(500, "UNKNOWN", "who knows"), "registry-busy"),
        (answer(503), "registry-busy"),
        (answer(400, "", "Client sent an HTTP request to an HTTPS server."), "registry-wants-https"),
        (answer(400, "MANIFEST_INVALID", "no"), "registry-refused"),
        (answer(418), "registry-refused"),
    ],
)
def test_each_refusal_has_its_own_sentence(found: Answer, code: str) -> None:
    assert refusal(found, HERE, "do it").code == code


def test_who_comes_without_a_login_is_told_to_log_in() -> None:
    assert refusal(answer(401), Place(registry="h", repository="r", user=""), "x").code == "registry-login-missing"


def test_a_full_disk_is_seen_in_the_number_that_distribution_hides_it_in() -> None:
    body = b'{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"Enclosed":{"Op":"write","Err":28}}}]}'
    assert is_full(Answer(status=500, headers={}, body=body))
    assert not is_full(Answer(status=500, headers={}, body=body.replace(b"28", b"13")))


def test_a_web_page_is_not_shown() -> None:
    page = Answer(status=404, headers={"content-type": "text/html; charset=utf-8"}, body=b"<html>hello</html>")
    assert page.words() == ""


def test_words_of_a_registry_are_one_line_and_cut() -> None:
    long = answer(400, "X", "a\nb" + "c" * 5000)
    assert long.words().startswith("a bccc")
    assert len(long.words()) == 300


@pytest.mark.parametrize(
    ("range_header", "offset"),
    [("0-1023", 1024), ("bytes=0-1023", 1024), ("0-0", 0), ("", -1), ("5-9", -1), ("0-x", -1)],
)
def test_an_upload_goes_on_after_the_last_byte_that_the_registry_names(range_header: str, offset: int) -> None:
    headers = {"range": range_header, "location": "/v2/next"}
    found = after(Upload(url="/v2/before", offset=7, chunk_bytes=9), Answer(status=204, headers=headers))
    assert found == Upload(url="/v2/next", offset=offset, chunk_bytes=9)


def test_pauses_grow_and_a_registry_can_ask_for_its_own_but_not_for_hours() -> None:
    assert [pause_s(attempt) for attempt in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert pause_s(1, answer(429, **{"retry-after": "3"})) == 3.0
    assert pause_s(1, answer(429, **{"retry-after": "86400"})) == 30.0
    assert pause_s(2, answer(429, **{"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})) == 0.4
