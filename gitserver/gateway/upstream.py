"""Kept connections to model processes and the control plane, and who is using them: one pool an address.

Rules of this file
1. A call is counted in its pool from the moment it is meant for the address until its answer has been passed on:
   drain() may say "nothing is running" only when that is true.
2. A connection goes back to its pool only when both sides know that the exchange is over.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Protocol

from gitserver.gateway.framing import BadFraming, BodyReader, response_reader
from gitserver.gateway.http1 import ResponseHead, parse_response_head

_MAX_ANSWER_HEAD_BYTES = 64 * 1024
_MAX_IDLE = 256  # kept connections of one address
_IDLE_S = 30.0  # below what runtimes keep (65 s and more), so that closing is seldom a race
_CONNECT_S = 2.0
_HIGH_WATER_BYTES = 64 * 1024
_MAX_UNIX_PATH = 107  # sockaddr_un, unix(7)


class Downstream(Protocol):
    """What an upstream connection tells about an answer. ended: the answer is complete."""

    method: bytes

    def answer(self, head: ResponseHead, payload: bytes, *, ended: bool) -> bool:
        """The head, with what came along of the body. False: the request's body was not all sent yet."""
        ...

    def answer_more(self, payload: bytes, *, ended: bool) -> bool:
        """More of the body. False as above."""
        ...

    def answer_tunnelled(self, head: ResponseHead, data: bytes) -> None:
        """101: from now on bytes go through untouched."""
        ...

    def tunnel(self, data: bytes) -> None:
        """Bytes of a tunnel."""
        ...

    def proceed(self) -> None:
        """After an answer that ended, once its connection is in order: the next request may come."""
        ...

    def upstream_lost(self, upstream: Upstream, error: Exception | None) -> None:
        """The connection ended before its answer did."""
        ...

    def upstream_full(self, *, is_full: bool) -> None:
        """Whether the upstream takes no more bytes right now."""
        ...


class Upstream(asyncio.BufferedProtocol):
    """One connection to an upstream; carries one exchange at a time."""

    transport: asyncio.Transport

    def __init__(self, pool: Pool, view: memoryview) -> None:
        self._pool = pool
        self._view = view
        self._client: Downstream | None = None
        self._partial = b""
        self._reader: BodyReader | None = None
        self._head: ResponseHead | None = None
        self._is_tunnel = False
        self.got_bytes = False
        self.is_kept = False  # has carried an exchange before
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)

    def start(self, client: Downstream, data: bytes) -> None:
        """Begin an exchange with the request's first bytes."""
        self._client = client
        self.got_bytes = False
        self.transport.write(data)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's signature
        """asyncio: where to read to. One buffer for all: buffer_updated copies before anybody else reads."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: bytes came."""
        data = bytes(self._view[:nbytes])
        client = self._client
        if client is None:
            self.discard()  # an answer to no question: the next one could not be told from it
        elif self._is_tunnel:
            client.tunnel(data)
        elif self._reader is not None:
            self._take_body(client, self._reader, data)
        else:
            self.got_bytes = True
            self._take_head(client, self._partial + data if self._partial else data)

    def _take_head(self, client: Downstream, data: bytes) -> None:
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                self._partial = data
                if len(data) > _MAX_ANSWER_HEAD_BYTES:
                    self._break(client)
                return
            head = parse_response_head(data[:end], method=client.method)
            data = data[end:]
            if head is None or end > _MAX_ANSWER_HEAD_BYTES:
                self._break(client)
                return
            if head.status >= 200 or head.status == 101:
                break
            # interim answers end here: the client's Expect was answered by us, hints are not promised to arrive
        self._partial = b""
        self._head = head
        if head.status == 101:
            self._is_tunnel = True
            client.answer_tunnelled(head, data)
            return
        length = head.content_length
        if length is not None and len(data) >= length:
            self._end(client, client.answer(head, data[:length], ended=True), is_clean=len(data) == length)
            return
        self._reader = response_reader(head)
        assert self._reader is not None  # a body without bytes was handled above
        try:
            payload, rest = self._reader.feed(data)
        except BadFraming:
            self._break(client)
            return
        is_sent = client.answer(head, payload, ended=rest is not None)
        if rest is not None:
            self._end(client, is_sent, is_clean=not rest)

    def _take_body(self, client: Downstream, reader: BodyReader, data: bytes) -> None:
        try:
            payload, rest = reader.feed(data)
        except BadFraming:
            self._break(client)
            return
        if rest is None:
            if payload:
                client.answer_more(payload, ended=False)
            return
        self._end(client, client.answer_more(payload, ended=True), is_clean=not rest)

    def _end(self, client: Downstream, is_sent: bool, *, is_clean: bool) -> None:
        head, self._head, self._reader, self._client = self._head, None, None, None
        self.is_kept = True
        pool = self._pool
        if is_sent and is_clean and head is not None and head.keep_alive:
            self.transport.resume_reading()  # a slow client may have paused it; the next one must not inherit that
            pool.keep(self)
        else:
            self.transport.close()
        pool.leave()
        client.proceed()

    def _break(self, client: Downstream) -> None:
        """The answer cannot be understood: nothing more of it is passed on."""
        self._client = None
        self.got_bytes = True
        self.transport.abort()
        client.upstream_lost(self, None)

    def discard(self) -> None:
        """End the connection at once: what the upstream still does for it is not wanted any more."""
        self._client = None
        self._pool.forget(self)
        self.transport.abort()

    def eof_received(self) -> bool:
        """asyncio: the upstream closed. It ends an answer that has no other end; anything else is a loss."""
        client, head = self._client, self._head
        if client is not None and head is not None and head.until_close and self._reader is not None:
            self._end(client, client.answer_more(b"", ended=True), is_clean=False)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        client, self._client = self._client, None
        self._pool.forget(self)
        if client is not None:
            client.upstream_lost(self, exc)

    def pause_writing(self) -> None:
        """asyncio: the upstream is slower than the client."""
        if self._client is not None:
            self._client.upstream_full(is_full=True)

    def resume_writing(self) -> None:
        """asyncio: it has caught up."""
        if self._client is not None:
            self._client.upstream_full(is_full=False)


class Pool:
    """The connections of one address.

    in_flight     calls meant for the address whose answer has not been passed on
    last_call_at  loop seconds at which the last of them ended
    """

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self.address = address
        self.in_flight = 0
        self.call_count = 0
        self.last_call_at = loop.time()
        self.is_draining = False
        self._loop = loop
        self._idle: list[Upstream] = []
        self._waiters: list[asyncio.Future[None]] = []

    def enter(self) -> None:
        """A call is meant for the address."""
        self.in_flight += 1
        self.call_count += 1

    def leave(self) -> None:
        """Its answer has been passed on, or never will be."""
        self.in_flight -= 1
        self.last_call_at = self._loop.time()
        if self.in_flight == 0 and self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def take(self) -> Upstream | None:
        """A kept connection, the one used last first: the others may then grow old and go."""
        while self._idle:
            upstream = self._idle.pop()
            if not upstream.transport.is_closing():
                return upstream
        return None

    def keep(self, upstream: Upstream) -> None:
        """Keep a connection whose exchange is over."""
        if self.is_draining or len(self._idle) >= _MAX_IDLE:
            upstream.transport.close()
            return
        upstream.idle_since = self._loop.time()
        self._idle.append(upstream)

    def forget(self, upstream: Upstream) -> None:
        """The connection is gone or going."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    def close_idle(self, *, older_than_s: float) -> None:
        """Close kept connections that nobody used for so long."""
        limit = self._loop.time() - older_than_s
        old = [upstream for upstream in self._idle if upstream.idle_since <= limit]
        self._idle = [upstream for upstream in self._idle if upstream.idle_since > limit]
        for upstream in old:
            upstream.transport.close()

    async def connect(self, view: memoryview) -> Upstream:
        """A fresh connection. Raises OSError (refused, no such socket, backlog full) and never waits over 2 s."""
        kind, _, rest = self.address.partition(":")
        if kind == "unix":
            connection = connect_unix(rest)
            _, protocol = await self._loop.create_unix_connection(lambda: Upstream(self, view), sock=connection)
            return protocol
        host, _, port = rest.rpartition(":")
        async with asyncio.timeout(_CONNECT_S):
            _, protocol = await self._loop.create_connection(lambda: Upstream(self, view), host.strip("[]"), int(port))
        return protocol

    async def drain(self, deadline_s: float) -> int:
        """Wait until no call is running, then close what is kept; the number still running at the deadline."""
        self.is_draining = True
        self.close_idle(older_than_s=0.0)
        if self.in_flight:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await asyncio.wait([waiter], timeout=deadline_s)
            if not waiter.done():
                self._waiters.remove(waiter)
        return self.in_flight


class Pools:
    """All pools by address: `unix:/path`, `tcp:host:port`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pools: dict[str, Pool] = {}

    def of(self, address: str) -> Pool:
        """The pool of an address."""
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = Pool(address, self._loop)
        return pool

    async def drain(self, address: str, deadline_s: float) -> int:
        """Pool.drain; afterwards the address starts anew, should it ever be used again."""
        pool = self._pools.get(address)
        if pool is None:
            return 0
        left = await pool.drain(deadline_s)
        if self._pools.get(address) is pool:
            del self._pools[address]
        return left

    def seconds_since_last_call(self) -> dict[str, float]:
        """Address -> seconds since its last call ended; 0 while one is running."""
        now = self._loop.time()
        return {
            address: 0.0 if pool.in_flight else round(now - pool.last_call_at, 3)
            for address, pool in self._pools.items()
        }

    def tidy(self, *, older_than_s: float = _IDLE_S) -> None:
        """Close connections that were kept long enough."""
        for pool in self._pools.values():
            pool.close_idle(older_than_s=older_than_s)


def connect_unix(path: str) -> socket.socket:
    """A connected non-blocking socket.

    Why     done here and not by the event loop: with a full backlog Linux answers EAGAIN, which asyncio takes for "in
            progress" and then for "connected"; connecting to a Unix socket never blocks anyway
    Raises  OSError
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    folder = -1
    try:
        if len(os.fsencode(path)) > _MAX_UNIX_PATH:  # /proc/self/fd is the short way into a deep state folder
            folder = os.open(Path(path).parent, os.O_PATH | os.O_DIRECTORY)
            path = f"/proc/self/fd/{folder}/{Path(path).name}"
        connection.connect(path)
    except BlockingIOError as error:
        connection.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "the backlog is full") from error
    except BaseException:
        connection.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return connection
