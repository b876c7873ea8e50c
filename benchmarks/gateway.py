"""What the gateway costs: a call through it beside the same call without it.

    python benchmarks/gateway.py [seconds per figure]

The upstream answers a fixed 200 with 120 bytes of JSON from an asyncio protocol (the least that a Python process can
do); the client keeps C connections busy with a POST of 60 bytes each. Upstream, gateway and client are processes of
their own. Printed per figure: requests a second, and CPU microseconds a request of the gateway's process. On a machine
with fewer than three free cores the three share them: CPU per request is the figure that travels.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gitserver.gateway.main import Gateway
from tests.gateway_house import BEARER, make_settings, make_snapshot

BODY = b'{"instances":[[5.1,3.5,1.4,0.2],[6.2,2.8,4.8,1.8]],"x":1234}'
ANSWER_BODY = b'{"predictions":[' + b"0.123456789," * 8 + b"1]}"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Predict-Ms: 0.1\r\nX-Model-Version: v1\r\n"
    b"Server-Timing: predict;dur=0.1\r\nContent-Length: %d\r\n\r\n" % len(ANSWER_BODY)
) + ANSWER_BODY


def request(path: bytes) -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n"
        b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (path, BEARER, len(BODY))
    ) + BODY


class Trivial(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 -- asyncio's signature
        self.transport.write(ANSWER)  # one request a read: the client waits for each answer


async def serve_upstream(state: Path) -> None:
    loop = asyncio.get_running_loop()
    folder = state / "run" / "instances" / "b1"
    folder.mkdir(parents=True, exist_ok=True)
    tcp = await loop.create_server(Trivial, "127.0.0.1", 0)
    unix = await loop.create_unix_server(Trivial, folder / "s")
    (folder / "endpoint").write_text(f"unix:{folder / 's'}")
    (state / "upstream-port").write_text(str(tcp.sockets[0].getsockname()[1]))
    await asyncio.gather(tcp.serve_forever(), unix.serve_forever())


async def serve_gateway(state: Path) -> None:
    gateway = Gateway(make_settings(state), make_snapshot)
    address = await gateway.start()
    (state / "gateway-port").write_text(str(address.port))
    await asyncio.Event().wait()


def measure(port: int, path: bytes, connection_count: int, seconds: float) -> tuple[int, float]:
    """(requests, seconds)"""
    data = request(path)
    selector = selectors.EpollSelector()
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(connection_count)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, connection)
        connection.sendall(data)
    done, started_at = 0, time.perf_counter()
    while (now := time.perf_counter()) < started_at + seconds:
        for key, _ in selector.select():
            answer = key.data.recv(65536)
            assert answer.endswith(ANSWER_BODY), answer
            done += 1
            key.data.sendall(data)
    for connection in connections:
        connection.close()
    selector.close()
    return done, now - started_at


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        state = Path(name)
        (state / "run").mkdir()
        children = [
            subprocess.Popen([sys.executable, __file__, part, name], env={**os.environ, "PYTHONPATH": "."})
            for part in ("upstream", "gateway")
        ]
        try:
            deadline_at = time.monotonic() + 30
            while not all((state / f"{part}-port").exists() for part in ("upstream", "gateway")):
                assert time.monotonic() < deadline_at
                time.sleep(0.1)
            time.sleep(0.2)
            upstream, gateway = (int((state / f"{part}-port").read_text()) for part in ("upstream", "gateway"))
            measure(gateway, b"/alice/iris/predict", 16, 0.5)
            for connection_count in (1, 16):
                direct, direct_s = measure(upstream, b"/predict", connection_count, seconds)
                cpu = cpu_seconds(children[1].pid)
                through, through_s = measure(gateway, b"/alice/iris/predict", connection_count, seconds)
                cpu = cpu_seconds(children[1].pid) - cpu
                print(
                    f"{connection_count:3} connections: direct {direct / direct_s:7.0f}/s, through the gateway "
                    f"{through / through_s:7.0f}/s ({(through / through_s) / (direct / direct_s):.2f} of direct), "
                    f"gateway CPU {cpu / through * 1e6:5.1f} us/request"
                )
        finally:
            for child in children:
                child.kill()
                child.wait()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["upstream", state]:
            asyncio.run(serve_upstream(Path(state)))
        case ["gateway", state]:
            asyncio.run(serve_gateway(Path(state)))
        case rest:
            main(float(rest[0]) if rest else 3.0)
