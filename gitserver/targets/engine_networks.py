"""Subnets for networks beyond the thirty that an engine has room for by default.  Pure.

Why  an app has a network of its own, and a server has more than thirty apps; an engine takes a subnet of a /16 for each
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator

# Small corners of 10.0.0.0/8 that clusters, clouds and VPNs seldom start with; the engine refuses what another of its
# networks has, and the next one is tried.
_POOL = ipaddress.IPv4Network("10.213.0.0/16")
_BITS = 27  # 29 containers: one app's releases, previews and versions
_TRIES = 64


def small_subnets(name: str) -> Iterator[str]:
    """Subnets to try for a network of that name, `10.213.4.32/27`: always the same ones, others for other names."""
    count = 2 ** (_BITS - _POOL.prefixlen)
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for step in range(_TRIES):
        offset = (start + step * 977) % count  # a prime: neighbours in the first try part ways in the second
        yield f"{_POOL.network_address + offset * 2 ** (32 - _BITS)}/{_BITS}"
