"""One request on its way: finding its upstream, sending, sending again where that is safe, bringing the answer back.

Rules of this file
1. A request is sent a second time only when the first process cannot have run it, or when running twice is harmless.
2. Once a byte of an answer has gone to the client, a failure is a cut connection, never a second answer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gitserver.gateway import answers
from gitserver.gateway.answers import Answer
from gitserver.gateway.framing import LAST_CHUNK, make_chunk
from gitserver.gateway.heads import make_client_head
from gitserver.gateway.http1 import ResponseHead
from gitserver.gateway.plan import WEB, Call, CallPlace
from gitserver.gateway.upstream import Pool, Upstream

if TYPE_CHECKING:
    from gitserver.gateway.client import Client

_CONNECT_PATIENCE_S = 2.0  # a crashed process is up again within a second or two
_CONNECT_PAUSE_S = 0.05


class NotReachable(Exception):  # noqa: N818 -- the condition, as style.md names errors
    """There is no upstream for the call and waiting will not bring one. answer: what the client is told."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Exchange:
    """A call and its answer; the Downstream of an upstream connection.

    is_whole       the request has been handed over to its last byte
    has_answer     the head of the answer has gone to the client
    is_full        the upstream takes no more bytes right now
    waiting_bytes  of the request, for an upstream that is being connected
    """

    __slots__ = (
        "_client", "_front", "_is_retried", "_outbox", "_pool", "_raw", "_replay", "_sends_chunks", "_task",
        "_upstream", "call", "has_answer", "is_full", "is_tunnel", "is_whole", "keeps_alive", "method", "request_id",
        "waiting_bytes",
    )  # fmt: skip

    def __init__(self, client: Client, raw: bytes, call: Call) -> None:
        self._client = client
        self._front = front = client.front
        self._raw = raw
        self.call = call
        self.method = call.head.method
        self.request_id = call.head.request_id or front.make_request_id()
        self.keeps_alive = call.head.keep_alive and not front.is_closing
        self.is_whole = False
        self.has_answer = False
        self.is_tunnel = False
        self.is_full = False
        self.waiting_bytes = 0
        self._outbox: list[bytes] = []
        self._replay: bytes | None = None
        self._is_retried = False
        self._sends_chunks = False
        self._pool: Pool | None = None
        self._upstream: Upstream | None = None
        self._task: asyncio.Task[None] | None = None

    # -- the request -------------------------------------------------------------------------------------------------

    def begin(self, body: bytes, *, is_whole: bool) -> None:
        """Send head and body. is_whole: there is no more of the body."""
        call = self.call
        if call.head.request_id:
            data = b"%b%b\r\n%b" % (call.upstream_head, self._client.forwarded, body)
        else:
            data = b"%b%bX-Request-Id: %b\r\n\r\n%b" % (
                call.upstream_head, self._client.forwarded, self.request_id, body,
            )  # fmt: skip
        self.is_whole = is_whole
        pool = self._front.find_pool(call.place)
        if pool is not None:
            pool.enter()
            self._pool = pool
            if is_whole and call.may_reuse:
                # A long body cannot be sent twice, so it never meets a kept connection that may be dead already
                self._replay = data
                upstream = pool.take()
                if upstream is not None:
                    self._upstream = upstream
                    upstream.start(self, data)
                    return
        self._connect(data)

    def send(self, data: bytes, *, is_last: bool) -> None:
        """More of a long body."""
        self.is_whole = is_last
        if self._upstream is not None:
            self._upstream.transport.write(data)
        else:
            self._outbox.append(data)
            self.waiting_bytes += len(data)

    def _connect(self, data: bytes) -> None:
        self._outbox = [data]
        self.waiting_bytes = len(data)
        self._task = self._front.loop.create_task(self._connecting())

    async def _connecting(self) -> None:
        loop, place = self._front.loop, self.call.place
        give_up_at = loop.time() + _CONNECT_PATIENCE_S
        upstream: Upstream | None = None
        while upstream is None:
            try:
                upstream = await self._try_to_connect(place)
            except NotReachable as lost:
                self._give_up(lost.answer)
                return
            except OSError:
                if self._pool is not None:
                    self._front.doubt(place, self._pool.address)
                    self._leave_pool()
                if loop.time() >= give_up_at:
                    down = answers.model_down(self.call.app, is_algorithmia=self.call.is_algorithmia)
                    self._give_up(answers.web_down() if place is WEB else down)
                    return
                await asyncio.sleep(_CONNECT_PAUSE_S)
                plan = self._front.plan(self._raw)  # a newer release may have taken over meanwhile
                if type(plan) is Call:
                    place = plan.place
        self._task = None
        self._upstream = upstream
        data, self._outbox, self.waiting_bytes = b"".join(self._outbox), [], 0
        upstream.start(self, data)
        self._client.update_reading()

    async def _try_to_connect(self, place: CallPlace) -> Upstream:
        if self._pool is None:
            address = await self._front.locate(place, self.call.app, is_algorithmia=self.call.is_algorithmia)
            self._pool = self._front.pools.of(address)
            self._pool.enter()
        return await self._pool.connect(self._front.view)

    def _give_up(self, answer: Answer) -> None:
        self._task = None
        self._client.fail(answer)

    def _leave_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.leave()

    def cancel(self) -> None:
        """Nobody wants the answer: the upstream connection is cut, so that work stops there too."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.discard()
        self._leave_pool()

    # -- the answer --------------------------------------------------------------------------------------------------

    def answer(self, head: ResponseHead, payload: bytes, *, ended: bool) -> bool:
        """Pass an answer's head on. See upstream.Downstream."""
        if head.chunked or head.until_close:
            self._sends_chunks = self.call.head.minor == 1
            self.keeps_alive &= self._sends_chunks
        if self._front.is_closing:
            self.keeps_alive = False
        self.has_answer = True
        data = make_client_head(
            head, chunked=self._sends_chunks, close=not self.keeps_alive, request_id=self.request_id
        )
        if not ended:
            self._client.answering()
        if self._sends_chunks:
            self._client.transport.write(data + make_chunk(payload) + (LAST_CHUNK if ended else b""))
        else:
            self._client.transport.write(data + payload)
        return self.is_whole

    def answer_more(self, payload: bytes, *, ended: bool) -> bool:
        """Pass more of its body on."""
        if self._sends_chunks:
            payload = make_chunk(payload) + (LAST_CHUNK if ended else b"")
        if payload:
            self._client.transport.write(payload)
        return self.is_whole

    def proceed(self) -> None:
        """The answer is complete and its connection is back in its pool, which has been left."""
        self._upstream = self._pool = None
        self._client.answered()

    def answer_tunnelled(self, head: ResponseHead, data: bytes) -> None:
        """101: pass bytes through from now on."""
        self.is_tunnel = self.has_answer = True
        reply = make_client_head(head, chunked=False, close=False, request_id=self.request_id)
        self._client.transport.write(reply + data)
        self._client.tunnelled()

    def tunnel(self, data: bytes) -> None:
        """Bytes of a tunnel, from the upstream."""
        self._client.transport.write(data)

    def upstream_full(self, *, is_full: bool) -> None:
        """Whether the upstream takes no more bytes right now."""
        self.is_full = is_full
        self._client.update_reading()

    def set_client_full(self, *, is_full: bool) -> None:
        """Whether the client takes no more bytes of its answer right now."""
        if self._upstream is not None:
            if is_full:
                self._upstream.transport.pause_reading()
            else:
                self._upstream.transport.resume_reading()

    def upstream_lost(self, upstream: Upstream, error: Exception | None) -> None:
        """The connection ended before its answer did.

        Why     a kept connection may have been closed by the other side at the moment of our write. An error
                (reset, broken pipe) says that the request was not read: it is sent again. A clean end may mean that
                the process had read it, so only what may run twice is sent again; over TCP the same race looks like
                a clean end, so there any small request is
        """
        self._upstream = None
        if self.is_tunnel:
            self._leave_pool()
            self._client.transport.close()
            return
        if self.has_answer:
            self._leave_pool()
            self._client.transport.abort()  # the client must see that the answer was cut
            return
        was_unread = error is not None or (self._pool is not None and self._pool.address.startswith("tcp:"))
        if (
            self._replay is not None
            and upstream.is_kept
            and not upstream.got_bytes
            and not self._is_retried
            and (was_unread or self.call.is_idempotent)
        ):
            self._is_retried = True
            self._connect(self._replay)
            return
        self._client.fail(answers.connection_lost(self.call.app, is_algorithmia=self.call.is_algorithmia))
