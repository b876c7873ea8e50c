"""An image's config document: canonical bytes and the digest that names the image.  Pure.

Nothing volatile stands in it (no time, host, build id, commit): the same source makes the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from buildpacks.order import BuildFailed, Json

# The form of documents that this server writes. It rises when an older server would misread a newer document, not when
# it would miss something; what has no number was written before there were any, and is of the first form.
FORMAT = 1


def render_config(config: Mapping[str, Json]) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def image_digest(config: Mapping[str, Json]) -> str:
    """`sha256:<hex>` of the canonical bytes; the form of the record is no part of what the image is."""
    told = {key: value for key, value in config.items() if key != "format"}
    return f"sha256:{hashlib.sha256(render_config(told)).hexdigest()}"


def check_format(config: Mapping[str, Json]) -> None:
    """Nothing when this server can read the document. Raises BuildFailed('image-format', found, newest)."""
    found = config.get("format", 1)
    if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= FORMAT:
        raise BuildFailed("image-format", found=str(found)[:20], newest=FORMAT)


def hex_of(digest: str) -> str:
    """The hex digits of a `sha256:` digest. Raises ValueError for anything else: it becomes a folder name."""
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"not a sha256 digest: {digest[:80]!r}")
    return value
