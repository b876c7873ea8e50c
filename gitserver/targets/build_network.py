"""What a build may reach, and what it is told of the operator's package indexes.  Pure.

    none      nothing
    indexes   the package indexes that the operator named, or uv's own, and the hosts that these keep their files at:
              through a proxy of ours (index_proxy.py), the only way out of a container without a network
    open      whatever the engine's own network gives

What is told to code of a repository never holds a password (contracts/security rows 33 and 34).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

RELAY_PORT = 3128  # of the container's own empty network, where nothing else can listen
RELAY_URL = f"http://127.0.0.1:{RELAY_PORT}"
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_DIRECT_NAMES = ("NO_PROXY", "no_proxy")
_DEFAULT_NAMES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_MORE_NAMES = ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_FIND_LINKS", "PIP_FIND_LINKS")
# Registries of other languages, and Debian's packages; GOPROXY lists several, with commas or bars.
_REGISTRY_NAMES = ("NPM_CONFIG_REGISTRY", "GOPROXY", "GOSUMDB", "MAVEN_MIRROR", "DEBIAN_MIRROR", "BUNDLE_MIRROR__ALL")
_OFF_NAMES = ("UV_NO_INDEX", "PIP_NO_INDEX", "UV_OFFLINE")
_USERINFO = re.compile(r"(https?://|^)[^/\s,]*@")  # to the last @; a proxy may be named without its scheme
_PORTS = {"http": 80, "https": 443}
# Where clouds answer with a machine's own credentials and that is not link-local: AWS on IPv6, Alibaba Cloud.
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")})
_HOST = re.compile(r"[a-z0-9._:-]{1,253}")


class BuildNetwork(StrEnum):
    """The operator's setting `build_network`."""

    NONE = "none"
    INDEXES = "indexes"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A host, in lower case, and a port of it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Who may be reached from a build.

    named   places that the operator's own settings name: wherever they lead
    linked  places that an index sent us to: never into this machine or its neighbourhood
    env     the operator's proxies
    """

    named: frozenset[Place]
    linked: frozenset[Place] = frozenset()
    env: Mapping[str, str] = field(default_factory=dict)

    def is_open_for(self, place: Place) -> bool:
        """Whether it is one of the indexes."""
        return place in self.named or place in self.linked

    def is_open_at(self, place: Place, address: str) -> bool:
        """Whether a place may be reached at this address, which a name server said."""
        return place in self.named or not is_near(address)


def is_near(address: str) -> bool:
    """An address of this machine, of its link, or of a cloud's metadata."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return (
        found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA
    )  # fmt: skip


def place_of(url: str) -> Place | None:
    """Where an http or https URL leads; None for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or host is None or _HOST.fullmatch(host) is None:
        return None
    return Place(host=host, port=port or _PORTS[parts.scheme])


def index_urls(env: Mapping[str, str]) -> tuple[str, ...]:
    """The http and https URLs of the operator's index settings, as uv and pip read them, without folders.

    Source  https://docs.astral.sh/uv/reference/environment/ (UV_INDEX: `name=url`, separated by spaces; UV_FIND_LINKS:
            by commas), https://pip.pypa.io/en/stable/topics/configuration/ (spaces)
    """
    if _is_on(env, _OFF_NAMES[:2]):
        names: tuple[str, ...] = ("UV_FIND_LINKS", "PIP_FIND_LINKS")
    else:
        names = (*_DEFAULT_NAMES, *_MORE_NAMES)
    return tuple(dict.fromkeys(url for name in names for url in _urls(env.get(name, ""))))


def registry_urls(env: Mapping[str, str]) -> tuple[str, ...]:
    """The http and https URLs of the operator's settings for other languages and for Debian's packages.

    Source  https://go.dev/ref/mod#environment-variables (GOPROXY: separated by commas or bars)
    """
    return tuple(url for name in _REGISTRY_NAMES for url in _urls(env.get(name, "").replace("|", ",")))


def needs_default_index(env: Mapping[str, str]) -> bool:
    """Whether uv would ask its own default index: none is named, and none is switched off."""
    return not any(env.get(name) for name in _DEFAULT_NAMES) and not _is_on(env, _OFF_NAMES)


def inside_env(env: Mapping[str, str], network: BuildNetwork, *, trusted: bool) -> dict[str, str]:
    """The operator's install settings as a build container gets them: with the way out of its own network.

    trusted  False: it runs code of a repository, which sees no password of an index
    """
    shown = env if trusted else {name: _USERINFO.sub(r"\1", value) for name, value in env.items()}
    if network is BuildNetwork.OPEN:
        return dict(shown)
    kept = {name: value for name, value in shown.items() if name not in {*PROXY_NAMES, *_DIRECT_NAMES}}
    return kept if network is BuildNetwork.NONE else {**kept, **dict.fromkeys(PROXY_NAMES, RELAY_URL)}


def upstream_of(env: Mapping[str, str], place: Place, *, secure: bool) -> SplitResult | None:
    """The operator's own proxy for a place; None: it is reached directly.

    Source  https://curl.se/libcurl/c/CURLOPT_NOPROXY.html, and the lower-case name first, as curl and Python do
    """
    direct = (env.get("no_proxy") or env.get("NO_PROXY") or "").lower()
    for entry in re.split(r"[\s,]+", direct):
        name = entry.removeprefix("*").removeprefix(".")
        if entry == "*" or (name and (place.host == name or place.host.endswith(f".{name}"))):
            return None
    scheme = "https" if secure else "http"
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"):
        if env.get(name):
            url = env[name] if "://" in env[name] else f"http://{env[name]}"
            return urlsplit(url)
    return None


def places(urls: Iterable[str]) -> frozenset[Place]:
    """Where these URLs lead."""
    return frozenset(place for place in map(place_of, urls) if place is not None)


def _urls(value: str) -> Iterator[str]:
    for entry in re.split(r"[\s,]+", value):
        start = re.search(r"https?://", entry)
        if start is not None:
            yield entry[start.start() :]


def _is_on(env: Mapping[str, str], names: Iterable[str]) -> bool:
    return any(env.get(name, "").lower() not in {"", "0", "false", "no", "off"} for name in names)
