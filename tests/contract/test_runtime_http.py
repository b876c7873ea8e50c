"""The shim on raw sockets: limits before bodies, invalid requests, and stopping without a lost call."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.runtime_shim import FUNCTION, Shim, running

ECHO = "import time\ndef predict(x, wait=0.0):\n    time.sleep(wait)\n    return x\n"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    folder = tmp_path_factory.mktemp("echo")
    with running(folder, {"predict.py": ECHO}, FUNCTION, {"ALGO_MAX_BODY_BYTES": "1000"}) as shim:
        yield shim


def connect(shim: Shim) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    try:
        sock.connect(str(shim.socket_path))
    except OSError:
        sock.close()
        raise
    return sock


def exchange(shim: Shim, request: bytes) -> bytes:
    """Everything that comes back until the server closes or is silent for half a second."""
    with connect(shim) as sock:
        sock.sendall(request)
        received = b""
        sock.settimeout(0.5)
        try:
            while part := sock.recv(65536):
                received += part
        except TimeoutError:
            pass
        return received


def test_a_body_over_the_limit_is_413_before_it_is_read(echo: Shim) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 1001\r\n"
    reply = exchange(echo, head + b"Expect: 100-continue\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in reply
    assert b"1000 bytes, the limit of this server" in reply


def test_a_413_arrives_although_the_client_is_still_sending(echo: Shim) -> None:
    size = 3_000_000
    with connect(echo) as sock:
        head = f"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        sock.sendall(head.encode() + b"x" * size)
        assert sock.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_over_the_limit_is_413(echo: Shim) -> None:
    body = b"3e9\r\n" + b" " * 1001 + b"\r\n0\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert exchange(echo, head + body).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_read(echo: Shim) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = exchange(echo, head + b'4\r\n{"x"\r\n4\r\n: 7}\r\n0\r\n\r\n')
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.endswith(b"\r\n\r\n7")


def test_pipelined_requests_are_answered_in_order(echo: Shim) -> None:
    one = b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n%d"
    reply = exchange(echo, b"".join(one % number for number in range(5)))
    assert [part[:1] for part in reply.split(b"\r\n\r\n")[1:]] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 3", "Transfer-Encoding: chunked"],
        ["Content-Length: 3", "Content-Length: 4"],
        ["Content-Length: +3"],
        ["Content-Length: 3, 3"],
        ["Content-Length: -1"],
        ["Content-Length: 18446744073709551619"],
        ["Transfer-Encoding: gzip"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Transfer-Encoding : chunked"],
        ["X: a", " folded: b"],
        ["bad name: x"],
    ],
)
def test_sec_49_requests_with_two_readings_are_refused(echo: Shim, lines: list[str]) -> None:
    head = "\r\n".join(["POST /predict HTTP/1.1", "Host: m", "Content-Type: application/json", *lines, "", ""])
    smuggled = "GET /metrics HTTP/1.1\r\nHost: m\r\n\r\n"
    reply = exchange(echo, f"{head}0\r\n\r\n{smuggled}".encode())
    assert reply[9:12] in (b"400", b"413", b"501"), reply
    assert reply.count(b"HTTP/1.1 ") == 1, reply


def test_bare_line_feeds_are_no_end_of_a_head(echo: Shim) -> None:
    reply = exchange(echo, b"GET /healthz HTTP/1.1\nHost: m\n\n")
    assert not reply.startswith(b"HTTP/1.1 200")


def test_a_truncated_body_harms_nobody(echo: Shim) -> None:
    with connect(echo) as sock:
        sock.sendall(b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Length: 100\r\n\r\n{")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(65536).startswith(b"HTTP/1.1 400 ")
    with echo.client() as client:
        assert client.post("/predict", json=1).json() == 1


class Caller(threading.Thread):
    """Calls as fast as it can; keeps its connection or opens one per call. Counts answers and lost calls.

    A connection that cannot be opened is no lost call: nothing was accepted. A kept connection that the server has
    closed while idle is opened again, as every client must.
    """

    def __init__(self, shim: Shim, *, keep: bool) -> None:
        super().__init__(daemon=True)
        self.shim, self.keep = shim, keep
        self.answered, self.lost = 0, []  # type: int, list[str]

    def run(self) -> None:
        connection: socket.socket | None = None
        while True:
            try:
                if connection is None:
                    connection = connect(self.shim)
            except OSError:
                return
            try:
                client = http.client.HTTPConnection("m")
                client.sock = connection
                client.request("POST", "/predict", b'{"x": 1, "wait": 0.02}', {"Content-Type": "application/json"})
                reply = client.getresponse()
                assert (reply.status, reply.read()) == (200, b"1")
                self.answered += 1
                if not self.keep or reply.headers.get("Connection") == "close":
                    connection.close()
                    connection = None
            except Exception as exc:
                self.lost.append(repr(exc))
                if connection is not None:
                    connection.close()
                return


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_under_load_loses_no_call(tmp_path: Path, keep: bool, whole_group: bool) -> None:
    with running(tmp_path, {"predict.py": ECHO}, FUNCTION, {"ALGO_WORKERS": "2"}) as shim:
        callers = [Caller(shim, keep=keep) for _ in range(8)]
        for caller in callers:
            caller.start()
        time.sleep(0.5)
        assert shim.process is not None
        started = time.monotonic()
        if whole_group:
            os.killpg(shim.process.pid, signal.SIGTERM)
        else:
            shim.process.terminate()
        assert shim.process.wait(timeout=40) == 0
        assert time.monotonic() - started < 8
        for caller in callers:
            caller.join(timeout=20)
        assert [caller.lost for caller in callers if caller.lost] == []
        assert sum(caller.answered for caller in callers) > 50


def test_connections_that_wait_in_the_queue_at_sigterm_are_answered(tmp_path: Path) -> None:
    with running(tmp_path, {"predict.py": ECHO}, FUNCTION) as shim:
        assert shim.process is not None
        parent = shim.process.pid
        worker = int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
        # A frozen worker accepts nothing, so these calls are in the queue for certain when the stop arrives.
        os.kill(worker, signal.SIGSTOP)
        waiting = [connect(shim) for _ in range(6)]
        for sock in waiting:
            sock.sendall(
                b"POST /predict HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n9"
            )
        shim.process.terminate()
        deadline_at = time.monotonic() + 10
        while shim.socket_path.exists():
            assert time.monotonic() < deadline_at
            time.sleep(0.01)
        os.kill(worker, signal.SIGCONT)
        for sock in waiting:
            reply = sock.recv(65536)
            assert reply.startswith(b"HTTP/1.1 200 "), reply
            sock.close()
        assert shim.process.wait(timeout=20) == 0


def test_a_running_call_is_finished_after_sigterm_and_readiness_says_no(tmp_path: Path) -> None:
    with running(tmp_path, {"predict.py": ECHO}, FUNCTION) as shim:
        client = http.client.HTTPConnection("m")
        client.sock = connect(shim)
        other = http.client.HTTPConnection("m")
        other.sock = connect(shim)
        other.request("GET", "/readyz")
        assert other.getresponse().read() == b'{"live":true,"ready":true}'
        client.request("POST", "/predict", json.dumps({"x": 5, "wait": 1.5}), {"Content-Type": "application/json"})
        time.sleep(0.3)
        assert shim.process is not None
        shim.process.terminate()
        time.sleep(0.5)
        other.request("GET", "/readyz")
        reply = other.getresponse()
        assert (reply.status, reply.headers["Retry-After"], reply.headers["Connection"]) == (503, "1", "close")
        reply.read()
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b"5")
        client.close()
        other.close()
        assert shim.process.wait(timeout=20) == 0
        assert not shim.socket_path.exists()


def test_on_tcp_new_connections_are_answered_until_the_drain_delay_ends(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {"ALGO_BIND": f"127.0.0.1:{port}", "ALGO_DRAIN_DELAY_S": "1"}
    with running(tmp_path, {"predict.py": ECHO}, FUNCTION, env) as shim:
        assert shim.process is not None
        shim.process.terminate()
        time.sleep(0.4)
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("POST", "/predict", b"3", {"Content-Type": "application/json"})
        assert client.getresponse().read() == b"3"
        client.close()
        assert shim.process.wait(timeout=20) == 0
