"""Algorithmia's call: POST /v1/algo/OWNER/NAME[/VERSION], with its types and its envelope.

Rules   an algorithm that fails is HTTP 200 with an error object; duration and content_type are always there, because
        clients read both without asking. output=raw gives the bare result, output=void answers before the work.
        What the user's exception says is for its owner, unless it was raised as AlgorithmException, on purpose.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from dataclasses import replace
from typing import Any

from .calllog import log_failure
from .jsontext import parse_json, render_json
from .refusal import ModelRaised, OutOfTime, Refused
from .service import JSON, Answer, Call, Service, is_stream, json_answer

TEXT_TYPES = ("text/plain", "application/text")


def call_algorithm(service: Service, call: Call) -> Answer:
    """Answer one call in Algorithmia's terms."""
    started = time.perf_counter()
    value = _value(call)
    mode = call.query.get("output", "")
    if mode == "void":
        threading.Thread(target=_forget, args=(service, call, value), name="void call", daemon=True).start()
        return json_answer({"async_protocol": "void", "request_id": call.request_id})
    kinds: list[str] = []
    try:
        result = service.ask(call, lambda: _asked(service, value, kinds))
        if is_stream(result):
            result = list(result)
    except ModelRaised as exc:
        if mode == "raw":
            raise Refused(400, _message(exc.cause, call, debug=service.settings.debug)) from exc
        log_failure(service.settings, call.request_id, exc.cause)
        return _failed(_message(exc.cause, call, debug=service.settings.debug), _error_type(exc.cause), started)
    except Refused as exc:
        if mode == "raw" or exc.status in (413, 503, 504):
            raise
        return _failed(exc.sentence(), "AlgorithmError", started)
    kind = kinds[0]
    if mode == "raw":
        return _raw(result, kind)
    metadata = {"content_type": kind, "duration": time.perf_counter() - started}
    return json_answer({"result": result, "metadata": metadata})


def _asked(service: Service, value: Any, kinds: list[str]) -> Any:
    result = service.model.native(value)
    binary = isinstance(result, (bytes, bytearray, memoryview))
    kinds.append("binary" if binary else "text" if isinstance(result, str) else "json")
    return result


def _value(call: Call) -> Any:
    kind = call.content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        return parse_json(call.read())
    body = call.read()
    if kind in TEXT_TYPES:
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise Refused(400, f"the text is not UTF-8: byte {exc.start} is wrong") from exc
    if kind == "application/octet-stream":
        if call.environ.get("HTTP_CONTENT_ENCODING", "").lower() != "base64":
            return body
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as exc:
            raise Refused(400, "the body is not base64, as its Content-Encoding says") from exc
    raise Refused(400, f"{kind or 'no Content-Type'}: send application/json, text/plain or application/octet-stream")


def _raw(result: Any, kind: str) -> Answer:
    if kind == "text":
        return Answer(body=str(result).encode(), content_type="text/plain; charset=utf-8")
    if kind == "binary":
        return Answer(body=base64.b64decode(result), content_type="application/octet-stream")
    return Answer(body=render_json(result))


def _failed(message: str, error_type: str, started: float) -> Answer:
    return json_answer(
        {
            "error": {"message": message, "error_type": error_type},
            "metadata": {"duration": time.perf_counter() - started},
        }
    )


def _message(cause: BaseException, call: Call, *, debug: bool) -> str:
    # An AlgorithmException always has a type, and so has what users derive from it or write like it.
    if debug or getattr(cause, "error_type", None):
        return str(cause)
    return f"internal error, request {call.request_id}"


def _error_type(cause: BaseException) -> str:
    return str(getattr(cause, "error_type", None) or "AlgorithmError")


def _forget(service: Service, call: Call, value: Any) -> None:
    # The caller's connection goes on to other calls: this one must not be answered on it, however late it is.
    alone = replace(call, environ={}, deadline_at=time.monotonic() + service.settings.deadline_s)
    try:
        service.ask(alone, lambda: service.model.native(value))
    except OutOfTime:
        print(f"request {call.request_id}: ran past its deadline", flush=True)
    except ModelRaised as exc:
        log_failure(service.settings, call.request_id, exc.cause)
    except Refused as exc:
        print(f"request {call.request_id}: {exc.sentence()}", flush=True)
