"""Heads as they leave the gateway: to the model or the control plane, and back to the client.  Pure.

Rules of this file
1. Hop-by-hop headers end here in both directions; framing is written anew (http1.py, rule 3).
2. What we vouch for (X-Forwarded-*) replaces whatever the client said of it.
"""

from __future__ import annotations

from gitserver.gateway.http1 import HOP_BY_HOP, RequestHead, ResponseHead

_NEVER_UPSTREAM = HOP_BY_HOP | {
    b"host", b"content-length", b"expect", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto",
    b"x-forwarded-host", b"x-forwarded-prefix", b"x-forwarded-port", b"x-forwarded-server", b"x-real-ip",
    b"x-request-id",
}  # fmt: skip


def make_upstream_head(head: RequestHead, *, target: bytes, prefix: bytes, scheme: bytes, drop_token: bool) -> bytes:
    """The request's head without its end: the lines of a connection (make_forwarded) and CR LF are added per call.

    target  path and query for the upstream; prefix: what stood before it, sent as X-Forwarded-Prefix
    Why     the same bytes of a client give the same bytes here, so this is done once for many calls
    """
    dropped = _NEVER_UPSTREAM | head.hop_by_hop
    if drop_token:
        dropped |= {b"authorization"}
    lines = [b"%b %b HTTP/1.1" % (head.method, target)]
    if head.host:
        lines.append(b"Host: " + head.host)
        lines.append(b"X-Forwarded-Host: " + head.host)
    else:
        lines.append(b"Host: localhost")  # HTTP/1.0 knows no Host, the upstream's HTTP/1.1 demands one
    lines.append(b"X-Forwarded-Proto: " + scheme)
    if prefix:
        lines.append(b"X-Forwarded-Prefix: " + prefix)
    if head.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif head.content_length is not None:
        lines.append(b"Content-Length: %d" % head.content_length)
    if head.is_websocket:
        lines += (b"Connection: Upgrade", b"Upgrade: websocket")
    if head.request_id:
        lines.append(b"X-Request-Id: " + head.request_id)
    lines += [line for name, line in head.fields if name not in dropped]
    lines.append(b"")
    return b"\r\n".join(lines)


def make_forwarded(peer_host: str) -> bytes:
    """The header line of a client's address, once per connection."""
    return b"X-Forwarded-For: %b\r\n" % peer_host.encode("ascii", "replace")


def make_client_head(head: ResponseHead, *, chunked: bool, close: bool, request_id: bytes) -> bytes:
    """The answer's head, complete.

    chunked  the body goes out in chunks (never to HTTP/1.0)
    close    the connection ends after this answer
    """
    parts = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason), head.passed]
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    if request_id and not head.has_request_id:
        parts.append(b"X-Request-Id: %b\r\n" % request_id)
    if head.status == 101:
        parts.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    elif close:
        parts.append(b"Connection: close\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)
