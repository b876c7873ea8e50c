"""What the gateway itself says: every sentence, status and header of its own answers.  Pure.

Rules of this file
1. One body for every error: {"error": "<sentence>"}; below /v1/algo/ the object that Algorithmia's clients read.
2. An app that the caller may not see and an app that does not exist get the same bytes (security rows 10, 18).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

_MAX_SHOWN = 200  # bytes of a name from outside that are repeated to its sender
_MAX_LISTED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer. headers: (name, value) beside the usual ones."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def refuse(status: int, sentence: str, *, is_algorithmia: bool = False, **headers: str) -> Answer:
    """An error of this status. headers: names with '_' for '-'."""
    value: object = {"error": sentence}
    if is_algorithmia:
        # Algorithmia's clients read error.message and metadata.duration unconditionally (contracts/inference.md 1.6)
        value = {"error": {"message": sentence, "error_type": "SystemError"}, "metadata": {"duration": 0.0}}
    pairs = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Answer(status=status, body=json.dumps(value).encode() + b"\n", headers=pairs)


def needs_token(*, is_algorithmia: bool) -> Answer:
    """401: no token, a wrong one, or one that has expired."""
    return refuse(
        401,
        "This call needs a token that is valid here: Authorization: Bearer algo_... (make one: algo tokens create)",
        is_algorithmia=is_algorithmia,
        WWW_Authenticate='Bearer realm="algo", Basic realm="algo"',
    )


def no_such_app(name: str, *, is_algorithmia: bool) -> Answer:
    """404: unknown, or not the caller's. Nobody learns which."""
    return refuse(
        404, f"{name[:_MAX_SHOWN]} does not exist, or this token may not call it", is_algorithmia=is_algorithmia
    )


def no_such_ref(app: str, ref: str, listing: Sequence[str], *, is_algorithmia: bool) -> Answer:
    """404 with what exists instead."""
    shown = [*listing[:_MAX_LISTED], *(["..."] if len(listing) > _MAX_LISTED else [])]
    return refuse(
        404,
        f"{app} has no version or branch '{ref[:_MAX_SHOWN]}'; it has: {', '.join(shown)}",
        is_algorithmia=is_algorithmia,
    )


def not_running(app: str, branch: str, *, is_algorithmia: bool) -> Answer:
    """503: the environment exists and has never served."""
    where = app if branch == "main" else f"{app}@{branch}"
    return refuse(
        503,
        f"{where} has no running release yet; push one: git push algo {branch}",
        is_algorithmia=is_algorithmia,
        Retry_After="5",
    )


def model_down(app: str, *, is_algorithmia: bool) -> Answer:
    """503: its process does not listen right now."""
    return refuse(
        503,
        f"{app} is being started again; call it again in a moment (why it ended: algo logs)",
        is_algorithmia=is_algorithmia,
        Retry_After="1",
    )


def not_started(app: str, why: str, *, is_algorithmia: bool) -> Answer:
    """503: a version was asked for and could not be started."""
    return refuse(503, f"{app} could not be started: {why}", is_algorithmia=is_algorithmia, Retry_After="10")


def connection_lost(app: str, *, is_algorithmia: bool) -> Answer:
    """502: the process ended, or answered nonsense, while it had the call. Whether the call ran is unknown."""
    return refuse(
        502,
        f"{app} ended or answered no valid HTTP while it had this call (its log: algo logs)",
        is_algorithmia=is_algorithmia,
    )


def no_answer_in_time(app: str, seconds: float, *, is_algorithmia: bool) -> Answer:
    """504."""
    return refuse(504, f"{app} did not answer within {seconds:g} s", is_algorithmia=is_algorithmia)


def too_large(limit_bytes: int, *, is_algorithmia: bool) -> Answer:
    """413, before the body is read."""
    return refuse(
        413,
        f"The body is larger than {limit_bytes} bytes, the limit of this server (operators: max_body_bytes)",
        is_algorithmia=is_algorithmia,
    )


def too_slow() -> Answer:
    """408: the head or the body did not come."""
    return refuse(408, "The request did not arrive in time")


def bad_chunks() -> Answer:
    """400: the body's own framing is broken."""
    return refuse(400, "The body is not correctly chunked")


def web_down() -> Answer:
    """503: the control plane restarts."""
    return refuse(503, "The control plane is starting; try again in a moment", Retry_After="1")


def add_slash(location: bytes) -> Answer:
    """308: to the same address with a slash, so that relative links below it work."""
    return Answer(status=308, body=b"", headers=(("Location", location.decode("ascii")),))


def health(missing: Sequence[str]) -> Answer:
    """200 when pushes and calls are accepted, else 503 that names what is missing."""
    if not missing:
        return Answer(status=200, body=b'{"status":"ok"}\n', headers=(("Cache-Control", "no-store"),))
    return refuse(503, f"not ready: {', '.join(missing)}", Cache_Control="no-store", Retry_After="1")


def render(answer: Answer, *, head_only: bool, close: bool, request_id: bytes) -> bytes:
    """The bytes of an answer. head_only: the request was HEAD."""
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Length: {len(answer.body)}",
    ]
    if answer.body:
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if request_id:
        lines.append(f"X-Request-Id: {request_id.decode('ascii')}")
    if close:
        lines.append("Connection: close")
    head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
    return head if head_only else head + answer.body
