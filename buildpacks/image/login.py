"""Says who we are to one registry: Basic where it asks for that, tokens of its token server where it has one.

Rules of this file
1. A login is sent only after it was asked for, and to a token server only over TLS, unless the registry itself is
   spoken to without.

Source  https://distribution.github.io/distribution/spec/auth/token/, .../oauth/
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from buildpacks.image.answers import Answer, Place, refusal
from buildpacks.image.challenge import Challenge, Token, parse_challenge, parse_token
from buildpacks.image.credentials import Credentials
from buildpacks.order import BuildFailed

_CLIENT = "algopush"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request to a token server."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Login:
    """The login at one registry. Safe for threads: a token is fetched once, however many ask for it."""

    def __init__(self, credentials: Credentials | None, *, is_plain: bool) -> None:
        self._credentials, self._is_plain = credentials, is_plain
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = threading.Lock()

    @property
    def user(self) -> str:
        """Who we are, for people; '' without a login."""
        return self._credentials.user if self._credentials is not None else ""

    def header(self, scopes: tuple[str, ...], place: Place, ask: Callable[[Question], Answer]) -> str:
        """The value of Authorization; '' when none was asked for yet, or there is no login to send.

        scopes  what a token must allow, for example `repository:team/app:pull,push`
        Raises  BuildFailed when the token server refuses; what `ask` raises
        """
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge.kind == "basic":
            return self._credentials.basic if self._credentials is not None else ""
        with self._lock:  # held while the token server is asked: four uploads at once would ask it four times
            header, until = self._tokens.get(scopes, ("", 0.0))
            if time.monotonic() < until:
                return header
            token = _read(ask(self._question(challenge, scopes, place)), place)
            self._tokens[scopes] = token.header, time.monotonic() + token.life_s
            return token.header

    def learn(self, answer: Answer, scopes: tuple[str, ...], sent: str) -> bool:
        """Take in a 401. True when another attempt would carry another login than `sent`, the one that was refused."""
        challenge = parse_challenge(answer.headers.get("www-authenticate", ""))
        with self._lock:
            if self._tokens.get(scopes, ("", 0.0))[0] == sent:
                self._tokens.pop(scopes, None)
            self._challenge = challenge or self._challenge
        if challenge is not None and challenge.kind == "basic":
            return self._credentials is not None and sent != self._credentials.basic
        return challenge is not None

    def _question(self, challenge: Challenge, scopes: tuple[str, ...], place: Place) -> Question:
        realm = urlsplit(challenge.realm)
        if realm.scheme not in ({"http", "https"} if self._is_plain else {"https"}) or not realm.hostname:
            raise BuildFailed("registry-realm-unsafe", registry=place.registry, realm=challenge.realm[:200])
        login = self._credentials
        if login is not None and login.identity_token:
            form = {
                "grant_type": "refresh_token", "service": challenge.service, "client_id": _CLIENT,
                "scope": " ".join(scopes), "refresh_token": login.identity_token,
            }  # fmt: skip
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Question(method="POST", url=challenge.realm, headers=headers, body=urlencode(form).encode())
        query = [("service", challenge.service)] if challenge.service else []
        query += [("scope", scope) for scope in scopes]
        if login is not None:
            query.append(("account", login.user))
        joint = "&" if realm.query else "?"
        headers = {"Authorization": login.basic} if login is not None else {}
        return Question(method="GET", url=f"{challenge.realm}{joint}{urlencode(query)}", headers=headers)


def _read(answer: Answer, place: Place) -> Token:
    if not answer.is_good:
        # Token servers say "wrong password" with either number.
        status = 401 if answer.status in {400, 403} else answer.status
        raise refusal(Answer(status=status, headers=answer.headers, body=answer.body), place, "log in")
    try:
        token = parse_token(json.loads(answer.body))
    except ValueError:
        token = None
    if token is None:
        raise refusal(Answer(status=answer.status, headers={}, body=b"no token in its answer"), place, "log in")
    return token
