"""A real registry for tests (Debian's docker-registry): open or with a password, read-only, with TLS, on a full disk.

And Between, a proxy on the way to it that cuts, delays, holds back and answers for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import http.client
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.services.debian import need_debian

READY_S = 20.0


@dataclass(kw_only=True)
class RealRegistry:
    """A registry process on a port of its own. home: its folder; users: name -> password, empty for an open one."""

    home: Path
    users: dict[str, str] = field(default_factory=dict)
    read_only: bool = False
    certificate: tuple[Path, Path] | None = None  # certificate and key: then it speaks TLS alone
    token_realm: str = ""  # address of a token server, whose certificate is token_certificate
    token_certificate: Path | None = None
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """As an image reference says it."""
        return f"localhost:{self.port}"

    @property
    def data(self) -> Path:
        """Where its blobs lie."""
        return self.home / "data"

    def start(self) -> None:
        """Start it, on the port that it had before, with what it stored before."""
        need_debian("docker-registry")
        self.port = self.port or free_port()
        self.home.mkdir(parents=True, exist_ok=True)
        config = self.home / "config.yml"
        config.write_text(self._config(), encoding="utf-8")
        log = (self.home / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.home / "log").read_text(errors="replace")[-3000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """End it; what it stored stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def restart(self, *, read_only: bool | None = None) -> None:
        """End it and start it again."""
        self.stop()
        self.read_only = self.read_only if read_only is None else read_only
        self.start()

    def log(self) -> str:
        """What it wrote, one line a request among others."""
        return (self.home / "log").read_text(errors="replace")

    def blob_digests(self) -> set[str]:
        """Digests of all blobs that it committed."""
        return {f"sha256:{path.parent.name}" for path in self.data.glob("docker/registry/v2/blobs/sha256/*/*/data")}

    def uploads(self) -> list[Path]:
        """Uploads that were begun and neither finished nor cancelled."""
        return list(self.data.glob("docker/registry/v2/repositories/**/_uploads/*"))

    def _config(self) -> str:
        lines = [
            "version: 0.1",
            "log: {level: warn, accesslog: {disabled: false}}",
            "storage:",
            f"  filesystem: {{rootdirectory: {self.data}}}",
            "  delete: {enabled: true}",
            "  maintenance:",
            f"    readonly: {{enabled: {str(self.read_only).lower()}}}",
            "http:",
            f"  addr: 127.0.0.1:{self.port}",
            "  secret: the-same-after-a-restart",
        ]
        if self.certificate is not None:
            lines += ["  tls:", f"    certificate: {self.certificate[0]}", f"    key: {self.certificate[1]}"]
        if self.users:
            passwords = self.home / "htpasswd"
            passwords.write_text("".join(f"{user}:{bcrypt(word)}\n" for user, word in self.users.items()))
            lines += ["auth:", f"  htpasswd: {{realm: tests, path: {passwords}}}"]
        if self.token_certificate is not None:
            lines += ["auth:", "  token:", f"    realm: {self.token_realm}", "    service: tests", "    issuer: tests"]
            lines += [f"    rootcertbundle: {self.token_certificate}"]
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def running(registry: RealRegistry) -> Iterator[RealRegistry]:
    """The registry, started; ended afterwards."""
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def bcrypt(password: str) -> str:
    """A line's second half in htpasswd, the only form that the registry takes; from the C library's crypt."""
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    made = library.crypt(password.encode(), b"$2b$05$" + b"abcdefghijklmnopqrstuu")
    assert isinstance(made, bytes)
    assert made.startswith(b"$2b$"), "this machine's libcrypt knows no bcrypt"
    return made.decode()


def make_certificate(folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """A certificate for a host, signed by itself, and its key."""
    need_debian("openssl")
    certificate, key = folder / "registry.crt", folder / "registry.key"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}",
            "-addext", f"subjectAltName=DNS:{host}", "-keyout", str(key), "-out", str(certificate),
        ],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return certificate, key


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own with so much room (`16m`). Only root can have one."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as Between saw it."""

    method: str
    path: str
    size_bytes: int
    connection: int


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Reset the connection after so many bytes of a request's body; is_seen: the registry gets these bytes."""

    after_bytes: int
    is_seen: bool


@dataclass(frozen=True, kw_only=True)
class Delay:
    """Wait before the request is passed on."""

    seconds: float


Rule = Callable[[Request], "bytes | Cut | Delay | None"]


class Between:
    """An HTTP proxy in front of a registry that takes whole requests before it passes them on, as nginx does.

    rule  asked for each request: None passes it on; bytes are the answer in its place
    """

    def __init__(self, port: int, rule: Rule) -> None:
        self._target, self._rule = port, rule
        self.seen: list[Request] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._connections = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def name(self) -> str:
        """As an image reference says it."""
        return f"localhost:{self.port}"

    def __enter__(self) -> Between:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def bodies(self, method: str) -> list[int]:
        """Sizes of the bodies of one method, in order."""
        return [request.size_bytes for request in self.seen if request.method == method]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self._connections += 1
            threading.Thread(target=self._serve, args=(connection, self._connections), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException), connection, connection.makefile("rb") as stream:
            while self._one(connection, stream, number):
                continue

    def _one(self, connection: socket.socket, stream: BinaryIO, number: int) -> bool:
        line = stream.readline()
        if not line:
            return False
        method, path, _ = line.decode().split(" ", 2)
        headers = http.client.parse_headers(stream)
        size = int(headers.get("Content-Length", "0"))
        request = Request(method=method, path=path, size_bytes=size, connection=number)
        self.seen.append(request)
        what = self._rule(request)
        if isinstance(what, Cut) and not what.is_seen:
            _drain(stream, min(what.after_bytes, size))
            _reset_at_close(connection)
            return False
        if isinstance(what, bytes):
            _drain(stream, size)
            connection.sendall(what)
            return True
        if isinstance(what, Delay):
            time.sleep(what.seconds)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self._target, timeout=60)) as upstream:
            upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            for piece in _pieces(stream, min(what.after_bytes, size) if isinstance(what, Cut) else size):
                upstream.send(piece)
            if isinstance(what, Cut):
                _reset_at_close(connection)
                return False
            answer = upstream.getresponse()
            connection.sendall(_passed_on(answer))
        return True


def _passed_on(answer: http.client.HTTPResponse) -> bytes:
    body = answer.read()
    kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in {"transfer-encoding", "connection"}]
    if "content-length" not in {name.lower() for name, _ in kept}:
        kept.append(("Content-Length", str(len(body))))
    head = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in kept)]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def _reset_at_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def answer_of(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer, for a rule of Between. Underscores in names of headers become '-'."""
    lines = [f"HTTP/1.1 {status} Test", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _pieces(stream: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, 1 << 16))
        if not piece:
            raise ConnectionError("the sender went away")
        size -= len(piece)
        yield piece


def _drain(stream: BinaryIO, size: int) -> None:
    for _ in _pieces(stream, size):
        continue


def can_mount() -> bool:
    """Whether this user may make a file system of its own."""
    return os.geteuid() == 0
