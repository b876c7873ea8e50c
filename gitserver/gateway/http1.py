"""HTTP/1.1 heads, read strictly: what two readers could take in two ways is refused, never repaired.  Pure.

Rules of this file
1. Bytes in, a frozen value out; nothing here knows of sockets, apps or time.
2. The corpus in tests/contract/gateway_corpus/ is the list of what was tried against it (security row 49).
3. Framing is decided once, here. Whoever forwards a head writes the framing headers anew from content_length and
   chunked, so that no header that we read differently from the next server survives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_TARGET_BYTES = 8 * 1024
METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# RFC 9112 3: exactly one space, a visible ASCII target. Bytes over 0x7e are read differently by different servers
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
# One pass over all field lines: no folding, no bare CR or LF, no space before the colon, no control bytes
_FIELDS = re.compile(rb"((?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n")
_DIGITS = re.compile(rb"[0-9]{1,18}")  # 19 digits could pass 2**63 in somebody's integer
_HOST = re.compile(rb"(?:[A-Za-z0-9._\-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate", b"te",
    b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip
_HOP_BY_HOP_LINES = tuple(b"\r\n" + name + b":" for name in sorted(HOP_BY_HOP))
# WSGI writes '-' and '_' alike, so `X_Forwarded_For` would overrule the header that we vouch for
_NO_UNDERSCORE = frozenset({
    b"content-length", b"content-type", b"transfer-encoding", b"host", b"connection", b"authorization", b"forwarded",
    b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix", b"x-real-ip",
})  # fmt: skip

Fields = tuple[tuple[bytes, bytes], ...]  # (lower-case name, the line as it came, without CR LF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is not taken: a status of RFC 9110 and a sentence for the person who wrote the client."""

    status: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """A request that has one meaning.

    minor           of the version: 0 or 1
    content_length  None when there is no body or it is chunked
    keep_alive      the client would send another request on this connection
    is_websocket    asks to become one; any other upgrade is ignored, as RFC 9110 7.8 allows (h2c smuggles requests)
    hop_by_hop      names that Connection lists: they end here
    """

    method: bytes
    target: bytes
    minor: int
    fields: Fields
    host: bytes
    content_length: int | None
    chunked: bool
    keep_alive: bool
    expects_continue: bool
    is_websocket: bool
    hop_by_hop: frozenset[bytes]
    authorization: bytes
    request_id: bytes


class ResponseHead(NamedTuple):
    """What an upstream answered. Its body: content_length bytes, chunked, or until_close.

    passed  the lines to pass on, each with CR LF: everything but hop-by-hop headers
    Why     a tuple and not a dataclass: one is made per call, and a frozen dataclass takes 2 us to make
    """

    status: int
    reason: bytes
    passed: bytes
    content_length: int | None
    chunked: bool
    until_close: bool
    keep_alive: bool
    has_request_id: bool


class _Refused(Exception):  # noqa: N818 -- control flow inside this file only
    def __init__(self, status: int, why: str) -> None:
        self.refusal = Refusal(status=status, why=why)


def judge_fragment(data: bytes) -> Refusal | None:
    """Refuse early what can never become a good head, so that a bad client does not wait for the deadline.

    data  what has come so far of a head whose end has not
    """
    if len(data) > MAX_HEAD_BYTES:
        return Refusal(status=431, why=f"The request's head is larger than {MAX_HEAD_BYTES} bytes.")
    if data and not (data[:1].isalpha() or data[:1] == b"\r"):
        return Refusal(status=400, why="This is not an HTTP request (is it TLS? this port speaks plain HTTP).")
    newline = data.find(b"\n")
    while newline >= 0:
        if newline == 0 or data[newline - 1] != 13:
            return Refusal(status=400, why="A line of the head ends in LF without CR.")
        newline = data.find(b"\n", newline + 1)
    return None


def parse_request_head(raw: bytes) -> RequestHead | Refusal:
    """The request of a head, or why there is none.

    raw     from the first byte of the request line to the empty line, both included
    Source  RFC 9112 (HTTP/1.1), RFC 9110 (semantics)
    """
    try:
        return _parse_request(raw)
    except _Refused as refused:
        return refused.refusal


def _parse_request(raw: bytes) -> RequestHead:
    method, target, minor, start = _request_line(raw)
    fields = _fields(raw, start)
    if fields is None:
        raise _Refused(400, "A header line is malformed.")
    if len(fields) > MAX_HEADERS:
        raise _Refused(431, f"The request has more than {MAX_HEADERS} headers.")
    known: dict[bytes, bytes] = {}
    for name, line in fields:
        value = line[len(name) + 1 :].strip(b" \t")
        if b"_" in name and name.replace(b"_", b"-") in _NO_UNDERSCORE:
            raise _Refused(400, f"The header name {name.decode()} has an underscore.")
        if name not in known:
            known[name] = value
        elif name in {b"connection", b"expect"}:
            known[name] += b"," + value
        elif name in {b"host", b"content-length", b"transfer-encoding", b"authorization", b"content-type"}:
            raise _Refused(400, f"The header {name.decode()} stands there twice.")
    length, chunked = _request_framing(known, minor)
    connection = frozenset(token.strip(b" \t").lower() for token in known.get(b"connection", b"").split(b","))
    request_id = known.get(b"x-request-id", b"")
    return RequestHead(
        method=method,
        target=target,
        minor=minor,
        fields=fields,
        host=_host(known.get(b"host"), minor),
        content_length=length,
        chunked=chunked,
        keep_alive=b"close" not in connection and (minor == 1 or b"keep-alive" in connection),
        expects_continue=_expects_continue(known.get(b"expect"), minor),
        is_websocket=(
            minor == 1
            and b"upgrade" in connection
            and known.get(b"upgrade", b"").lower() == b"websocket"
            and method == b"GET"
            and not chunked
            and not length
        ),
        hop_by_hop=connection - {b"", b"close", b"keep-alive", b"upgrade"},
        authorization=known.get(b"authorization", b""),
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else b"",
    )


def _request_line(raw: bytes) -> tuple[bytes, bytes, int, int]:
    match = _REQUEST_LINE.match(raw)
    if match is None:
        raise _Refused(400, "The request line is malformed.")
    method, target, major, minor = match.groups()
    if major != b"1" or minor not in {b"0", b"1"}:
        raise _Refused(505, "This server speaks HTTP/1.1 and HTTP/1.0.")
    if method not in METHODS:
        raise _Refused(501, f"The method {method[:20].decode()} is not known here.")
    if len(target) > MAX_TARGET_BYTES:
        raise _Refused(414, f"The address is longer than {MAX_TARGET_BYTES} bytes.")
    # absolute-form names a second host beside Host: only proxies need it, and this is none
    if not target.startswith(b"/") or b"#" in target:
        raise _Refused(400, "The address must be a path that begins with '/'.")
    return method, target, int(minor), match.end()


def _fields(raw: bytes, start: int) -> Fields | None:
    match = _FIELDS.fullmatch(raw, start)
    if match is None:
        return None
    lines = match[1].split(b"\r\n")
    lines.pop()
    return tuple([(line[: line.index(b":")].lower(), line) for line in lines])


def _host(host: bytes | None, minor: int) -> bytes:
    if host is None:
        if minor == 1:
            raise _Refused(400, "The header Host is missing.")
        return b""
    if not _HOST.fullmatch(host):
        raise _Refused(400, "The header Host is malformed.")
    return host


def _expects_continue(expect: bytes | None, minor: int) -> bool:
    if expect is None:
        return False
    if expect.lower() != b"100-continue":
        raise _Refused(417, "Only the expectation 100-continue can be met.")
    return minor == 1  # RFC 9110 10.1.1: from HTTP/1.0 it is ignored


def _request_framing(known: dict[bytes, bytes], minor: int) -> tuple[int | None, bool]:
    length, coding = known.get(b"content-length"), known.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise _Refused(400, "Content-Length and Transfer-Encoding exclude each other.")
        if minor == 0:
            raise _Refused(400, "HTTP/1.0 has no Transfer-Encoding.")
        if coding.lower() != b"chunked":
            raise _Refused(501, "The only transfer coding known here is chunked.")
        return None, True
    if length is None:
        return None, False
    if not _DIGITS.fullmatch(length):
        raise _Refused(400, "Content-Length is not a number.")
    return int(length), False


def parse_response_head(raw: bytes, *, method: bytes) -> ResponseHead | None:
    """An upstream's answer; None when its framing is ambiguous or it is no HTTP: nothing of it may be passed on.

    raw     from the status line to the empty line, both included
    method  of the request: answers to HEAD have no body whatever they say
    Source  RFC 9112 6.3, message body length
    """
    line = _STATUS_LINE.match(raw)
    if line is None or _FIELDS.fullmatch(raw, line.end()) is None:
        return None
    status, minor = int(line[2]), line[1]
    passed = raw[line.end() : -2]
    lower = raw.lower()
    length, length_count = _find_value(lower, b"\r\ncontent-length:")
    coding: bytes | None = None
    connection = frozenset[bytes]()
    if any(name in lower for name in _HOP_BY_HOP_LINES):  # seldom: most answers are passed on without a loop
        fields = _fields(raw, line.end()) or ()
        codings = [text[18:].strip(b" \t").lower() for name, text in fields if name == b"transfer-encoding"]
        if codings and (len(codings) > 1 or codings[0] != b"chunked" or length is not None):
            return None
        coding = codings[0] if codings else None
        connection = frozenset(
            token.strip(b" \t")
            for name, text in fields
            if name == b"connection"
            for token in text[11:].lower().split(b",")
        )
        passed = b"".join([text + b"\r\n" for name, text in fields if name not in HOP_BY_HOP])
    if length_count > 1 or (length is not None and not _DIGITS.fullmatch(length)):
        return None
    bodiless = method == b"HEAD" or status in {204, 304} or status < 200
    until_close = not bodiless and length is None and coding is None
    return ResponseHead(
        status,
        line[3] or b"",
        passed,
        0 if bodiless else int(length) if length is not None else None,
        coding is not None and not bodiless,
        until_close,
        not until_close and b"close" not in connection and (minor == b"1" or b"keep-alive" in connection),
        b"\r\nx-request-id:" in lower,
    )


def _find_value(lower: bytes, line_start: bytes) -> tuple[bytes | None, int]:
    """(value, how many there are) of a header in a head in lower case."""
    at = lower.find(line_start)
    if at < 0:
        return None, 0
    start = at + len(line_start)
    return lower[start : lower.index(b"\r", start)].strip(b" \t"), 1 + lower.count(line_start, start)
