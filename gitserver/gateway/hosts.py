"""The one DNS label under which an endpoint has a host of its own (design section 3).  Pure."""

from __future__ import annotations

import hashlib
import re

from gitserver.push import AppName, branch_slug

_MAX_LABEL = 63  # RFC 1035 2.3.4
_HASH_DIGITS = 8
_NOT_LABEL = re.compile(r"[^a-z0-9-]")


def endpoint_label(name: AppName, branch: str | None) -> str:
    """`iris--alice`, `feature-x--iris--alice`: letters, digits and '-' only, at most 63 of them.

    branch  None for production
    Why     `--` separates because names cannot hold it; a hash keeps two long or oddly written branches apart
    """
    if branch is None:
        text = exact = f"{name.app}--{name.owner}"
    else:
        exact = f"{branch}--{name.app}--{name.owner}"
        slug = _NOT_LABEL.sub("-", branch_slug(branch).lower()).strip("-")
        text = f"{slug}--{name.app}--{name.owner}"
    if len(text) <= _MAX_LABEL:
        return text
    digest = hashlib.sha256(exact.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{text[: _MAX_LABEL - _HASH_DIGITS - 1].rstrip('-')}-{digest}"
