"""What a registry asks for when it says 401: read, and turned into the question for a token.  Pure.

Source  RFC 9110 11.6.1; https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildpacks.order import Json

_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_DEFAULT_LIFE_S = 60.0
_MARGIN_S = 10.0  # a token that ends while a request is on its way costs the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """kind `basic` or `bearer`; realm and service of a token server, '' for basic."""

    kind: str
    realm: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token and the seconds for which it may be used."""

    header: str
    life_s: float


def parse_challenge(header: str) -> Challenge | None:
    """The header WWW-Authenticate; None when it asks for something that we do not speak."""
    kind, _, rest = header.strip().partition(" ")
    if kind.lower() == "basic":
        return Challenge(kind="basic")
    if kind.lower() != "bearer":
        return None
    found: dict[str, str] = {}
    position = 0
    while match := _PARAMETER.match(rest, position):
        name, quoted, bare = match.groups()
        found[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
        position = match.end()
    if not found.get("realm"):
        return None
    return Challenge(kind="bearer", realm=found["realm"], service=found.get("service", ""))


def parse_token(document: Json) -> Token | None:
    """A token server's answer; None when there is no token in it."""
    if not isinstance(document, dict):
        return None
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return None
    seconds = document.get("expires_in")
    life_s = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else _DEFAULT_LIFE_S
    return Token(header=f"Bearer {value}", life_s=max(life_s - _MARGIN_S, life_s / 2))


def scope_of(repository: str, actions: str) -> str:
    """`repository:team/app:pull,push`: what a token server is asked for."""
    return f"repository:{repository}:{actions}"
