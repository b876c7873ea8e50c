"""The gateway as the supervisor starts it: its own process, the real ledger, SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from gitserver.ledger.store import Ledger
from gitserver.settings import Address, save_settings
from gitserver.wire import ask
from tests.gateway_house import make_settings, read_reply


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert isinstance(port, int)
        return port


def test_sigterm_ends_it_after_the_running_call_with_exit_code_0() -> None:
    with tempfile.TemporaryDirectory(prefix="gw-") as name:
        state = Path(name)
        settings = replace(make_settings(state), http=Address(host="127.0.0.1", port=find_free_port()))
        settings.run_dir.mkdir()
        save_settings(settings, state / "settings.json")
        Ledger.open(settings.ledger_url).close()
        with socket.socket(socket.AF_UNIX) as web:
            web.bind(str(settings.run_dir / "web.sock"))
            web.listen()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gitserver.serve.gateway", str(state / "settings.json"), str(os.getpid())],
                env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]},
            )
            try:
                answer_to_a_call_during_the_stop(process, settings.http.port, settings.run_dir, web)
                assert process.wait(20) == 0
            finally:
                process.kill()
                process.wait()


def answer_to_a_call_during_the_stop(
    process: subprocess.Popen[bytes], port: int, run_dir: Path, web: socket.socket
) -> None:
    with connect_when_ready(process, port) as client:
        assert ask(run_dir / "gateway.sock", {"op": "ping"}, timeout_s=5) == {"ok": True}
        assert (run_dir / "gateway.sock").stat().st_mode & 0o777 == 0o600
        client.sendall(b"GET /alice/iris/ HTTP/1.1\r\nHost: h\r\n\r\n")
        assert read_reply(client).status == 401
        client.sendall(b"GET /api/v1/apps HTTP/1.1\r\nHost: h\r\n\r\n")
        upstream, _ = web.accept()
        with upstream:
            assert upstream.recv(65536).startswith(b"GET /api/v1/apps HTTP/1.1\r\nHost: h\r\n")
            process.send_signal(signal.SIGTERM)
            time.sleep(0.8)
            assert process.poll() is None
            upstream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            reply = read_reply(client)
            assert (reply.body, reply.headers["connection"]) == (b"ok", "close")


def connect_when_ready(process: subprocess.Popen[bytes], port: int) -> socket.socket:
    deadline_at = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline_at
            time.sleep(0.1)
