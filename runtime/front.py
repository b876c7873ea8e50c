"""The WSGI door: head and body in, one answer out, with the headers that every answer carries.

1. Every answer has X-Request-Id (the caller's, when it is sane), X-Model-Version and Server-Timing; calls that asked
   the model have X-Predict-Ms; a traceparent is passed on.
2. A body is refused by its length before it is read, and never read beyond the limit.
3. The shape of an error follows the path: strings below /v1 and /v2, {"error", "detail"} elsewhere.
4. What a user's exception says goes to the log; callers get the request id.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from .calllog import log_failure, log_own_failure
from .refusal import ModelRaised, OutOfTime, Refused
from .routes import find_route, make_table
from .service import Answer, Call, Service, json_answer

REASONS = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
SANE_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# https://www.w3.org/TR/trace-context/, version 00
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
STRING_ERRORS = ("/v1/models", "/v2")
StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Front:
    """The WSGI application of one worker."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._table = make_table(service)

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        started = time.perf_counter_ns()
        service = self._service
        service.board.enter()
        label, status, call = "none", 500, self._call(environ)
        try:
            try:
                route = find_route(self._table, service, call.method, call.path)
                label = route.label
                answer = route.handler(service, call)
            except Refused as refused:
                answer = _refusal(refused, call)
            except OutOfTime:
                answer = json_answer({"error": "the call ran past its deadline"}, status=504)
            except ModelRaised as raised:
                log_failure(service.settings, call.request_id, raised.cause)
                answer = _broken(call, f"{type(raised.cause).__name__}: {raised.cause}", service.settings.debug)
            except Exception as exc:  # noqa: BLE001 -- the last net: a caller gets an answer, the log the whole story
                log_own_failure(call.request_id, exc)
                answer = _broken(call, "", debug=False)
            status = answer.status
            headers = self._headers(answer, call, time.perf_counter_ns() - started)
            body = answer.body
            if isinstance(body, bytes):
                headers.append(("Content-Length", str(len(body))))
            start_response(f"{status} {REASONS.get(status, 'Unknown')}", headers)
            if isinstance(body, bytes):
                return [] if call.method == "HEAD" else [body]
            return _streamed(body)
        finally:
            service.board.leave(label, status, time.perf_counter_ns() - started, call.predict_ns)

    def _call(self, environ: Mapping[str, Any]) -> Call:
        sent_id = environ.get("HTTP_X_REQUEST_ID", "")
        query_string = environ.get("QUERY_STRING", "")
        query = dict(reversed(parse_qsl(query_string, keep_blank_values=True))) if query_string else {}
        return Call(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"] or "/",
            query=query,
            content_type=environ.get("CONTENT_TYPE", ""),
            environ=environ,
            request_id=sent_id if SANE_ID.fullmatch(sent_id) else os.urandom(8).hex(),
            deadline_at=time.monotonic() + _seconds_granted(environ, query, self._service.settings.deadline_s),
            read=lambda: read_body(environ, self._service.settings.max_body_bytes),
        )

    def _headers(self, answer: Answer, call: Call, total_ns: int) -> list[tuple[str, str]]:
        headers = [
            ("Content-Type", answer.content_type),
            ("X-Request-Id", call.request_id),
            ("X-Model-Version", self._service.settings.version),
            *answer.headers,
        ]
        if call.predict_ns is None:
            headers.append(("Server-Timing", f"total;dur={total_ns / 1e6:.3f}"))
        else:
            predict_ms = f"{call.predict_ns / 1e6:.3f}"
            headers.append(("X-Predict-Ms", predict_ms))
            headers.append(("Server-Timing", f"predict;dur={predict_ms}, total;dur={total_ns / 1e6:.3f}"))
        traceparent = call.environ.get("HTTP_TRACEPARENT", "")
        if TRACEPARENT.fullmatch(traceparent):
            headers.append(("traceparent", traceparent))
        return headers


def read_body(environ: Mapping[str, Any], limit_bytes: int) -> bytes:
    """The whole body.

    Raises  Refused: 413 for more than limit_bytes (by its length, before a byte is read; without a length, as soon
            as it passes the limit), 400 when it ends before its length
    """
    declared = environ.get("CONTENT_LENGTH") or ""
    if declared.isdigit() and int(declared) > limit_bytes:
        raise too_large(limit_bytes)
    stream = environ["wsgi.input"]
    if declared.isdigit():
        body: bytes = stream.read(int(declared))
        if len(body) < int(declared):
            raise Refused(400, f"the body ended after {len(body)} of {declared} bytes")
        return body
    if not environ.get("wsgi.input_terminated"):
        return b""
    body = stream.read(limit_bytes + 1)
    if len(body) > limit_bytes:
        raise too_large(limit_bytes)
    return body


def too_large(limit_bytes: int) -> Refused:
    """The refusal of a body over the limit."""
    return Refused(413, f"the body is larger than {limit_bytes} bytes, the limit of this server")


def _seconds_granted(environ: Mapping[str, Any], query: Mapping[str, str], longest_s: float) -> float:
    """The deadline that the caller asks for (header X-Request-Timeout, or timeout= in the address), up to ours."""
    asked = environ.get("HTTP_X_REQUEST_TIMEOUT") or query.get("timeout") or ""
    try:
        seconds = float(asked) if asked else longest_s
    except ValueError:
        return longest_s
    return min(seconds, longest_s) if seconds > 0 else longest_s


def _refusal(refused: Refused, call: Call) -> Answer:
    if call.path.startswith(STRING_ERRORS):
        # These contracts know no 415 and no 422: their clients treat 400 as "your input".
        status = 400 if refused.status in (415, 422) else refused.status
        return json_answer({"error": refused.sentence()}, status=status, headers=refused.headers)
    body: dict[str, Any] = {"error": refused.error}
    if refused.flaws:
        body["detail"] = [{"path": flaw.path, "message": flaw.message} for flaw in refused.flaws]
    return json_answer(body, status=refused.status, headers=refused.headers)


def _broken(call: Call, message: str, debug: bool) -> Answer:
    body: dict[str, Any] = {"error": message if debug and message else "internal error", "request_id": call.request_id}
    return json_answer(body, status=500)


def _streamed(body: Iterator[bytes]) -> Iterator[bytes]:
    yield from body
