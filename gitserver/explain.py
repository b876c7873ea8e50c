"""Any failure -> a title of a few words, what happened, whose move is next, the command to type (words.py has them).

Rules of this file
1. A field that is missing shows as its name, so that a slip never hides the rest.
2. Text from outside is cut and stripped of control bytes here, once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from buildpacks.words import WORDS as KITCHEN
from gitserver.errors import Failure, Json, Move
from gitserver.words import WORDS
from gitserver.words.entry import Words

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]|\t")
_MAX_FIELD = 600
_LOG_LINES = 20


# The kitchen's own table stands alone (buildpacks cannot see us); here the two become one.
_WORDS: Mapping[str, Words] = {
    **{
        code: Words(title=w.title, body=w.body, next=w.next, move=Move(w.move), status=422)
        for code, w in KITCHEN.items()
    },
    **WORDS,
}
_UNKNOWN = Words(
    title="internal error",
    body="The server failed with {code}: {detail}",
    next="tell the operator; the server's log has the details",
    move=Move.OPERATOR,
    status=500,
)


class _Fields(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return key


def words(failure: Failure) -> Words:
    """The entry of a failure's code."""
    return _WORDS.get(failure.code, _UNKNOWN)


def known_codes() -> frozenset[str]:
    """Every code that has words."""
    return frozenset(_WORDS)


def is_known(code: str) -> bool:
    """Whether a code has words of its own (tests hold that every raised one has)."""
    return code in _WORDS


def clean(text: str) -> str:
    """One line without control bytes: terminal escapes of a build never reach a pusher's terminal."""
    return _CONTROL.sub(" ", text.replace("\n", " ")).strip()


def title(failure: Failure) -> str:
    """A few words, for `! [remote rejected] main -> main (...)`."""
    return clean(_fill(words(failure).title, failure))


def sentence(failure: Failure) -> str:
    """What happened and what to type, in one line."""
    entry = words(failure)
    return clean(f"{_fill(entry.body, failure)} {_next(entry, failure)}")


def lines(failure: Failure) -> list[str]:
    """The same for a terminal: ` !     ` lines, then the last lines of the crashed process."""
    entry = words(failure)
    shown = [f" !     {clean(part)}" for part in _fill(entry.body, failure).split("\n") if part.strip()]
    if failure.log:
        shown.append(" !     The last lines it wrote:")
        shown += [f" !       {clean(line)[:400]}" for line in failure.log[-_LOG_LINES:]]
    return [*shown, f" !     {clean(_next(entry, failure))}"]


def as_api(failure: Failure) -> tuple[int, dict[str, Json]]:
    """HTTP status and JSON body."""
    entry = words(failure)
    fields: dict[str, Json] = dict(failure.fields)
    document: dict[str, Json] = {
        "error": clean(_fill(entry.body, failure)),
        "title": title(failure),
        "next": clean(_fill(entry.next, failure)),
        "move": entry.move.value,
        "code": failure.code,
        "fields": fields,
        "log": list(failure.log),
    }
    return entry.status, document


def _next(entry: Words, failure: Failure) -> str:
    text = _fill(entry.next, failure)
    return f"Next: {text}" if text else ""


def _fill(template: str, failure: Failure) -> str:
    values = _Fields(code=failure.code, detail=str(dict(failure.fields)))
    for name, value in failure.fields.items():
        values[name] = _show(value)
    return template.format_map(values)


def _show(value: Json) -> str:
    if isinstance(value, list):
        text = ", ".join(_show(item) for item in value)
    else:
        text = "none" if value is None else str(value)
    return text if len(text) <= _MAX_FIELD else f"{text[:_MAX_FIELD]}…"
