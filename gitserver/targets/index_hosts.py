"""Finds out which hosts an install from the operator's package indexes has to reach.

An index is one host and its files are often on another, which only the index itself can tell: it is asked for its
page of one project, and the hosts of the links there are taken. uv is asked for its default index in the same way:
our own files name no registry.
"""

from __future__ import annotations

import base64
import functools
import json
import re
import ssl
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping
from html import unescape
from pathlib import Path
from urllib.error import URLError
from urllib.parse import unquote, urljoin, urlsplit

from gitserver.targets.build_network import (
    Gate,
    Place,
    index_urls,
    needs_default_index,
    place_of,
    places,
    registry_urls,
    upstream_of,
)

_SAMPLE = "pip"  # a project that a complete index has
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"  # PEP 691
_MAX_PAGE_BYTES = 16 * 1024 * 1024
_PAGE_S = 10
_ASK_S = 30
_DEFAULT = re.compile(r"by\s+default:\s+<(https?://[^>\s]+)>")
_HREF = re.compile(r"""<a\s[^>]*?href\s*=\s*["']([^"']+)["']""", re.IGNORECASE)


def find_gate(env: Mapping[str, str], uv: Path, extra: Iterable[str] = ()) -> Gate:
    """Everything that installs need, and nothing else.

    env    the operator's install settings, passwords included
    extra  more hosts that the operator allows: `files.example.com` or a URL
    """
    named = index_urls(env)
    default = default_index(uv) if needs_default_index(env) else None
    asked = (*named, *([default] if default is not None else []))
    linked = places([default] if default is not None else [])
    for url in asked:
        linked |= linked_places(url, env)
    more = places(entry if "://" in entry else f"https://{entry}" for entry in extra)
    return Gate(named=places((*named, *registry_urls(env))) | more, linked=linked, env=env)


@functools.cache
def default_index(uv: Path) -> str | None:
    """The index that uv asks when nobody named one, in its own words; None when it does not say."""
    done = subprocess.run(
        [str(uv), "pip", "install", "--help"], capture_output=True, text=True, timeout=_ASK_S, check=False, env={}
    )
    found = _DEFAULT.search(done.stdout)
    return None if found is None else found[1]


def linked_places(index: str, env: Mapping[str, str]) -> frozenset[Place]:
    """Where an index keeps its files; empty when it does not answer: then its own host is all that is open."""
    parts = urlsplit(index)
    host = place_of(index)
    if host is None:
        return frozenset()
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    request = urllib.request.Request(f"{bare.geturl().rstrip('/')}/{_SAMPLE}/", headers={"Accept": _ACCEPT})  # noqa: S310 -- place_of() lets http and https through alone
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    upstream = upstream_of(env, host, secure=parts.scheme == "https")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({} if upstream is None else {parts.scheme: upstream.geturl()}),
        urllib.request.HTTPSHandler(context=_trust(env)),
    )
    try:
        with opener.open(request, timeout=_PAGE_S) as answer:
            page = answer.read(_MAX_PAGE_BYTES).decode("utf-8", "replace")
            return places([answer.url, *_links(answer.url, page)])
    except (URLError, OSError, ValueError):
        return frozenset()


def _links(base: str, page: str) -> set[str]:
    """One link of each host on a page of an index, JSON or HTML."""
    if page.lstrip().startswith("{"):
        try:
            files = json.loads(page).get("files", [])
            found = [str(file["url"]) for file in files]
        except (ValueError, TypeError, KeyError, AttributeError):
            return set()
    else:
        found = [unescape(link) for link in _HREF.findall(page)]
    return {urljoin(base, link) for link in found}


def _trust(env: Mapping[str, str]) -> ssl.SSLContext:
    bundle = env.get("SSL_CERT_FILE") or env.get("PIP_CERT") or env.get("REQUESTS_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle if bundle and Path(bundle).is_file() else None)
