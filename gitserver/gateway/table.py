"""Which address leads where: the ledger's snapshot as a table, and every path resolved against it.  Pure.

Rules of this file
1. A path is decoded once, strictly. What could be read in two ways (%2F, '..', NUL) is BadPath, never repaired.
2. The part that belongs to the model is passed on as it came, undecoded.
3. Whether the caller may see the app is judged by access.py; what is unknown is told only to those who may.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeVar
from urllib.parse import unquote_to_bytes

from gitserver.gateway.entries import AppEntry, Place, Serving, find_longest_name, find_place, make_entry
from gitserver.gateway.hosts import endpoint_label
from gitserver.ledger.records import Environment, EnvKind, Snapshot, Token, Version
from gitserver.push import RESERVED_OWNERS

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPED_SLASH = re.compile(rb"%(?:2f|5c)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_Row = TypeVar("_Row", Environment, Version)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToModel:
    """A call of a model.

    named   the app as the address names it: what a caller who may not see it is told
    target  path and query for its runtime; prefix: what stood before it
    """

    entry: AppEntry
    named: str
    place: Place
    target: bytes
    prefix: bytes
    is_algorithmia: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToWeb:
    """For the control plane, path unchanged. is_git: bodies without a limit."""

    is_git: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToGateway:
    """`/healthz`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSlash:
    """`/alice/iris`: relative links of a try-it page need the slash."""

    entry: AppEntry
    named: str
    location: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSuchRef:
    """The app exists, this version or branch does not."""

    entry: AppEntry
    named: str
    ref: str
    is_algorithmia: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSuchApp:
    """No app of that name. Answered like an app that the caller may not see."""

    named: str
    is_algorithmia: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BadPath:
    """A path with two meanings."""

    why: str


Route = ToModel | ToWeb | ToGateway | AddSlash | NoSuchRef | NoSuchApp | BadPath


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """Everything that an address can lead to, at one moment."""

    apps: Mapping[tuple[str, str], AppEntry] = field(default_factory=dict)
    labels: Mapping[str, tuple[AppEntry, Place]] = field(default_factory=dict)
    tokens: Mapping[str, Token] = field(default_factory=dict)
    domain: str = ""

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, domain: str) -> Self:
        """The table of a snapshot. domain: "" when endpoints have no host of their own."""
        apps: dict[tuple[str, str], AppEntry] = {}
        labels: dict[str, tuple[AppEntry, Place]] = {}
        owners: dict[str, set[int]] = {}
        for principal in snapshot.principals.values():
            owners.setdefault(principal.name, set()).add(principal.id)
        environments = _by_app(snapshot.environments)
        versions = _by_app(snapshot.versions)
        images: dict[int, list[tuple[str, str]]] = {}
        for app_id, commit, digest in snapshot.images:
            images.setdefault(app_id, []).append((commit, digest))
        for app in snapshot.apps:
            name = app.name
            entry = make_entry(
                app,
                owner_ids=frozenset(owners.get(name.owner, ())),
                environments=environments.get(app.id, []),
                releases=snapshot.releases,
                versions=versions.get(app.id, []),
                images=images.get(app.id, []),
            )
            apps[(name.owner, name.app)] = entry
            if domain:
                labels[endpoint_label(name, None)] = (entry, entry.production)
                for environment in environments.get(app.id, []):
                    if environment.kind is EnvKind.PREVIEW:
                        label = endpoint_label(name, environment.branch)
                        labels.setdefault(label, (entry, entry.names[environment.branch]))
        return cls(apps=apps, labels=labels, tokens={token.id: token for token in snapshot.tokens}, domain=domain)

    def instances(self) -> Iterator[str]:
        """Every instance that an environment serves, once."""
        seen = set()
        for entry in self.apps.values():
            for place in (entry.production, *entry.names.values()):
                if isinstance(place, Serving) and place.instance not in seen:
                    seen.add(place.instance)
                    yield place.instance

    def resolve(self, host: bytes, target: bytes) -> Route:
        """Where a request goes.

        host    the Host header, checked by http1; target: path and query as they came
        """
        path, question, query = target.partition(b"?")
        decoded = _decode(path)
        if isinstance(decoded, BadPath):
            return decoded
        if self.domain:
            name = host.partition(b":")[0].decode().lower()
            label = name.removesuffix("." + self.domain)
            if label != name and "--" in label:
                if label not in self.labels:
                    return NoSuchApp(named=label, is_algorithmia=False)
                entry, place = self.labels[label]
                return ToModel(entry=entry, named=label, place=place, target=target, prefix=b"", is_algorithmia=False)
        segments = decoded.split("/")[1:]
        first = segments[0]
        if first == "v1" and segments[1:2] == ["algo"]:
            return self._algorithmia(segments[2:], question + query)
        if first == "healthz" and len(segments) == 1:
            return ToGateway()
        if first in RESERVED_OWNERS or len(segments) == 1 or not segments[1]:
            # in an API path a client may write a branch's slash as %2F; everywhere else it has no meaning
            return ToWeb(is_git=False) if first == "api" or not _ESCAPED_SLASH.search(path) else _ESCAPED
        if _ESCAPED_SLASH.search(path):
            return _ESCAPED
        if segments[1].endswith(".git"):
            return ToWeb(is_git=True)
        return self._endpoint(segments, path, question + query)

    def _endpoint(self, segments: list[str], path: bytes, query: bytes) -> Route:
        app_name, at, ref = segments[1].partition("@")
        named = f"{segments[0]}/{app_name}"
        entry = self.apps.get((segments[0], app_name))
        if entry is None:
            return NoSuchApp(named=named, is_algorithmia=False)
        place: Place | None = entry.production
        used = 2
        if at:
            place, extra = find_longest_name(entry, [ref, *segments[2:]])
            used += extra
        if place is None:
            return NoSuchRef(entry=entry, named=named, ref=ref, is_algorithmia=False)
        raw = path.split(b"/")
        prefix = b"/".join(raw[: used + 1])
        if len(segments) == used:
            return AddSlash(entry=entry, named=named, location=prefix + b"/" + query)
        rest = b"/" + b"/".join(raw[used + 1 :])
        return ToModel(entry=entry, named=named, place=place, target=rest + query, prefix=prefix, is_algorithmia=False)

    def _algorithmia(self, segments: list[str], query: bytes) -> Route:
        if len(segments) < 2:
            return NoSuchApp(named="/".join(segments), is_algorithmia=True)
        owner, app_name, *version = segments
        if version and not version[-1]:
            version.pop()
        named = f"{owner}/{app_name}"
        entry = self.apps.get((owner, app_name))
        if entry is None:
            return NoSuchApp(named=named, is_algorithmia=True)
        ref = "/".join(version)
        place = find_place(entry, ref) if version else entry.production
        if place is None:
            return NoSuchRef(entry=entry, named=named, ref=ref, is_algorithmia=True)
        target = f"/v1/algo/{named}".encode() + query
        return ToModel(entry=entry, named=named, place=place, target=target, prefix=b"", is_algorithmia=True)


_ESCAPED = BadPath(why="An escaped slash or backslash has no meaning in this address.")


def _decode(path: bytes) -> str | BadPath:
    """The path as text, or why it has no single meaning."""
    if b"%" in path:
        if _BAD_ESCAPE.search(path):
            return BadPath(why="The address has a '%' without two hex digits.")
        path = unquote_to_bytes(path)
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return BadPath(why="The address is not UTF-8.")
    if _CONTROL.search(text):
        return BadPath(why="The address has a control character or a backslash.")
    if "/." in text and any(segment in {".", ".."} for segment in text.split("/")):
        return BadPath(why="The address has a '.' or '..' segment.")
    return text


def _by_app(rows: Iterable[_Row]) -> dict[int, list[_Row]]:
    found: dict[int, list[_Row]] = {}
    for row in rows:
        found.setdefault(row.app_id, []).append(row)
    return found
