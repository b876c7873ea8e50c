"""Bodies through the gateway: sizes, framings, limits, slow and vanishing partners, dead kept connections."""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.gateway_house import BEARER, House, echo, make_answer, open_house, read_reply, read_request, unchunk

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house(max_body_bytes=300 * MIB) as opened:
        yield opened


def post(path: str, *headers: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path.encode(), b"Host: h", BEARER.strip(), *headers, b"", b""]
    return b"\r\n".join(lines)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000, 3 * MIB])
def test_a_body_of_any_size_arrives_whole(house: House, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with house.connect() as connection:
        for _ in range(2):
            connection.sendall(post("/alice/iris/", b"Content-Length: %d" % size) + body)
            seen = read_reply(connection).json
            assert (seen["size"], seen["sha256"]) == (size, hashlib.sha256(body).hexdigest())


def test_a_chunked_body_arrives_chunked_without_its_extensions_or_trailers(house: House) -> None:
    parts = [b"a" * 10, b"b" * 70_000, b"c"]
    stream = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\nX-Trailer: 1\r\n\r\n"
    with house.connect() as connection:
        for step in (len(stream), 7, 4096):
            connection.sendall(post("/alice/iris/", b"Transfer-Encoding: chunked"))
            for start in range(0, len(stream), step if step > 7 else 997):
                connection.sendall(stream[start : start + (step if step > 7 else 997)])
            seen = read_reply(connection).json
            assert seen["headers"]["transfer-encoding"] == "chunked"
            assert seen["sha256"] == hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_client_that_waits_for_100_gets_it_and_the_model_hears_nothing_of_it(house: House) -> None:
    for size in (4, 200_000):
        with house.connect() as connection:
            connection.sendall(post("/alice/iris/", b"Content-Length: %d" % size, b"Expect: 100-continue"))
            assert read_reply(connection).status == 100
            connection.sendall(b"x" * size)
            seen = read_reply(connection).json
            assert (seen["size"], "expect" in seen["headers"]) == (size, False)


def test_a_body_over_the_limit_is_refused_before_it_is_read_and_the_client_sees_why() -> None:
    with open_house(max_body_bytes=MIB) as small:
        with small.connect() as connection:
            connection.sendall(post("/alice/iris/", b"Content-Length: 8000000"))
            connection.sendall(b"x" * 8_000_000)  # a client that does not look before it has sent everything
            reply = read_reply(connection)
            assert reply.status == 413
            assert reply.json["error"].startswith("The body is larger than 1048576 bytes")
            assert connection.recv(1) == b""
        with small.connect() as connection:
            connection.sendall(post("/alice/iris/", b"Transfer-Encoding: chunked"))
            for _ in range(40):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            assert read_reply(connection).status == 413
        git = b"POST /alice/iris.git/git-receive-pack HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n"
        assert small.talk(git + b"x" * 8_000_000).json["size"] == 8_000_000


def test_200_mb_pass_both_ways_in_flat_memory(house: House) -> None:
    total = 200 * MIB

    async def give_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        left = total
        while left:
            data = await reader.read(min(left, 1 << 18))
            left -= len(data)
            writer.write(data)
            await writer.drain()

    house.serve("b1", give_back)
    try:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        block = bytes(range(256)) * 4096
        with house.connect() as connection:
            connection.sendall(post("/alice/iris/", b"Content-Length: %d" % total))

            def send() -> None:
                for _ in range(total // len(block)):
                    connection.sendall(block)

            thread = threading.Thread(target=send)
            thread.start()
            time.sleep(0.5)  # nobody reads the answer: everything stands, and nothing grows
            received, digest = 0, hashlib.sha256()
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            data = data.partition(b"\r\n\r\n")[2]
            while received < total:
                digest.update(data)
                received += len(data)
                data = connection.recv(1 << 18) if received < total else b""
            thread.join()
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grown_mib < 30  # client, gateway and model are all in this process
        expected = hashlib.sha256()
        for _ in range(total // len(block)):
            expected.update(block)
        assert digest.digest() == expected.digest()
    finally:
        house.serve("b1", echo("b1"))


def test_a_slow_reader_holds_a_bounded_amount_in_the_gateway(house: House) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    house.serve("b3", pour)
    try:
        with house.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(b"GET /alice/open/ HTTP/1.1\r\nHost: h\r\n\r\n")
            time.sleep(1.0)
            stuck = sent
            time.sleep(0.5)
            assert sent == stuck
            assert sent < 12 * MIB  # the kernel's socket buffers; a gateway that collected would have all 500 MB
    finally:
        house.serve("b3", echo("b3"))


@contextmanager
def served(house: House, instance: str, raw: bytes, *, close: bool = False) -> Iterator[None]:
    """The instance answers each request with these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(raw)
            await writer.drain()
            if close:
                return

    house.serve(instance, handle)
    try:
        yield
    finally:
        house.serve(instance, echo(instance))


def test_an_answer_that_ends_with_the_connection_reaches_the_client_in_chunks(house: House) -> None:
    with served(house, "b1", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello", close=True):
        with house.connect() as connection:
            for _ in range(2):
                connection.sendall(post("/alice/iris/"))
                reply = read_reply(connection)
                assert (reply.headers["transfer-encoding"], reply.body) == ("chunked", b"hello")
        old = house.talk(b"GET /alice/iris/ HTTP/1.0\r\n" + BEARER + b"\r\n", until_close=True)
        assert ("transfer-encoding" in old.headers, old.body) == (False, b"hello")


def test_a_chunked_answer_is_chunked_for_1_1_and_plain_for_1_0(house: House) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
    raw = hint + head + b"3;x=1\r\nabc\r\n2\r\nde\r\n0\r\nX: 1\r\n\r\n"
    with served(house, "b1", raw):
        reply = house.talk(post("/alice/iris/"))
        assert (reply.body, "trailer" in reply.headers) == (b"abcde", False)
        old = house.talk(b"GET /alice/iris/ HTTP/1.0\r\n" + BEARER + b"\r\n", until_close=True)
        assert (old.body, old.headers["connection"]) == (b"abcde", "close")


def test_events_arrive_one_by_one_while_the_model_is_still_working(house: House) -> None:
    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            event = b"data: %d\n\n" % number
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(0.3)
        writer.write(b"0\r\n\r\n")

    house.serve("b1", stream)
    try:
        with house.connect() as connection:
            connection.sendall(post("/alice/iris/"))
            times, data = [], b""
            while not data.endswith(b"0\r\n\r\n"):
                data += connection.recv(65536)
                times.append(time.monotonic())
            assert unchunk(data.partition(b"\r\n\r\n")[2]) == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
            assert times[-1] - times[0] > 0.5
    finally:
        house.serve("b1", echo("b1"))


@pytest.mark.parametrize(
    "raw",
    [
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_sec_49_an_answer_with_two_meanings_becomes_502(house: House, raw: bytes) -> None:
    with served(house, "b1", raw):
        reply = house.talk(post("/alice/iris/"))
        assert reply.status == 502
        assert reply.json == {
            "error": "alice/iris ended or answered no valid HTTP while it had this call (its log: algo logs)"
        }


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc",
    ],
)
def test_an_answer_that_is_cut_is_cut_for_the_client_too(house: House, raw: bytes) -> None:
    with served(house, "b1", raw, close=True), house.connect() as connection:
        connection.sendall(post("/alice/iris/"))
        with pytest.raises((EOFError, ConnectionResetError)):
            read_reply(connection)


def test_a_small_call_survives_a_kept_connection_that_has_died(house: House) -> None:
    for path in ("/alice/iris/", "/alice/iris/x"):
        with served(house, "b1", make_answer(b"{}"), close=True), house.connect() as connection:
            for _ in range(30):
                connection.sendall(post(path, b"Content-Length: 2") + b"ab")
                assert read_reply(connection).status == 200


def test_a_call_that_the_process_took_with_it_is_not_run_twice(house: House) -> None:
    calls = 0

    async def first_good_then_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        await read_request(reader)
        writer.write(make_answer(b"{}"))
        await read_request(reader)
        calls += 1

    house.serve("b1", first_good_then_gone)
    try:
        with house.connect() as connection:
            connection.sendall(post("/alice/iris/", b"Content-Length: 2") + b"ab")
            assert read_reply(connection).status == 200
            connection.sendall(post("/alice/iris/", b"Content-Length: 2") + b"ab")
            assert read_reply(connection).status == 502
        assert calls == 1
    finally:
        house.serve("b1", echo("b1"))


def test_a_client_that_leaves_ends_the_upstreams_work(house: House) -> None:
    gone = threading.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        try:
            await reader.readexactly(1)
        except (EOFError, OSError):
            gone.set()

    house.serve("b1", wait)
    try:
        with house.connect() as connection:
            connection.sendall(post("/alice/iris/"))
            time.sleep(0.2)
            assert not gone.is_set()
        assert gone.wait(5)
    finally:
        house.serve("b1", echo("b1"))


def test_an_early_answer_is_seen_and_the_rest_of_the_body_is_read_away(house: House) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(make_answer(b"no", status=b"403 Forbidden"))
        await writer.drain()

    house.serve("b1", refuse)
    try:
        with house.connect() as connection:
            connection.sendall(post("/alice/iris/", b"Content-Length: 5000000"))
            time.sleep(0.2)
            connection.sendall(b"x" * 5_000_000)
            assert read_reply(connection).status == 403
            connection.sendall(post("/alice/open/", b"Content-Length: 1") + b"x")
            assert read_reply(connection).json["size"] == 1
    finally:
        house.serve("b1", echo("b1"))


def test_a_websocket_is_tunnelled_and_counts_as_running(house: House) -> None:
    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers, _ = await read_request(reader)
        assert (headers["connection"], headers["upgrade"]) == ("Upgrade", "websocket")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        while data := await reader.read(65536):
            writer.write(data.upper())

    address = house.serve("b1", upgrade)
    try:
        with house.connect() as connection:
            connection.sendall(
                b"GET /alice/iris/ws HTTP/1.1\r\nHost: h\r\n"
                + BEARER
                + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            data = b""
            while not data.endswith(b"hello"):
                data += connection.recv(100)
            assert data.startswith(b"HTTP/1.1 101 ")
            connection.sendall(b"abc")
            assert connection.recv(100) == b"ABC"
            assert house.ask(op="drain", address=address, deadline_s=0.1) == {"ok": True, "in_flight": 1}
        time.sleep(0.2)
        assert house.ask(op="drain", address=address, deadline_s=5) == {"ok": True, "in_flight": 0}
    finally:
        house.serve("b1", echo("b1"))


def test_a_model_that_is_being_restarted_is_waited_for(house: House) -> None:
    house.kill("b1")
    timer = threading.Timer(0.7, lambda: house.serve("b1", echo("b1")))
    timer.start()
    started_at = time.monotonic()
    assert house.talk(post("/alice/iris/", b"Content-Length: 2") + b"ab").status == 200
    assert 0.4 < time.monotonic() - started_at < 3
    timer.join()


def test_a_model_that_stays_down_is_503_with_the_time_to_come_back(house: House) -> None:
    house.kill("b1")
    try:
        reply = house.talk(post("/alice/iris/", b"Content-Length: 2") + b"ab")
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert reply.json["error"].startswith("alice/iris is being started again")
    finally:
        house.serve("b1", echo("b1"))


def test_one_connection_carries_every_kind_of_answer(house: House) -> None:
    with house.connect() as connection:
        for _ in range(3):
            for path, status in (("/alice/iris/", 200), ("/alice/iris@no/", 404), ("/alice/new/", 503)):
                connection.sendall(post(path))
                reply = read_reply(connection)
                assert reply.status == status
                assert json.loads(reply.body)


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /alice/iris/ HTTP/1.1\r\nHo", 408),
        (post("/alice/iris/", b"Content-Length: 5") + b"ab", 408),
        (post("/alice/iris/", b"Content-Length: 500000") + b"ab", 408),
        (post("/alice/iris/", b"Transfer-Encoding: chunked") + b"5\r\nab", 408),
    ],
)
def test_what_does_not_arrive_in_time_is_408(house: House, start: bytes, status: int) -> None:
    with house.connect() as connection:
        connection.sendall(start)
        time.sleep(0.2)
        expire_all(house)
        reply = read_reply(connection)
        assert (reply.status, reply.headers["connection"]) == (status, "close")


def test_a_model_that_does_not_answer_in_time_is_504_and_its_call_is_cut(house: House) -> None:
    gone = threading.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        try:
            await reader.readexactly(1)
        except (EOFError, OSError):
            gone.set()

    house.serve("b1", hang)
    try:
        with house.connect() as connection:
            connection.sendall(post("/alice/iris/"))
            time.sleep(0.2)
            expire_all(house)
            reply = read_reply(connection)
            assert (reply.status, reply.json) == (504, {"error": "alice/iris did not answer within 330 s"})
            assert gone.wait(5)
            connection.sendall(post("/alice/open/"))
            assert read_reply(connection).status == 200
    finally:
        house.serve("b1", echo("b1"))


def test_an_idle_connection_is_closed_without_a_word(house: House) -> None:
    with house.connect() as connection:
        connection.sendall(post("/alice/iris/"))
        assert read_reply(connection).status == 200
        time.sleep(0.1)
        expire_all(house)
        assert connection.recv(1) == b""


def expire_all(house: House) -> None:
    """The deadline of every connection is now: the gateway's next sweep finds it."""

    async def expire() -> None:
        assert house.gateway is not None
        for client in house.gateway.front.clients:
            client.deadline_at = 0.0

    house.run(expire())
