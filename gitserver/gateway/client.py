"""A client's connection: its requests one after another, and what happens when it is slow, silent or gone.

Rules of this file
1. One exchange at a time; what a client sends ahead waits in order (pipelining).
2. Back-pressure both ways: whoever is slow pauses the other side's socket, nothing is collected beyond a buffer.
3. A body of up to SMALL_BODY_BYTES is awaited before the upstream hears of it: a slow sender holds no model process,
   head and body leave in one write, and the call can be sent again when a kept connection turns out to be dead.
4. A client that closes, also one half, has given up: its upstream connection is cut, so that work stops there too.
5. Every state has a deadline; Front's sweep calls expire() once it has passed. One timer a connection would cost more
   than the rest of a small call.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum
from typing import TYPE_CHECKING, Final

from gitserver.gateway import answers
from gitserver.gateway.answers import Answer
from gitserver.gateway.exchange import Exchange
from gitserver.gateway.framing import LAST_CHUNK, BadFraming, BodyReader, make_chunk, request_reader
from gitserver.gateway.heads import make_forwarded
from gitserver.gateway.http1 import MAX_HEAD_BYTES, RequestHead, judge_fragment
from gitserver.gateway.plan import Call, Health, Reply

if TYPE_CHECKING:
    from gitserver.gateway.front import Front

SMALL_BODY_BYTES = 64 * 1024
_MAX_AHEAD_BYTES = 64 * 1024  # of pipelined requests, or of a body whose upstream is being connected
_HIGH_WATER_BYTES = 64 * 1024
_HEAD_S = 30.0
_IDLE_S = 75.0
_STALL_S = 120.0  # a client that takes no byte of its answer for so long
_LINGER_S = 10.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _State(Enum):
    HEAD = "a request's head is awaited"
    COLLECT = "a small body is awaited"
    BODY = "a body is being passed on"
    REST = "the answer is complete, the rest of the body is read away"
    WAIT = "the request is sent, its answer is awaited or under way"
    TUNNEL = "bytes go through in both directions"
    LINGER = "closed for writing; what still comes is thrown away"


_HEAD: Final = _State.HEAD
_COLLECT: Final = _State.COLLECT
_BODY: Final = _State.BODY
_REST: Final = _State.REST
_WAIT: Final = _State.WAIT
_TUNNEL: Final = _State.TUNNEL
_LINGER: Final = _State.LINGER


class Client(asyncio.BufferedProtocol):
    """See the module's rules. Front holds what all connections share."""

    transport: asyncio.Transport

    def __init__(self, front: Front) -> None:
        self.front = front
        self.forwarded = b""  # the header line that says who calls
        self.deadline_at = math.inf  # loop seconds
        self._view = front.view
        self._loop = front.loop
        self._state = _HEAD
        self._input = b""
        self._raw = b""
        self._has_fragment = False
        self._is_write_paused = False
        self._is_read_paused = False
        self._exchange: Exchange | None = None
        self._reader: BodyReader | None = None
        self._body_bytes = 0
        self._health: asyncio.Task[None] | None = None

    # -- from the client ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client connected."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        peer = transport.get_extra_info("peername")
        self.forwarded = make_forwarded(peer[0] if isinstance(peer, tuple) else "unknown")
        self.deadline_at = self._loop.time() + _HEAD_S
        self.front.clients.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's signature
        """asyncio: where to read to; see Upstream.get_buffer."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """asyncio: bytes came."""
        data = bytes(self._view[:nbytes])
        state = self._state
        if state is _HEAD:
            self._input = self._input + data if self._input else data
            self._pump()
            if self._is_write_paused:
                self.update_reading()
        elif state is _BODY or state is _REST:
            self._take_body(data)
        elif state is _COLLECT:
            self._input += data
            self._collect()
        elif state is _WAIT:
            self._input += data
            self.update_reading()
        elif state is _TUNNEL and self._exchange is not None:
            self._exchange.send(data, is_last=True)

    def _pump(self) -> None:
        """Take requests from what has come, until one must wait for its answer or there is no more."""
        while self._state is _HEAD and self._input and not self._is_write_paused and self._take_head():
            pass

    def _take_head(self) -> bool:
        """False: the head is not complete."""
        data = self._input
        if data.startswith(b"\r\n"):  # RFC 9112 2.2: an empty line before a request is ignored
            data = data[2:]
        end = data.find(b"\r\n\r\n") + 4
        if end == 3 or end > MAX_HEAD_BYTES:
            refusal = judge_fragment(data)
            if refusal is not None:
                self._reply(None, answers.refuse(refusal.status, refusal.why))
            elif not self._has_fragment:
                self._has_fragment = True
                self.deadline_at = self._loop.time() + _HEAD_S
            return False
        raw, self._input = data[:end], data[end:]
        self._has_fragment = False
        plan = self.front.plan(raw)
        if type(plan) is Call:
            self._start(raw, plan)
        elif type(plan) is Reply:
            self._reply(plan.head, plan.answer)
        else:
            assert type(plan) is Health
            self._reply_with_health(plan.head)
        return True

    def _start(self, raw: bytes, call: Call) -> None:
        head = call.head
        length = head.content_length
        exchange = self._exchange = Exchange(self, raw, call)
        if not length and not head.chunked:
            self._send_whole(exchange, b"")
            return
        if length and call.body_limit is not None and length > call.body_limit:
            self.fail(answers.too_large(call.body_limit, is_algorithmia=call.is_algorithmia))
            return
        if head.expects_continue and not (length is not None and len(self._input) >= length):
            self.transport.write(_CONTINUE)
        self.deadline_at = self._loop.time() + call.body_idle_s
        if length is not None and length <= SMALL_BODY_BYTES:
            if len(self._input) >= length:  # it came along: the usual case
                body, self._input = self._input[:length], self._input[length:]
                self._send_whole(exchange, body)
                return
            self._raw = raw
            self._state = _COLLECT
            return
        self._state = _BODY
        self._reader = request_reader(head)
        self._body_bytes = 0
        exchange.begin(b"", is_whole=False)
        if self._input:
            data, self._input = self._input, b""
            self._take_body(data)

    def _send_whole(self, exchange: Exchange, body: bytes) -> None:
        self._state = _WAIT
        self.deadline_at = self._loop.time() + exchange.call.answer_s
        exchange.begin(body, is_whole=True)

    def _collect(self) -> None:
        assert self._exchange is not None
        length = self._exchange.call.head.content_length or 0
        if len(self._input) < length:
            return
        body, self._input = self._input[:length], self._input[length:]
        plan = self.front.plan(self._raw)  # the table may have changed while the body came
        if type(plan) is Reply:
            self._reply(plan.head, plan.answer)
            return
        assert type(plan) is Call  # a path that led to a call does not turn into /healthz
        self._exchange = Exchange(self, self._raw, plan)
        self._send_whole(self._exchange, body)

    def _take_body(self, data: bytes) -> None:
        exchange, reader = self._exchange, self._reader
        assert exchange is not None
        assert reader is not None
        call = exchange.call
        try:
            payload, rest = reader.feed(data)
        except BadFraming:
            self.fail(answers.bad_chunks())
            return
        self._body_bytes += len(payload)
        if call.body_limit is not None and self._body_bytes > call.body_limit:
            self.fail(answers.too_large(call.body_limit, is_algorithmia=call.is_algorithmia))
            return
        if self._state is _REST:
            if rest is not None:  # all of the request has been read: the next one may come
                self._input = rest
                self._finish(keeps_alive=exchange.keeps_alive, is_read=True)
                self._pump()
            return
        self.deadline_at = self._loop.time() + call.body_idle_s
        if call.head.chunked:
            payload = make_chunk(payload) + (LAST_CHUNK if rest is not None else b"")
        if rest is not None:
            self._state = _WAIT
            self._input = rest
            self.deadline_at = math.inf if exchange.has_answer else self._loop.time() + call.answer_s
        exchange.send(payload, is_last=rest is not None)
        self.update_reading()

    def update_reading(self) -> None:
        """Pause the client's socket while there is nowhere to put its bytes."""
        state, exchange = self._state, self._exchange
        if state is _HEAD:
            is_full = self._is_write_paused and len(self._input) > _MAX_AHEAD_BYTES
        elif state is _WAIT:
            is_full = len(self._input) > _MAX_AHEAD_BYTES
        elif state is _BODY or state is _TUNNEL:
            is_full = exchange is not None and (exchange.is_full or exchange.waiting_bytes > _MAX_AHEAD_BYTES)
        else:
            is_full = False
        if is_full is not self._is_read_paused:
            self._is_read_paused = is_full
            if is_full:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # -- from the exchange -------------------------------------------------------------------------------------------

    def answering(self) -> None:
        """The answer has begun and is not complete: it may take as long as it takes bytes to come."""
        if self._state is _WAIT:
            self.deadline_at = self._loop.time() + _STALL_S if self._is_write_paused else math.inf

    def answered(self) -> None:
        """The answer is complete."""
        exchange = self._exchange
        assert exchange is not None
        if self._state is _BODY:
            # Answered before the request was read (F17): read on for a while, or the client sees a broken pipe
            # instead of the answer. With a connection that lives on, the rest of the body separates two requests
            self._state = _REST
            self.deadline_at = self._loop.time() + _LINGER_S
            self.update_reading()
            return
        self._finish(keeps_alive=exchange.keeps_alive, is_read=True)
        if self._input:
            self._pump()

    def tunnelled(self) -> None:
        """From now on bytes go through."""
        self._state = _TUNNEL
        self.deadline_at = math.inf
        ahead, self._input = self._input, b""
        if ahead and self._exchange is not None:
            self._exchange.send(ahead, is_last=True)

    def fail(self, answer: Answer) -> None:
        """End the exchange with an answer of our own, or with a cut when another one is already under way."""
        exchange = self._exchange
        assert exchange is not None
        exchange.cancel()
        if exchange.has_answer:
            self._state = _LINGER
            self.transport.abort()
            return
        is_read = self._state is _WAIT
        keeps_alive = exchange.keeps_alive and is_read
        self.transport.write(
            answers.render(
                answer, head_only=exchange.method == b"HEAD", close=not keeps_alive, request_id=exchange.request_id
            )
        )
        self._finish(keeps_alive=keeps_alive, is_read=is_read)
        self._pump()

    # -- answers of our own ------------------------------------------------------------------------------------------

    def _reply(self, head: RequestHead | None, answer: Answer) -> None:
        """An answer to a request that no upstream has seen. head: None when it was not understood."""
        has_body = head is not None and (head.chunked or bool(head.content_length))
        keeps_alive = head is not None and head.keep_alive and not has_body and not self.front.is_closing
        request_id = (head.request_id if head is not None else b"") or self.front.make_request_id()
        head_only = head is not None and head.method == b"HEAD"
        self.transport.write(answers.render(answer, head_only=head_only, close=not keeps_alive, request_id=request_id))
        self._finish(keeps_alive=keeps_alive, is_read=head is not None and not has_body)

    def _reply_with_health(self, head: RequestHead) -> None:
        self._state = _WAIT
        self.deadline_at = self._loop.time() + _HEAD_S

        async def answering() -> None:
            answer = await self.front.health()
            self._health = None
            self._reply(head, answer)
            self._pump()

        self._health = self._loop.create_task(answering())

    def _finish(self, *, keeps_alive: bool, is_read: bool) -> None:
        """The answer is written: on to the next request, or to the end. is_read: nothing is left of the request."""
        self._exchange = None
        if keeps_alive:
            self._state = _HEAD
            self.deadline_at = self._loop.time() + _IDLE_S
            if self._is_read_paused:
                self.update_reading()
            return
        self._state = _LINGER
        if is_read and not self._input:
            self.transport.close()
            return
        # Closing with unread bytes makes the kernel reset the connection, and the client loses the answer (F17)
        self._input = b""
        self.deadline_at = self._loop.time() + _LINGER_S
        self.update_reading()
        if not self.transport.is_closing():
            self.transport.write_eof()

    # -- the end of things -------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """The state's deadline has passed."""
        self.deadline_at = math.inf
        exchange = self._exchange
        if self._is_write_paused or self._state is _REST or self._state is _LINGER:
            self.transport.abort()
        elif exchange is None and not self._has_fragment:
            self.transport.close()
        elif exchange is None:
            self._reply(None, answers.too_slow())
        elif self._state is _WAIT:
            call = exchange.call
            self.fail(answers.no_answer_in_time(call.app, call.answer_s, is_algorithmia=call.is_algorithmia))
        else:
            self.fail(answers.too_slow())

    def close_idle(self) -> None:
        """The gateway stops: a connection without a request goes now, the others after their answer."""
        if self._state is _HEAD and not self._has_fragment:
            self.transport.close()

    def eof_received(self) -> bool:
        """asyncio: the client closed (rule 4)."""
        if self._exchange is not None:
            self.transport.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        """asyncio: the client is gone; so is its interest in the answer."""
        self.front.clients.discard(self)
        self._state = _LINGER
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        if self._health is not None:
            self._health.cancel()

    def pause_writing(self) -> None:
        """asyncio: the client is slower than its answer."""
        self._is_write_paused = True
        if self._state is not _BODY:
            self.deadline_at = self._loop.time() + _STALL_S
        if self._exchange is not None:
            self._exchange.set_client_full(is_full=True)

    def resume_writing(self) -> None:
        """asyncio: it has caught up."""
        self._is_write_paused = False
        exchange = self._exchange
        if exchange is not None:
            exchange.set_client_full(is_full=False)
            if exchange.has_answer and self._state is not _BODY:
                self.deadline_at = math.inf
        elif self._state is _HEAD:
            self.deadline_at = self._loop.time() + _IDLE_S
            self._pump()
            self.update_reading()
