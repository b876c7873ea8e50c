"""POST /predict: the plainest way to ask. JSON in, the model's answer as JSON out; code that yields is streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from .jsontext import parse_json, plain, render_json
from .refusal import Refused
from .service import JSON, Answer, Call, Service, is_stream, json_answer
from .user_model import run_coroutine

STREAM_TYPE = "application/x-ndjson"
SSE_TYPE = "text/event-stream"


def predict(service: Service, call: Call) -> Answer:
    """Answer POST /predict.

    body     application/json (or no type), text/plain as str, application/octet-stream, image/*, audio/* as bytes
    Raises   Refused: 400 no JSON, 415 another type, 422 does not fit
    """
    value = read_value(service, call)
    result = service.ask(call, lambda: service.model.native(value))
    if is_stream(result):
        return _stream(result, call)
    return json_answer(result)


def read_value(service: Service, call: Call) -> Any:
    """The body as its content type says."""
    kind, _, parameters = call.content_type.partition(";")
    kind = kind.strip().lower()
    if kind in ("", JSON) or kind.endswith("+json"):
        return parse_json(call.read())
    takes_any = service.model.platform == "python"
    if takes_any and kind == "text/plain":
        try:
            return call.read().decode("utf-8")
        except UnicodeDecodeError as exc:
            raise Refused(400, f"the text is not UTF-8: byte {exc.start} is wrong") from exc
    if takes_any and (kind == "application/octet-stream" or kind.startswith(("image/", "audio/"))):
        return call.read()
    del parameters
    accepted = "application/json" + (", text/plain, application/octet-stream, image/*, audio/*" if takes_any else "")
    raise Refused(415, f"{kind} is not taken here; send {accepted} as the Content-Type")


def _stream(result: Any, call: Call) -> Answer:
    """One JSON document per line, or server-sent events for callers who accept those."""
    as_events = SSE_TYPE in call.environ.get("HTTP_ACCEPT", "")
    items = _sync(result) if hasattr(result, "__anext__") else iter(result)
    return Answer(body=_encoded(items, call.request_id, as_events), content_type=SSE_TYPE if as_events else STREAM_TYPE)


def _encoded(items: Iterator[Any], request_id: str, as_events: bool) -> Iterator[bytes]:
    before, after = (b"data: ", b"\n\n") if as_events else (b"", b"\n")
    try:
        for item in items:
            yield before + render_json(plain(item)) + after
    except Exception as exc:  # noqa: BLE001 -- the 200 is out: the error can only be a part of the stream
        print(f"request {request_id}: the stream ended with {type(exc).__name__}: {exc}", flush=True)
        yield before + render_json({"error": "internal error", "request_id": request_id}) + after


def _sync(stream: Any) -> Iterator[Any]:
    while True:
        try:
            yield run_coroutine(_next(stream))
        except StopAsyncIteration:
            return


async def _next(stream: Any) -> Any:
    try:
        return await anext(stream)
    except asyncio.CancelledError:
        raise StopAsyncIteration from None
