"""A real gateway between real sockets, for its contract tests: model processes, control plane and worker are small
servers of this file, the ledger is a snapshot that tests replace."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitserver.accounts.tokens import NewToken, make_token
from gitserver.gateway.main import Gateway
from gitserver.ledger.records import App, Environment, EnvKind, Principal, Release, Snapshot, Token, Version
from gitserver.push import AppName
from gitserver.settings import Address, Settings
from gitserver.wire import Answerer, Message, ask

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALICE = make_token(b"a" * 40)
BOB = make_token(b"b" * 40)
COMMIT = "4f2c9e1" + "0" * 33
BEARER = f"Authorization: Bearer {ALICE.text}\r\n".encode()


def make_app(app_id: int, name: str, *, is_public: bool = False) -> App:
    owner, app = name.split("/")
    return App(id=app_id, name=AppName(owner=owner, app=app), is_public=is_public, created_at=NOW)


def make_environment(env_id: int, app_id: int, branch: str, release_id: int | None) -> Environment:
    kind = EnvKind.PRODUCTION if branch == "main" else EnvKind.PREVIEW
    return Environment(
        id=env_id, app_id=app_id, kind=kind, branch=branch, release_id=release_id, created_at=NOW, expires_at=None
    )


def make_release(release_id: int, app_id: int, environment_id: int, digest: str, commit: str = COMMIT) -> Release:
    return Release(
        id=release_id, app_id=app_id, environment_id=environment_id, number=release_id, image_digest=digest,
        commit=commit, version_tag=None, config_version=0, config={}, actor="alice", why="deploy", build_id=release_id,
        facts={}, created_at=NOW,
    )  # fmt: skip


def make_version(version_id: int, app_id: int, tag: str, digest: str, commit: str = COMMIT) -> Version:
    return Version(
        id=version_id, app_id=app_id, tag=tag, object_oid=commit, commit=commit, image_digest=digest,
        config_version=0, actor="alice", created_at=NOW,
    )  # fmt: skip


def make_row(token: NewToken, principal_id: int, expires_at: datetime | None = None) -> Token:
    return Token(
        id=token.id, principal_id=principal_id, secret_sha256=token.secret_sha256, label="t", last4=token.last4,
        created_at=NOW, expires_at=expires_at, revoked_at=None,
    )  # fmt: skip


def make_snapshot() -> Snapshot:
    """alice/iris: main b1, preview feature/x b2, versions v1 (old image) and v2 (serving), commit of neither;
    alice/open is public on b3; alice/new has no release; bob/other on b4."""
    return Snapshot(
        apps=(
            make_app(1, "alice/iris"),
            make_app(2, "alice/open", is_public=True),
            make_app(3, "alice/new"),
            make_app(4, "bob/other"),
        ),
        environments=(
            make_environment(1, 1, "main", 1),
            make_environment(2, 1, "feature/x", 2),
            make_environment(3, 2, "main", 3),
            make_environment(4, 3, "main", None),
            make_environment(5, 4, "main", 4),
        ),
        releases={
            1: make_release(1, 1, 1, "sha256:two"),
            2: make_release(2, 1, 2, "sha256:feature", "beef" * 10),
            3: make_release(3, 2, 3, "sha256:open"),
            4: make_release(4, 4, 5, "sha256:other"),
        },
        versions=(make_version(1, 1, "v1", "sha256:one", "a" * 40), make_version(2, 1, "v2", "sha256:two")),
        images=(
            (1, "c0ffee" + "0" * 34, "sha256:loose"),
            (1, "beef" * 10, "sha256:feature"),
            (1, COMMIT, "sha256:two"),
            (1, "a" * 40, "sha256:one"),
        ),
        tokens=(make_row(ALICE, 1), make_row(BOB, 2)),
        principals={
            1: Principal(id=1, name="alice", created_at=NOW),
            2: Principal(id=2, name="bob", created_at=NOW),
        },
    )


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, str], bytes]:
    """(request line, headers, body) of one request. Raises EOFError."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, *rest = head[:-4].split(b"\r\n")
    headers = {}
    for item in rest:
        name, _, value = item.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return line, headers, body


def make_answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def echo(name: str) -> Handler:
    """Answers with what it saw."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line, headers, body = await read_request(reader)
            seen = {
                "name": name,
                "line": line.decode(),
                "headers": headers,
                "size": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
            }
            answer = make_answer(json.dumps(seen).encode(), b"Content-Type: application/json")
            if line.startswith(b"HEAD "):
                answer = answer[: answer.index(b"\r\n\r\n") + 4]
            writer.write(answer)
            await writer.drain()

    return handle


@dataclass
class House:
    """Everything around the gateway. Servers live on one event loop in a thread of their own."""

    settings: Settings
    loop: asyncio.AbstractEventLoop
    snapshot: Snapshot
    port: int = 0
    servers: dict[str, asyncio.Server] = field(default_factory=dict)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    gateway: Gateway | None = None
    wakes: list[Message] = field(default_factory=list)
    on_wake: Callable[[Message], Message] = lambda _: {"ok": False, "failure": {"code": "x", "fields": {}, "log": []}}

    def run(self, work: Awaitable[Any]) -> Any:
        async def working() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(working(), self.loop).result(60)

    def listen(self, path: Path, handler: Handler) -> None:
        """Serve at a Unix socket."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.writers.add(writer)
            try:
                await handler(reader, writer)
            except (EOFError, OSError):
                pass  # the gateway closed
            finally:
                writer.close()
                self.writers.discard(writer)

        self.silence(path)
        self.servers[str(path)] = self.run(asyncio.start_unix_server(handle, path, backlog=1024))

    def serve(self, instance: str, handler: Handler) -> str:
        """A model process; its address."""
        folder = self.settings.run_dir / "instances" / instance
        folder.mkdir(parents=True, exist_ok=True)
        self.listen(folder / "s", handler)
        address = f"unix:{folder / 's'}"
        (folder / "endpoint").write_text(address + "\n")
        return address

    def kill(self, instance: str) -> None:
        """The process is gone: nothing listens, open connections are cut."""
        self.silence(self.settings.run_dir / "instances" / instance / "s")

    def silence(self, path: Path) -> None:
        async def silence() -> None:
            server = self.servers.pop(str(path), None)
            if server is not None:
                server.close()
                path.unlink()
            for writer in list(self.writers):
                if writer.get_extra_info("sockname") == str(path):
                    writer.transport.abort()

        self.run(silence())

    def ask(self, **message: Any) -> Message:
        return ask(self.settings.run_dir / "gateway.sock", message, timeout_s=30)

    def change(self, **fields: Any) -> None:
        """The ledger changed, and the gateway knows."""
        self.snapshot = replace(self.snapshot, **fields)
        assert self.ask(op="reload") == {"ok": True}

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def talk(self, data: bytes, *, until_close: bool = False) -> Reply:
        """Send, read one answer, close."""
        with self.connect() as connection:
            connection.sendall(data)
            reply = read_reply(connection, is_head=data.startswith(b"HEAD "))
            if until_close:
                assert connection.recv(1) == b""
            return reply

    def get(self, target: str, *headers: bytes, token: bytes = BEARER, host: bytes = b"h") -> Reply:
        extra = b"".join(header + b"\r\n" for header in headers)
        return self.talk(b"GET %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (target.encode(), host, token, extra))


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def read_reply(connection: socket.socket, *, is_head: bool = False) -> Reply:
    """One answer, framed as its head says. Raises EOFError when it is cut."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise EOFError(data)
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in rest)}
    status = int(line.split(" ")[1])
    if status == 100:
        assert body == b""
        return Reply(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            chunk = connection.recv(65536)
            if not chunk:
                raise EOFError(body)
            body += chunk
        return Reply(status, headers, unchunk(body))
    length = 0 if is_head or status in {204, 304} else int(headers.get("content-length", "-1"))
    while len(body) < length or length < 0:
        chunk = connection.recv(65536)
        if not chunk:
            if length < 0:
                break
            raise EOFError(body)
        body += chunk
    return Reply(status, headers, body)


def unchunk(data: bytes) -> bytes:
    body = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        if size == 0:
            assert data == b"\r\n"
            return body
        body, data = body + data[:size], data[size + 2 :]


def make_settings(state: Path, **fields: Any) -> Settings:
    values: dict[str, Any] = {
        "state": state,
        "http": Address(host="127.0.0.1", port=0),
        "ssh": Address(host="127.0.0.1", port=1),
        "owner": "alice",
        "build_env": {},
        "ready_timeout_s": 20,
        **fields,
    }
    return Settings(**values)


@contextmanager
def open_house(**fields: Any) -> Iterator[House]:
    """A gateway with a control plane, a worker, and b1 to b4 echoing."""
    # Not pytest's tmp_path: with a long test name it is longer than a Unix socket's address may be
    with tempfile.TemporaryDirectory(prefix="gw-") as state, _loop_thread() as loop:
        settings = make_settings(Path(state), **fields)
        settings.run_dir.mkdir()
        house = House(settings=settings, loop=loop, snapshot=make_snapshot())

        def answer(message: Message) -> Message:
            if message["op"] == "wake":
                house.wakes.append(message)
                return house.on_wake(message)
            return {"ok": True}

        worker = Answerer(settings.run_dir / "worker.sock", answer)
        house.listen(settings.run_dir / "web.sock", echo("web"))
        for instance in ("b1", "b2", "b3", "b4"):
            house.serve(instance, echo(instance))

        async def start() -> None:
            house.gateway = Gateway(settings, lambda: house.snapshot)
            house.port = (await house.gateway.start()).port

        async def stop() -> None:
            assert house.gateway is not None
            await house.gateway.stop()
            for server in house.servers.values():
                server.close()
            for writer in list(house.writers):
                writer.transport.abort()

        house.run(start())
        try:
            yield house
        finally:
            house.run(stop())
            worker.stop()


@contextmanager
def _loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:

        async def finish() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await loop.shutdown_default_executor()
            await asyncio.sleep(0.05)

        asyncio.run_coroutine_threadsafe(finish(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
