"""Version ranges of package.json's engines, as npm reads them and as the Python package index does.  Pure.

Source  https://github.com/npm/node-semver#ranges
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_PARTIAL = re.compile(r"([~^]|>=?|<=?|=)?\s*v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-[\w.-]+)?")
_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)")


class Bounds(NamedTuple):
    """At least `low`, and below `high`; None: no upper end."""

    low: tuple[int, int, int]
    high: tuple[int, int, int] | None

    def holds(self, version: Sequence[int]) -> bool:
        """Whether a version lies between."""
        found = tuple(version)
        return self.low <= found and (self.high is None or found < self.high)

    def specifier(self) -> str:
        """`>=20.1.0,<21.0.0`."""
        low = f">={'.'.join(map(str, self.low))}"
        return low if self.high is None else f"{low},<{'.'.join(map(str, self.high))}"


_ANY = Bounds((0, 0, 0), None)


def parse_range(text: str) -> list[Bounds] | None:
    """The alternatives of a range, newest first; None for what is no range."""
    found = []
    for part in text.split("||"):
        bounds = _alternative(part.strip())
        if bounds is None:
            return None
        found.append(bounds)
    # No upper end is the newest of all; None and a version cannot be compared by themselves.
    return sorted(found, key=lambda bounds: (bounds.low, bounds.high is None, bounds.high or ()), reverse=True)


def _alternative(text: str) -> Bounds | None:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen is not None:
        text = f">={hyphen[1]} <={hyphen[2]}"
    bounds, position = _ANY, 0
    while position < len(text):
        match = _PARTIAL.match(text, position)
        if match is None:
            return None
        position = match.end() + len(text[match.end() :]) - len(text[match.end() :].lstrip(" ,"))
        bounds = _both(bounds, _comparator(match[1] or "", [match[2], match[3], match[4]]))
    return bounds


def _comparator(sign: str, parts: Sequence[str | None]) -> Bounds:
    numbers = [int(part) for part in parts if part is not None and part.isdigit()]
    if not parts[0] or not parts[0].isdigit():
        return _ANY
    low = (*numbers, 0, 0)[:3]
    whole = (low[0], low[1], low[2])
    nexts = [(whole[0] + 1, 0, 0), (whole[0], whole[1] + 1, 0), (whole[0], whole[1], whole[2] + 1)]
    after = nexts[len(numbers) - 1]
    match sign:
        case ">=":
            return Bounds(whole, None)
        case ">":
            return Bounds(after, None)
        case "<":
            return Bounds((0, 0, 0), whole)
        case "<=":
            return Bounds((0, 0, 0), after)
        case "~":
            return Bounds(whole, nexts[min(1, len(numbers) - 1)])
        case "^":
            first = next((n for n, number in enumerate(numbers) if number), len(numbers) - 1)
            return Bounds(whole, nexts[first])
        case _:
            return Bounds(whole, after)


def _both(first: Bounds, second: Bounds) -> Bounds:
    highs = [bounds.high for bounds in (first, second) if bounds.high is not None]
    return Bounds(max(first.low, second.low), min(highs, default=None))
