"""wire.py's question and answer, for the event loop: one line of JSON each way over a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from gitserver.errors import Json, Problem
from gitserver.gateway.upstream import connect_unix
from gitserver.wire import MAX_LINE_BYTES, Message, listen


async def ask(path: Path, message: Message, *, timeout_s: float) -> Message:
    """Send one message and wait for its answer.

    Raises  Problem('component-down', component=...) when nobody answers in time
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(sock=connect_unix(str(path)), limit=MAX_LINE_BYTES)
            try:
                writer.write(json.dumps(message).encode() + b"\n")
                answer = json.loads(await reader.readuntil(b"\n"))
            finally:
                writer.close()
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        raise Problem("component-down", component=path.stem, detail=str(error)) from error
    if not isinstance(answer, dict):
        raise Problem("component-down", component=path.stem, detail="not an object")
    return answer


async def answer_at(path: Path, answer: Callable[[Message], Awaitable[Message]]) -> asyncio.Server:
    """Answer messages at path, for this user alone, until the server is closed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reply: dict[str, Json]
            async with asyncio.timeout(10):
                message = json.loads(await reader.readuntil(b"\n"))
            try:
                reply = await answer(message if isinstance(message, dict) else {})
            except Problem as problem:
                reply = {"ok": False, "failure": problem.failure.as_json()}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            return  # a caller that went away or spoke no JSON gets no answer
        finally:
            writer.close()

    return await asyncio.start_unix_server(serve, sock=listen(path), limit=MAX_LINE_BYTES)
