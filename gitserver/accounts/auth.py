"""Who is asking, and what that principal may do. The same answers for HTTP, SSH and the API.

Rules of this file
1. Rights are an equality of whole names. Never a prefix, a substring, a pattern, or the label of a key.
2. A public app is public to call. Its source, builds, logs and configuration stay its owner's.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gitserver.accounts.tokens import is_good, parse_token
from gitserver.ledger.records import App, Principal, Token
from gitserver.push import AppName

if TYPE_CHECKING:  # the command line and the gateway read headers with this module and need no database for it
    from gitserver.ledger.store import Ledger

FAILED_LOGINS = 10  # of one address in one window (contracts/security.md, limits)
FAILED_WINDOW = timedelta(minutes=1)
_MAX_ADDRESSES = 10_000  # memory of the counter; the oldest address is forgotten first
_MAX_HEADER = 4096


def utc_now() -> datetime:
    """The clock of the server."""
    return datetime.now(UTC)


class Accounts:
    """Principals of one ledger."""

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime] = utc_now) -> None:
        self._ledger = ledger
        self._clock = clock
        self._failed: dict[str, deque[datetime]] = {}
        self._lock = threading.Lock()

    def find_good_token(self, text: str) -> Token | None:
        """The token's record when its text is genuine, not revoked and not expired."""
        parts = parse_token(text)
        if parts is None:
            return None
        token_id, secret = parts
        token = self._ledger.find_token(token_id)
        return token if is_good(token, secret, self._clock()) else None

    def authenticate_token(self, text: str) -> Principal | None:
        """Whose token this is; None for anything that is not a good token."""
        token = self.find_good_token(text)
        return self._ledger.principal(token.principal_id) if token is not None else None

    def authenticate_key(self, fingerprint: str) -> Principal | None:
        """Whose SSH key this is (`SHA256:...`). Call it with the key of the completed signature only."""
        key = self._ledger.find_key(fingerprint)
        return self._ledger.principal(key.principal_id) if key is not None else None

    def may_push(self, principal: Principal, app_name: AppName) -> bool:
        """May push to, create, configure and destroy the app of this name."""
        return principal.name == app_name.owner

    def may_read(self, principal: Principal | None, app: App) -> bool:
        """May fetch the source and read builds, releases and logs."""
        return principal is not None and principal.name == app.name.owner

    def may_call(self, principal: Principal | None, app: App) -> bool:
        """May call the model."""
        return app.is_public or self.may_read(principal, app)

    def note_failure(self, address: str) -> int:
        """Remember a failed login from an address; seconds that it has to wait now, 0 below the limit.

        Why     failures are slowed, good tokens never: with 256-bit secrets this protects the machine from load, and
                one stale credential helper must not lock out everybody who shares its address
        """
        now = self._clock()
        with self._lock:
            times = self._failed.pop(address, deque(maxlen=FAILED_LOGINS + 1))
            times.append(now)
            while times[0] <= now - FAILED_WINDOW:
                times.popleft()
            self._failed[address] = times
            while len(self._failed) > _MAX_ADDRESSES:
                del self._failed[next(iter(self._failed))]
            if len(times) <= FAILED_LOGINS:
                return 0
            return max(1, int((times[0] + FAILED_WINDOW - now).total_seconds()))


def parse_authorization(header: str | None) -> str | None:
    """The token inside an Authorization header; None when there is none. Its genuineness is not judged here.

    header   `Bearer T`, `Basic base64(anyone:T)`, `Simple T` (Algorithmia's clients), or T alone
    Source   RFC 6750 2.1, RFC 7617 2 (only the first ':' separates), Algorithmia API "Authorization: Simple KEY"
    """
    if not header or len(header) > _MAX_HEADER:
        return None
    scheme, _, rest = header.strip().partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "bearer" | "simple":
            return rest or None
        case "basic":
            return _basic_password(rest)
        case _:
            return scheme if not rest and scheme else None


def _basic_password(encoded: str) -> str | None:
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):  # ValueError: not base64's alphabet, or not UTF-8
        return None
    _, separator, password = text.partition(":")
    return password if separator and password else None


def client_address(forwarded_for: str, remote_address: str | None) -> str:
    """Where a call came from: the last hop that the gateway saw. Nobody else can reach the control plane's socket."""
    forwarded = forwarded_for.rpartition(",")[2].strip()
    return forwarded[:64] or remote_address or "local"
