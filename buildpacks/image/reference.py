"""Names of images, as Docker reads them: `python:3.11`, `ghcr.io/team/app@sha256:...`.  Pure.

Rules of this file
1. A name is refused, never mended: a cleaned name would be the name of another image.
2. The one registry whose name is not the host of its API stands here and nowhere else.

Source  distribution reference 0.6, https://github.com/distribution/reference/blob/v0.6.0/regexp.go
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildpacks.order import BuildFailed

DEFAULT_REGISTRY = "docker.io"
_DEFAULT_API_HOST = "registry-1.docker.io"
_DEFAULT_NAMES = {DEFAULT_REGISTRY, "index.docker.io", _DEFAULT_API_HOST}
_DEFAULT_FOLDER = "library"
_MAX_NAME = 255

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image in a registry.

    registry    host with its port: `docker.io`, `localhost:5000`
    repository  `library/python`
    tag         '' when the name has none; digest  likewise
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def api_host(self) -> str:
        """The host that answers for the registry."""
        return api_host(self.registry)

    @property
    def wanted(self) -> str:
        """What to ask the registry for: the digest when there is one, else the tag, else `latest`, as Docker does."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """The image that a name means.

    Raises  BuildFailed('image-reference-bad', reference, expected): the name, and what it should have been
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _bad(text, "sha256: and 64 hex digits after the @")
    head, slash, tail = rest.rpartition("/")
    last, colon, tag = tail.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _bad(text, "a tag of letters, digits, '_', '.' and '-' after the last ':'")
    registry, repository = _split(head + slash + last)
    if _HEX64.fullmatch(repository):
        raise _bad(text, "a name: 64 hex digits alone are an image id, which no registry knows")
    if registry in _DEFAULT_NAMES:
        registry = DEFAULT_REGISTRY
        if "/" not in repository:
            repository = f"{_DEFAULT_FOLDER}/{repository}"
    if not is_registry(registry):
        raise _bad(text, "HOST or HOST:PORT before the first '/', without https://")
    if not is_repository(repository):
        raise _bad(text, "lower-case letters and digits, joined by '.', '_', '-' and '/'")
    return Reference(registry=registry, repository=repository, tag=tag, digest=digest)


def parse_place(text: str) -> tuple[str, str]:
    """`HOST[:PORT]/PREFIX`, where images of many apps go -> (registry, prefix); prefix may be ''.

    Raises  BuildFailed('registry-place-bad', found)
    """
    registry, _, prefix = text.partition("/")
    is_host = is_registry(registry) and ("." in registry or ":" in registry or registry == "localhost")
    if not is_host or not (prefix == "" or is_repository(prefix)) or text.endswith("/"):
        raise BuildFailed("registry-place-bad", found=text[:200])
    return (DEFAULT_REGISTRY if registry in _DEFAULT_NAMES else registry), prefix


def api_host(registry: str) -> str:
    """The host that answers for a registry: its own name, but for Docker's."""
    return _DEFAULT_API_HOST if registry in _DEFAULT_NAMES else registry


def is_registry(text: str) -> bool:
    """HOST, HOST:PORT or [IPv6]:PORT."""
    return _REGISTRY.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """One or more path components that every registry takes."""
    return len(text) <= _MAX_NAME and all(_COMPONENT.fullmatch(part) for part in text.split("/"))


def is_tag(text: str) -> bool:
    """A tag that every registry takes."""
    return _TAG.fullmatch(text) is not None


def _split(name: str) -> tuple[str, str]:
    # Docker's rule: the first part is a host when it could be no folder of the default registry.
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return first, rest
    return DEFAULT_REGISTRY, name


def _bad(text: str, expected: str) -> BuildFailed:
    return BuildFailed("image-reference-bad", reference=text[:200], expected=expected)
