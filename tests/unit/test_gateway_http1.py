"""Heads and bodies, bytes in and values out. The corpus of refused requests is in tests/contract/gateway_corpus."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitserver.gateway.framing import (
    LAST_CHUNK,
    BadFraming,
    BodyReader,
    ChunkedReader,
    LengthReader,
    make_chunk,
)
from gitserver.gateway.heads import make_client_head, make_upstream_head
from gitserver.gateway.http1 import (
    Refusal,
    RequestHead,
    ResponseHead,
    judge_fragment,
    parse_request_head,
    parse_response_head,
)


def parse(*lines: bytes) -> RequestHead:
    head = parse_request_head(b"\r\n".join([*lines, b"", b""]))
    assert isinstance(head, RequestHead), head
    return head


def answer(*lines: bytes, method: bytes = b"GET") -> ResponseHead:
    head = parse_response_head(b"\r\n".join([*lines, b"", b""]), method=method)
    assert head is not None
    return head


@pytest.mark.parametrize(
    ("minor", "connection", "keeps"),
    [(1, b"", True), (1, b"close", False), (1, b"x, Close", False), (0, b"", False), (0, b"Keep-Alive", True)],
)
def test_keep_alive_is_as_the_version_and_connection_say(minor: int, connection: bytes, keeps: bool) -> None:
    head = parse(b"GET / HTTP/1.%d" % minor, b"Host: h", b"Connection: " + connection)
    assert head.keep_alive is keeps


def test_only_websocket_is_an_upgrade() -> None:
    for value, expected in ((b"WebSocket", True), (b"h2c", False), (b"websocket, h2c", False)):
        head = parse(b"GET / HTTP/1.1", b"Host: h", b"Connection: Upgrade", b"Upgrade: " + value)
        assert head.is_websocket is expected
        upstream = make_upstream_head(head, target=b"/", prefix=b"", scheme=b"http", drop_token=False)
        assert (b"Upgrade" in upstream) is expected


def test_a_request_id_that_is_too_long_or_has_spaces_is_replaced() -> None:
    assert parse(b"GET / HTTP/1.1", b"Host: h", b"X-Request-Id: a-1").request_id == b"a-1"
    assert parse(b"GET / HTTP/1.1", b"Host: h", b"X-Request-Id: " + b"a" * 129).request_id == b""
    assert parse(b"GET / HTTP/1.1", b"Host: h", b"X-Request-Id: a b").request_id == b""


def test_the_upstream_head_is_exactly_this() -> None:
    head = parse(
        b"POST /alice/iris/predict HTTP/1.1", b"Host: h:1", b"Accept: */*", b"Authorization: Bearer t",
        b"content-length: 007", b"Expect: 100-continue", b"X-Forwarded-For: lie",
    )  # fmt: skip
    assert make_upstream_head(head, target=b"/predict", prefix=b"/alice/iris", scheme=b"https", drop_token=True) == (
        b"POST /predict HTTP/1.1\r\nHost: h:1\r\nX-Forwarded-Host: h:1\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Prefix: /alice/iris\r\nContent-Length: 7\r\nAccept: */*\r\n"
    )


def test_the_client_head_is_exactly_this() -> None:
    head = answer(
        b"HTTP/1.1 200 Fine", b"Connection: keep-alive, X-Y", b"Keep-Alive: timeout=5", b"Server-Timing: a;dur=1",
        b"Content-Length: 3",
    )  # fmt: skip
    assert make_client_head(head, chunked=False, close=True, request_id=b"i") == (
        b"HTTP/1.1 200 Fine\r\nServer-Timing: a;dur=1\r\nContent-Length: 3\r\n"
        b"X-Request-Id: i\r\nConnection: close\r\n\r\n"
    )
    quick = answer(b"HTTP/1.1 200 OK", b"X-Request-ID: own", b"Content-Length: 3")
    assert make_client_head(quick, chunked=False, close=False, request_id=b"i") == (
        b"HTTP/1.1 200 OK\r\nX-Request-ID: own\r\nContent-Length: 3\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("status", "method", "headers", "length", "until_close"),
    [
        (200, b"GET", [b"Content-Length: 5"], 5, False),
        (200, b"GET", [], None, True),
        (200, b"HEAD", [b"Content-Length: 5"], 0, False),
        (200, b"HEAD", [b"Transfer-Encoding: chunked"], 0, False),
        (204, b"GET", [], 0, False),
        (304, b"GET", [b"Content-Length: 5"], 0, False),
    ],
)
def test_an_answers_body_ends_where_rfc_9112_says(
    status: int, method: bytes, headers: list[bytes], length: int | None, until_close: bool
) -> None:
    head = answer(b"HTTP/1.1 %d X" % status, *headers, method=method)
    assert (head.content_length, head.until_close, head.chunked) == (length, until_close, False)


def test_a_fragment_that_can_still_become_a_head_is_waited_for() -> None:
    assert judge_fragment(b"GET / HTTP/1.1\r\nHost:") is None
    assert judge_fragment(b"GET / HTTP/1.1\r") is None
    assert judge_fragment(b"") is None
    assert isinstance(judge_fragment(b"GET / HTTP/1.1\n"), Refusal)
    assert isinstance(judge_fragment(b"\x16\x03\x01"), Refusal)


def feed(reader: BodyReader, pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    body = b""
    for number, piece in enumerate(pieces):
        payload, rest = reader.feed(piece)
        body += payload
        if rest is not None:
            return body, rest + b"".join(pieces[number + 1 :])
    return body, None


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    bounds = [0, *sorted({position % (len(data) + 1) for position in positions}), len(data)]
    return [data[start:end] for start, end in pairwise(bounds) if end > start]


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.binary(max_size=20), st.lists(st.integers(0, 500)))
def test_a_chunked_body_is_the_same_however_it_is_cut(chunks: list[bytes], rest: bytes, positions: list[int]) -> None:
    stream = b"".join(make_chunk(chunk) for chunk in chunks) + LAST_CHUNK + rest
    assert feed(ChunkedReader(extensions=False), cut(stream, positions)) == (b"".join(chunks), rest)


@given(st.binary(min_size=1, max_size=60), st.binary(max_size=20), st.lists(st.integers(0, 500)))
def test_a_body_of_known_length_is_the_same_however_it_is_cut(body: bytes, rest: bytes, positions: list[int]) -> None:
    assert feed(LengthReader(len(body)), cut(body + rest, positions)) == (body, rest)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parsers_fail_in_another_way_than_they_say(data: bytes) -> None:
    parse_request_head(data)
    parse_request_head(b"GET / HTTP/1.1\r\nHost: h\r\n" + data + b"\r\n\r\n")
    parse_response_head(b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n", method=b"GET")
    judge_fragment(data)
    try:
        ChunkedReader(extensions=True).feed(data)
    except BadFraming:
        pass
