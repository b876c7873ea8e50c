"""Who may call which app, judged against one snapshot.  Pure.

Rules of this file
1. Rights are the equality of a token's principal with the app's owner (security rows 9, 15).
2. Our own tokens end at the gateway: a model process never sees one, whoever sent it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from gitserver.accounts.auth import parse_authorization
from gitserver.accounts.tokens import is_good, parse_token
from gitserver.gateway.entries import AppEntry
from gitserver.ledger.records import Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What an Authorization header proves.

    principal_id   None: nobody
    carries_token  the header holds a token of ours, genuine or not: it is not passed on
    expires_at     until when the proof holds; None: for ever
    """

    principal_id: int | None
    carries_token: bool
    expires_at: datetime | None


class Verdict(Enum):
    """What a caller may learn of an app."""

    MAY_CALL = "may call"
    NEEDS_TOKEN = "needs token"  # noqa: S105 -- a verdict, not a password
    HIDDEN = "hidden"


_NOBODY = Caller(principal_id=None, carries_token=False, expires_at=None)
_UNPROVEN = Caller(principal_id=None, carries_token=True, expires_at=None)


def find_caller(tokens: Mapping[str, Token], authorization: bytes, now: datetime) -> Caller:
    """The principal whose token the header holds.

    authorization  the header's value; b"" when there is none
    """
    if not authorization:
        return _NOBODY
    try:
        text = parse_authorization(authorization.decode("ascii"))
    except UnicodeDecodeError:
        return _NOBODY
    parts = parse_token(text) if text is not None else None
    if parts is None:
        return _UNPROVEN if text is not None and text.startswith("algo_") else _NOBODY
    token_id, secret = parts
    token = tokens.get(token_id)
    if not is_good(token, secret, now) or token is None:
        return _UNPROVEN
    return Caller(principal_id=token.principal_id, carries_token=True, expires_at=token.expires_at)


def judge(entry: AppEntry | None, caller: Caller) -> Verdict:
    """The verdict; an app that does not exist (None) gets that of an app of somebody else."""
    if entry is not None and (entry.app.is_public or caller.principal_id in entry.owner_ids):
        return Verdict.MAY_CALL
    return Verdict.NEEDS_TOKEN if caller.principal_id is None else Verdict.HIDDEN
