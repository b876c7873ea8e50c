"""From the bytes of a request's head to what is done about it: one value, made by one pure function.

Why     the same head bytes come again and again on kept connections; what this module makes of them is kept until
        the route table changes, so that a repeated call costs one look-up.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from gitserver.gateway import answers
from gitserver.gateway.access import Verdict, find_caller, judge
from gitserver.gateway.answers import Answer
from gitserver.gateway.entries import OnDemand, Serving
from gitserver.gateway.heads import make_upstream_head
from gitserver.gateway.http1 import Refusal, RequestHead, parse_request_head
from gitserver.gateway.table import (
    AddSlash,
    BadPath,
    NoSuchApp,
    NoSuchRef,
    RouteTable,
    ToGateway,
    ToModel,
    ToWeb,
)

# Deadlines in seconds. The runtime has its own, shorter ones and better words: these end what hangs for good.
MODEL_BODY_IDLE_S = 60.0
WEB_BODY_IDLE_S = 1800.0  # a git client compresses before its first pack byte (contracts/security.md, limits)
MODEL_ANSWER_S = 330.0  # 300 s of the inference contract, and some for the runtime to say so itself
WEB_ANSWER_S = 3900.0  # builds may take an hour; the session keeps the connection alive meanwhile
_ALGORITHMIA_MAX_S = 3000.0
_TIMEOUT = re.compile(rb"[?&]timeout=([0-9]{1,9})(?:&|$)")
_SAFE_AGAIN = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_IDEMPOTENT = _SAFE_AGAIN | {b"PUT", b"DELETE"}  # RFC 9110 9.2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What of the configuration plans depend on."""

    max_body_bytes: int
    scheme: bytes  # by which users reach us: http, or https behind a proxy that ends TLS


class Web:
    """The place of the control plane."""

    __slots__ = ()


WEB = Web()
CallPlace = Serving | OnDemand | Web


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that goes to an upstream.

    upstream_head  see make_upstream_head
    body_limit     largest body in bytes, None without a limit
    may_reuse      a kept connection may carry it
    is_idempotent  running it twice does what running it once does
    valid_until    POSIX seconds: when the token that opened the way ends
    app            how errors name the upstream
    """

    head: RequestHead
    place: CallPlace
    upstream_head: bytes
    body_limit: int | None
    body_idle_s: float
    answer_s: float
    may_reuse: bool
    is_idempotent: bool
    valid_until: float
    app: str
    is_algorithmia: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`/healthz`: answered after asking the other processes."""

    head: RequestHead


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Answered at once. head is None when the request was not understood: the connection closes then."""

    head: RequestHead | None
    answer: Answer


Plan = Call | Health | Reply


def make_plan(raw: bytes, table: RouteTable, rules: Rules, now_s: float) -> Plan:
    """What is done about a request.

    raw    the head, empty line included
    now_s  POSIX seconds
    """
    head = parse_request_head(raw)
    if isinstance(head, Refusal):
        return Reply(head=None, answer=answers.refuse(head.status, head.why))
    route = table.resolve(head.host, head.target)
    match route:
        case ToWeb():
            return _web_call(head, rules, is_git=route.is_git)
        case ToGateway():
            return Health(head=head)
        case BadPath():
            return Reply(head=head, answer=answers.refuse(400, route.why))
        case ToModel() | AddSlash() | NoSuchRef() | NoSuchApp():
            return _app_plan(head, route, table, rules, now_s)


def _app_plan(
    head: RequestHead, route: ToModel | AddSlash | NoSuchRef | NoSuchApp, table: RouteTable, rules: Rules, now_s: float
) -> Plan:
    caller = find_caller(table.tokens, head.authorization, datetime.fromtimestamp(now_s, UTC))
    entry = None if isinstance(route, NoSuchApp) else route.entry
    name = str(entry.app.name) if entry is not None else ""
    is_algorithmia = not isinstance(route, AddSlash) and route.is_algorithmia
    verdict = judge(entry, caller)
    if verdict is Verdict.NEEDS_TOKEN:
        return Reply(head=head, answer=answers.needs_token(is_algorithmia=is_algorithmia))
    if verdict is Verdict.HIDDEN or isinstance(route, NoSuchApp):
        return Reply(head=head, answer=answers.no_such_app(route.named, is_algorithmia=is_algorithmia))
    if isinstance(route, AddSlash):
        return Reply(head=head, answer=answers.add_slash(route.location))
    if isinstance(route, NoSuchRef):
        answer = answers.no_such_ref(name, route.ref, route.entry.listing, is_algorithmia=is_algorithmia)
        return Reply(head=head, answer=answer)
    place = route.place
    if not isinstance(place, Serving | OnDemand):
        return Reply(head=head, answer=answers.not_running(name, place.branch, is_algorithmia=is_algorithmia))
    return Call(
        head=head,
        place=place,
        upstream_head=make_upstream_head(
            head, target=route.target, prefix=route.prefix, scheme=rules.scheme, drop_token=caller.carries_token
        ),
        body_limit=rules.max_body_bytes,
        body_idle_s=MODEL_BODY_IDLE_S,
        answer_s=_answer_s(route),
        may_reuse=not head.is_websocket,
        is_idempotent=head.method in _IDEMPOTENT,
        valid_until=caller.expires_at.timestamp() if caller.expires_at is not None else math.inf,
        app=name,
        is_algorithmia=is_algorithmia,
    )


def _web_call(head: RequestHead, rules: Rules, *, is_git: bool) -> Call:
    return Call(
        head=head,
        place=WEB,
        upstream_head=make_upstream_head(head, target=head.target, prefix=b"", scheme=rules.scheme, drop_token=False),
        body_limit=None if is_git else rules.max_body_bytes,
        body_idle_s=WEB_BODY_IDLE_S if is_git else MODEL_BODY_IDLE_S,
        answer_s=WEB_ANSWER_S,
        # gunicorn drops kept connections after 2 s: a write must never meet that race, because it may not run twice
        may_reuse=head.method in _SAFE_AGAIN and not head.is_websocket,
        is_idempotent=head.method in _SAFE_AGAIN,
        valid_until=math.inf,
        app="the control plane",
        is_algorithmia=False,
    )


def _answer_s(route: ToModel) -> float:
    """Algorithmia's callers say how long they wait: `?timeout=SECONDS`, 3000 at most (contracts/inference.md 1.6)."""
    match = _TIMEOUT.search(route.target) if route.is_algorithmia else None
    if match is None:
        return MODEL_ANSWER_S
    return min(float(match[1]), _ALGORITHMIA_MAX_S) + MODEL_ANSWER_S - 300.0
