"""The way out of a build container: a real proxy on a real socket, and servers behind it."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildpacks.lifecycle import relay
from gitserver.targets.build_network import Gate, Place
from gitserver.targets.index_proxy import SOCKET_NAME, IndexProxy
from tests.contract.targets_house import within

Answer = Callable[[bytes], bytes]
Serve = Callable[[Gate], tuple[Answer, list[str]]]


class Listener:
    """A server on 127.0.0.1 that does one thing with each connection, and remembers what it was told."""

    def __init__(self, answer: Answer) -> None:
        self.heard: list[bytes] = []
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                data = client.recv(65536)
                self.heard.append(data)
                client.sendall(self._answer(data))

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


Listen = Callable[[Answer], Listener]


@pytest.fixture
def listen() -> Iterator[Listen]:
    made: list[Listener] = []

    def start(answer: Answer) -> Listener:
        made.append(Listener(answer))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`ask, told = serve(gate)`: bytes to the proxy -> everything that comes back."""
    open_: list[IndexProxy] = []
    folder = tmp_path / ("deep" * 30)  # beyond what a socket's address holds
    folder.mkdir()

    def start(gate: Gate) -> tuple[Answer, list[str]]:
        told: list[str] = []
        open_.append(IndexProxy(folder, gate, told.append).__enter__())

        def ask(data: bytes) -> bytes:
            descriptor = os.open(folder, os.O_PATH)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(f"/proc/self/fd/{descriptor}/{SOCKET_NAME}")
                os.close(descriptor)
                client.sendall(data)
                found = b""
                while piece := client.recv(65536):
                    found += piece
                return found

        return ask, told

    yield start
    for proxy in open_:
        proxy.__exit__(None, None, None)
    assert list(folder.iterdir()) == []


def gate(*ports: int, **env: str) -> Gate:
    return Gate(named=frozenset(Place(host="localhost", port=port) for port in ports), env=env)


def hello(name: str) -> bytes:
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_plain_request_is_made_anew_for_the_index_and_nothing_else_of_it_gets_through(
    serve: Serve, listen: Listen
) -> None:
    index = listen(lambda _: OK)
    ask, _ = serve(gate(index.port))
    head = (
        f"GET http://localhost:{index.port}/simple/x/?a=1 HTTP/1.1\r\nHost: other.example\r\nAccept: */*\r\n"
        "Proxy-Authorization: Basic eA==\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\n"
    ).encode()
    assert ask(head + b"GET /second HTTP/1.1\r\nHost: other.example\r\n\r\n") == OK
    host = f"Host: localhost:{index.port}"
    assert index.heard == [
        f"GET /simple/x/?a=1 HTTP/1.1\r\n{host}\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode()
    ]


@pytest.mark.parametrize(
    "request_",
    [b"POST http://localhost:{}/ HTTP/1.1\r\n\r\n", b"GET /relative HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n",
     b"GET http://localhost:{}/ HTTP/1.1\r\nX: a\nHost: other\r\n\r\n", b"CONNECT localhost HTTP/1.1\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_request_for_a_file_is_refused(serve: Serve, listen: Listen, request_: bytes) -> None:
    index = listen(lambda _: OK)
    ask, _ = serve(gate(index.port))
    assert ask(request_.replace(b"{}", str(index.port).encode())).split(b" ")[1] in {b"400", b"405"}
    assert index.heard == []


def test_sec_35_another_host_or_port_is_refused_and_told_once(serve: Serve, listen: Listen) -> None:
    index = listen(lambda _: OK)
    ask, told = serve(gate(index.port))
    for _ in range(3):
        assert ask(b"CONNECT example.com:443 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    assert ask(b"CONNECT localhost:22 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    line = "the build asked for {}, which is not one of the package indexes (build network: indexes)"
    assert told == [line.format("example.com"), line.format("localhost")]


def test_a_tunnel_carries_tls_for_the_name_that_it_was_opened_for(serve: Serve, listen: Listen) -> None:
    index = listen(lambda _: b"server hello")
    ask, told = serve(gate(index.port))
    first = hello("localhost")
    answer = ask(f"CONNECT localhost:{index.port} HTTP/1.1\r\n\r\n".encode() + first)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nserver hello"
    assert index.heard == [first]
    assert told == []


@pytest.mark.parametrize("first", [hello("other.example"), b"GET / HTTP/1.1\r\n\r\n"])
def test_sec_35_a_tunnel_for_another_name_or_without_tls_carries_nothing(
    serve: Serve, listen: Listen, first: bytes
) -> None:
    index = listen(lambda _: b"server hello")
    ask, told = serve(gate(index.port))
    answer = ask(f"CONNECT localhost:{index.port} HTTP/1.1\r\n\r\n".encode() + first)
    assert b"server hello" not in answer
    assert [heard for heard in index.heard if heard] == []
    assert all("other.example" in line for line in told)


def test_an_index_that_does_not_answer_is_named_with_the_cause(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    ask, told = serve(gate(port))
    assert ask(f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 502 ")
    assert told == [f"localhost:{port} cannot be reached from this server: Connection refused"]


def test_the_operators_own_proxy_is_the_way_with_its_password_when_one_is_set(serve: Serve, listen: Listen) -> None:
    proxy = listen(lambda data: b"HTTP/1.1 200 OK\r\n\r\n" if data.startswith(b"CONNECT") else OK)
    url = f"http://user:pass@127.0.0.1:{proxy.port}"
    ask, _ = serve(gate(80, 443, http_proxy=url, https_proxy=url))
    assert ask(b"GET http://localhost/simple/ HTTP/1.1\r\n\r\n") == OK
    ask(b"CONNECT localhost:443 HTTP/1.1\r\n\r\n" + hello("localhost"))
    authorization = b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"
    assert proxy.heard == [
        b"GET http://localhost/simple/ HTTP/1.1\r\nHost: localhost\r\n" + authorization + b"Connection: close\r\n\r\n",
        b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n" + authorization + b"\r\n",
    ]


# -- the relay, as a process


def start(*arguments: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", str(relay.__file__), *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_the_relay_passes_signals_on_and_ends_as_its_command_does() -> None:
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(9)); print('up', flush=True); time.sleep(30)"
    )
    with start("-", "0", "--", sys.executable, "-c", code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 9


def test_the_relay_says_what_it_needs() -> None:
    with start("nothing") as process:
        out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (2, b"usage: relay.py SOCKET PORT -- COMMAND...\n")


def test_a_command_behind_the_relay_finds_its_way_out_in_the_environment(tmp_path: Path, listen: Listen) -> None:
    index = listen(lambda _: OK)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = int(unused.getsockname()[1])
    code = (
        "import os, urllib.request;"
        "print(os.environ['https_proxy'], 'NO_PROXY' in os.environ,"
        f"urllib.request.urlopen('http://localhost:{index.port}/', timeout=10).read())"
    )
    os.environ["NO_PROXY"] = "*"
    try:
        with (
            IndexProxy(tmp_path, gate(index.port), print),
            start(str(tmp_path / SOCKET_NAME), str(port), "--", sys.executable, "-c", code) as process,
        ):
            out, _ = process.communicate(timeout=20)
    finally:
        del os.environ["NO_PROXY"]
    assert (process.returncode, out) == (0, f"http://127.0.0.1:{port} False b'ok'\n".encode())
    assert within(3, lambda: not (tmp_path / SOCKET_NAME).exists())
