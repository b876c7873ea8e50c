"""Tokens: `algo_<id>_<secret>`. Made, read and judged here; only SHA-256 of the secret is ever stored.  Pure.

Rules of this file
1. Randomness and time are arguments.
2. The secret has 256 bits, so one round of SHA-256 is enough: there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from gitserver.ledger.records import Token

RANDOM_BYTES = 40  # 8 for the id, which is public, 32 for the secret
TOKEN_LIFE = timedelta(days=90)  # contracts/security.md, limits
_ID_BYTES = 8
# Hex and no other alphabet: '_' then separates the parts, and a double click selects the whole token
_TOKEN = re.compile(r"algo_(?P<id>[0-9a-f]{16})_(?P<secret>[0-9a-f]{64})", re.ASCII)
# Compared when the id is unknown, so that an unknown token takes the way of a wrong one
_NOBODYS_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token at birth: text is shown once, the rest is what the ledger keeps."""

    text: str
    id: str
    secret_sha256: str
    last4: str

    def __repr__(self) -> str:
        """Without the secret, so that no traceback or log line carries it."""
        return f"NewToken(id={self.id!r}, last4={self.last4!r})"


def make_token(randomness: bytes) -> NewToken:
    """A token from RANDOM_BYTES bytes of a cryptographic source. Raises ValueError for any other length."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a token is made of {RANDOM_BYTES} random bytes")
    token_id, secret = randomness[:_ID_BYTES].hex(), randomness[_ID_BYTES:].hex()
    return NewToken(text=f"algo_{token_id}_{secret}", id=token_id, secret_sha256=hash_secret(secret), last4=secret[-4:])


def parse_token(text: str) -> tuple[str, str] | None:
    """(id, secret) of a token's text; None when it is not one."""
    match = _TOKEN.fullmatch(text)
    return (match["id"], match["secret"]) if match else None


def hash_secret(secret: str) -> str:
    """What the ledger stores of a secret: hex SHA-256 of its text."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_good(token: Token | None, secret: str, now: datetime) -> bool:
    """The secret belongs to the token, which is neither revoked nor expired. Constant time in the secret."""
    expected = token.secret_sha256 if token is not None else _NOBODYS_SHA256
    matches = hmac.compare_digest(hash_secret(secret), expected)
    return matches and token is not None and is_alive(token, now)


def is_alive(token: Token, now: datetime) -> bool:
    """Neither revoked nor expired."""
    return token.revoked_at is None and (token.expires_at is None or now < token.expires_at)
