"""The only way out of a build container that may reach package indexes: a forward proxy on a socket in a folder.

    container, network none:  uv -> 127.0.0.1:3128 (relay.py) -> <folder>/s -> this proxy -> an index

Rules of this file
1. Who is asked for is decided by name before anything is resolved or connected; what a name resolves to is decided
   once, and exactly that address is connected: a second look-up could say something else.
2. In a tunnel the TLS client must ask for the name that the tunnel was opened for.
3. A plain request is one GET or HEAD; nothing of the client's after its head is passed on.
4. A build hears "no" from its HTTP client; the pusher reads one line a host in the build's log.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import SplitResult, unquote, urlsplit

from buildpacks.lifecycle.relay import pump
from gitserver.targets.build_network import Gate, Place, place_of, upstream_of
from gitserver.targets.tls_hello import MAX_HELLO_BYTES, NotTls, read_hello

SOCKET_NAME = "s"
_HTTP_PORT = 80
_MAX_HEAD_BYTES = 64 * 1024
_CONNECTIONS = 128
_HEAD_S, _CONNECT_S = 30, 20
_MAX_REFUSALS = 20
# Hop by hop, or about the proxy itself. Source: RFC 9110, 7.6.1.
_DROPPED = frozenset({
    "connection", "proxy-connection", "keep-alive", "proxy-authorization", "te", "trailer", "upgrade", "host",
    "content-length", "transfer-encoding", "expect",
})  # fmt: skip


class _Refused(Exception):  # noqa: N818 -- an answer to the client
    """status and reason of the answer; told: a line for the build's log, '' for none."""

    def __init__(self, status: str, told: str) -> None:
        self.status, self.told = status, told
        super().__init__(told)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """secure: a tunnel; rest: what came after its head; method, path and headers: of a plain request."""

    place: Place
    secure: bool
    rest: bytes = b""
    method: str = ""
    path: str = ""
    headers: tuple[str, ...] = ()

    def head(self, upstream: SplitResult | None) -> bytes:
        """A plain request, as the server itself or a proxy on the way wants it."""
        host = str(self.place) if self.place.port != _HTTP_PORT else str(self.place).rpartition(":")[0]
        target, headers = self.path, self.headers
        if upstream is not None:
            target, headers = f"http://{host}{self.path}", (*_authorization(upstream), *headers)
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""]
        return "\r\n".join(lines).encode("latin-1")


class IndexProxy:
    """Serves from __enter__ to __exit__, which also cuts every connection."""

    def __init__(self, folder: Path, gate: Gate, tell: Callable[[str], None]) -> None:
        """folder: empty, the build's user may enter it; tell: hears refusals, from threads of the proxy's."""
        self._folder, self._gate, self._tell = folder, gate, tell
        self._listener = socket.socket(socket.AF_UNIX)
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)
        self._lock, self._open, self._told = threading.Lock(), set[socket.socket](), set[str]()
        self._is_over = False

    def __enter__(self) -> IndexProxy:
        descriptor = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            # A socket's address holds 108 bytes; through the descriptor the folder's depth does not count.
            self._listener.bind(f"/proc/self/fd/{descriptor}/{SOCKET_NAME}")
        finally:
            os.close(descriptor)
        folder = self._folder.stat()
        os.chown(self._folder / SOCKET_NAME, folder.st_uid, folder.st_gid)
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="index-proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._is_over = True
            for connection in [self._listener, *self._open]:
                with contextlib.suppress(OSError):  # it broke by itself
                    connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        (self._folder / SOCKET_NAME).unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._keep(client):
                return
            threading.Thread(target=self._serve, args=(client,), name="index-proxy-client", daemon=True).start()

    def _keep(self, connection: socket.socket) -> bool:
        """Remember it for the end; False when that is now."""
        with self._lock:
            if self._is_over:
                connection.close()
                return False
            self._open.add(connection)
            return True

    def _drop(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
            connection.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            client.settimeout(_HEAD_S)
            self._answer(client, self._read(client))
        except _Refused as refused:
            self._note(refused.told)
            body = f"{refused.told or refused.status}\n".encode()
            head = f"HTTP/1.1 {refused.status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            with contextlib.suppress(OSError):  # the client has gone: nobody to tell
                client.sendall(head.encode() + body)
        except OSError:
            pass  # either side broke: the client sees its connection closed, as it would without a proxy
        finally:
            self._drop(client)
            self._slots.release()

    def _note(self, told: str) -> None:
        with self._lock:
            if not told or told in self._told or len(self._told) >= _MAX_REFUSALS or self._is_over:
                return
            self._told.add(told)
        self._tell(told)

    def _read(self, client: socket.socket) -> _Request:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(16384)
            if not piece or len(data) > _MAX_HEAD_BYTES:
                raise _Refused("400 Bad Request", "")
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        return _parse(head, rest)

    def _answer(self, client: socket.socket, request: _Request) -> None:
        if not self._gate.is_open_for(request.place):
            raise _Refused("403 Forbidden", _not_an_index(request.place.host))
        upstream = upstream_of(self._gate.env, request.place, secure=request.secure)
        server = self._reach(request, upstream)
        if not self._keep(server):
            return
        try:
            if request.secure:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                server.sendall(self._first_bytes(client, request))
            else:
                server.sendall(request.head(upstream))
            # From here the build's own time limit holds: a download may keep one direction silent for long.
            client.settimeout(None)
            server.settimeout(None)
            if request.secure:
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()
            else:
                pump(server, client)
        finally:
            self._drop(server)

    def _first_bytes(self, client: socket.socket, request: _Request) -> bytes:
        """What a tunnel's client says first, whole, when it asks for the right name."""
        data = request.rest
        try:
            while (hello := read_hello(data)) is None:
                piece = client.recv(16384)
                if not piece or len(data) > MAX_HELLO_BYTES:
                    raise NotTls
                data += piece
        except NotTls as error:
            raise ConnectionAbortedError from error
        name = hello.server_name
        if name != request.place.host and not (name is None and _is_address(request.place.host)):
            self._note(_not_an_index(name or "no name"))
            raise ConnectionAbortedError
        return data

    def _reach(self, request: _Request, upstream: SplitResult | None) -> socket.socket:
        """A connection to the place, or to the operator's proxy on the way there."""
        try:
            if upstream is None:
                return socket.create_connection((self._address(request.place), request.place.port), _CONNECT_S)
            return _through(upstream, request)
        except OSError as error:
            why = error.strerror or str(error)
            raise _Refused("502 Bad Gateway", f"{request.place} cannot be reached from this server: {why}") from error

    def _address(self, place: Place) -> str:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)]
        for address in found:
            if not self._gate.is_open_at(place, address):
                told = f"{place.host} leads to {address}, which no build may reach (build network: indexes)"
                raise _Refused("403 Forbidden", told)
        return found[0]


def _not_an_index(host: str) -> str:
    return f"the build asked for {host[:200]}, which is not one of the package indexes (build network: indexes)"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _authorization(upstream: SplitResult) -> tuple[str, ...]:
    if upstream.username is None:
        return ()
    pair = f"{unquote(upstream.username)}:{unquote(upstream.password or '')}"
    return (f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}",)


def _through(upstream: SplitResult, request: _Request) -> socket.socket:
    """A connection to the operator's proxy, with a tunnel through it where one is wanted. Raises OSError."""
    if upstream.scheme != "http" or upstream.hostname is None:
        raise ConnectionRefusedError(f"a proxy spoken to by {upstream.scheme} is not supported, only by http")
    server = socket.create_connection((upstream.hostname, upstream.port or _HTTP_PORT), _CONNECT_S)
    if not request.secure:
        return server
    lines = [f"CONNECT {request.place} HTTP/1.1", f"Host: {request.place}", *_authorization(upstream), "", ""]
    try:
        server.sendall("\r\n".join(lines).encode("latin-1"))
        head = b""
        while b"\r\n\r\n" not in head:
            piece = server.recv(4096)
            if not piece or len(head) > _MAX_HEAD_BYTES:
                raise ConnectionAbortedError("the operator's proxy gave no answer")
            head += piece
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if status.split(" ")[1:2] != ["200"]:
            raise ConnectionRefusedError(f"the operator's proxy said {status[:100]}")
    except OSError:
        server.close()
        raise
    return server


def _parse(head: bytes, rest: bytes) -> _Request:
    """A request to a proxy: `CONNECT host:port` or an absolute URL. Source: RFC 9112, 3.2.2 and 3.2.3."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    # A bare CR or LF would be a line end for some servers: a second Host, a second request.
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or any("\r" in line or "\n" in line for line in lines):
        raise _Refused("400 Bad Request", "")
    method, target = words[0], words[1]
    if method == "CONNECT":
        place = place_of(f"https://{target}") if target.rpartition(":")[2].isdigit() else None
        if place is None:
            raise _Refused("400 Bad Request", "")
        return _Request(place=place, secure=True, rest=rest)
    place = place_of(target) if target.startswith("http://") else None
    if place is None or method not in {"GET", "HEAD"}:
        raise _Refused("405 Method Not Allowed", "")
    parts = urlsplit(target)
    kept = tuple(line for line in lines[1:] if line.partition(":")[0].strip().lower() not in _DROPPED)
    path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    return _Request(place=place, secure=False, method=method, path=path, headers=kept)
