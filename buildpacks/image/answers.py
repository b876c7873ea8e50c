"""What a registry answered, and which sentence a refusal deserves.  Pure.

Source  OCI distribution specification 1.1, "Error Codes"; the filesystem driver of distribution 2.8 for a full disk
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from buildpacks.order import BuildFailed, Json

PASSING = frozenset({408, 429, 500, 502, 503, 504})  # may be gone a moment later
BLOBS_LOST = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})  # of a manifest that names blobs it has not got
_MAX_WORDS = 300
_FULL = re.compile(r"no space left|disk quota|quota exceeded|insufficient storage|out of disk", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """status, headers (names in lower case), and the body, cut where the caller said so."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_good(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    def codes(self) -> frozenset[str]:
        """The registry's own codes: `BLOB_UNKNOWN`, `DENIED`; empty when it sent none."""
        return frozenset(str(entry.get("code", "")) for entry in self._entries())

    def words(self) -> str:
        """What the registry says about it, in one line; '' when it says nothing that people could read."""
        told = [str(entry.get("message") or entry.get("code") or "") for entry in self._entries()]
        if not told and not self.headers.get("content-type", "").startswith("text/html"):
            told = [self.body[:_MAX_WORDS].decode("utf-8", "replace")]
        return " ".join("; ".join(filter(None, told)).split())[:_MAX_WORDS]

    def _entries(self) -> list[dict[str, Json]]:
        try:
            document = json.loads(self.body)
        except ValueError:
            return []
        entries = document.get("errors") if isinstance(document, dict) else None
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request went. user: '' when we came without a login."""

    registry: str
    repository: str
    user: str


def is_full(answer: Answer) -> bool:
    """The registry has no room: waiting does not help."""
    if answer.status == 507:
        return True
    # distribution hides the reason behind "unknown error", but for the number of the system call's failure.
    body = answer.body.decode("utf-8", "replace")
    return answer.status >= 500 and (
        _FULL.search(body) is not None or re.search(rf'"Err"\s*:\s*{errno.ENOSPC}\b', body) is not None
    )


def refusal(answer: Answer, place: Place, doing: str) -> BuildFailed:
    """Why a registry did not do what it was asked for.

    doing  for people: `send layers/algo_python/deps`
    """
    registry, repository = place.registry, place.repository
    codes, told = answer.codes(), answer.words() or f"status {answer.status}"
    if is_full(answer):
        words = answer.words()
        told = "no space left on its device" if not words or words == "unknown error" else words
        return BuildFailed("registry-full", registry=registry, repository=repository, message=told)
    if answer.status == 401 and not place.user:
        return BuildFailed("registry-login-missing", registry=registry, repository=repository)
    if answer.status == 401:
        return BuildFailed("registry-login-wrong", registry=registry, repository=repository, user=place.user)
    if answer.status == 405 or "UNSUPPORTED" in codes:
        return BuildFailed("registry-read-only", registry=registry, repository=repository, doing=doing)
    if answer.status == 403 or "DENIED" in codes:
        who = place.user or "anonymous"
        return BuildFailed(
            "registry-denied", registry=registry, repository=repository, user=who, doing=doing, message=told
        )
    if answer.status == 404 and "NAME_UNKNOWN" in codes:
        return BuildFailed("registry-repository-missing", registry=registry, repository=repository, message=told)
    if answer.status in PASSING:
        return BuildFailed(
            "registry-busy", registry=registry, repository=repository, status=answer.status, doing=doing, message=told
        )
    if answer.status == 400 and "HTTP request to an HTTPS server" in told:
        return BuildFailed("registry-wants-https", registry=registry, repository=repository)
    return BuildFailed(
        "registry-refused", registry=registry, repository=repository, status=answer.status, doing=doing, message=told
    )
