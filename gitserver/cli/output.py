"""What a reader sees: aligned columns, ages in words, or JSON. No colour anywhere, so pipes and terminals agree."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from gitserver.errors import Json

# Colours and window titles go whole (ECMA-48 5.4 and 8.3.89); what is cut in two by a piece's end loses its ESC below
_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# C0 but for newline and tab, DEL, and C1: a log line must not move a reader's cursor or rename the window
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STEPS = ((60, "second"), (60, "minute"), (24, "hour"), (30, "day"), (12, "month"))


def safe(text: str) -> str:
    """Text from the server without control characters."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def show_json(document: Mapping[str, Json]) -> None:
    """The document as the API gave it, indented."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def show_table(rows: Sequence[Sequence[str]], *, when_empty: str) -> None:
    """Aligned columns, two blanks apart, nothing at the line's end."""
    for line in render_table(rows) or [when_empty]:
        print(line)


def render_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; all rows have the same number of cells."""
    cleaned = [[safe(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cleaned, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cleaned]


def show_stream(pieces: Iterator[bytes]) -> None:
    """Print a text stream as it comes, without control characters; heartbeats (NUL) fall out with them."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for piece in pieces:
        text = safe(decoder.decode(piece))
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()


def age(moment: Json, now: datetime) -> str:
    """`2026-01-01T00:00:00Z` -> `5 minutes ago`, `in 2 days`; an empty text for None."""
    if not isinstance(moment, str):
        return ""
    seconds = (now - datetime.fromisoformat(moment)).total_seconds()
    if abs(seconds) < 5:
        return "just now"
    amount = abs(seconds)
    unit = "year"
    for step, name in _STEPS:
        if amount < step:
            unit = name
            break
        amount /= step
    count = int(amount)
    words = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{words} ago" if seconds > 0 else f"in {words}"


def megabytes(size: Json) -> str:
    """`4.1 kB`, `213.0 MB`, of bytes."""
    amount = float(size) if isinstance(size, (int, float)) else 0.0
    return f"{amount / 1e6:.1f} MB" if amount >= 1e5 else f"{amount / 1e3:.1f} kB"


def utc_now() -> datetime:
    """The clock that ages are measured against."""
    return datetime.now(UTC)


def items(document: Mapping[str, Json], name: str) -> list[dict[str, Json]]:
    """The list of objects that the API promises under a name."""
    found = document[name]
    assert isinstance(found, list)
    return [item for item in found if isinstance(item, dict)]
