"""Failures as data: a code and its fields. The words for people are in explain.py, nowhere else.

Why: one failure is told in four places (the push, the log, the API, the audit). Each place renders the same
fields, so none of them parses a sentence, and a sentence can be made better without touching the code that fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

JsonScalar = str | int | float | bool | None
Json = JsonScalar | list["Json"] | dict[str, "Json"]


class Move(StrEnum):
    """Whose move is next."""

    PUSHER = "pusher"
    OPERATOR = "operator"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why something did not happen, as it is stored in the ledger and sent over the API.

    code    a key of explain.WORDS, lower-case words joined by '-'
    fields  the facts that the sentence needs: expected, found, where
    log     the last lines that a crashed process wrote, oldest first; shown beneath the sentence
    """

    code: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    log: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """The form that Failure.from_json reads back."""
        return {"code": self.code, "fields": dict(self.fields), "log": list(self.log)}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Failure:
        """Read what as_json wrote. Raises KeyError, TypeError on anything else."""
        fields, log = value["fields"], value.get("log", [])
        if not isinstance(fields, dict) or not isinstance(log, list):
            raise TypeError("not a failure record")
        return cls(code=str(value["code"]), fields=fields, log=tuple(str(line) for line in log))


class Problem(Exception):  # noqa: N818 -- it is data on its way to a person, not a bug in the program
    """Carries a Failure up to whoever answers the person who caused it."""

    def __init__(self, code: str, *, log: tuple[str, ...] = (), **fields: Json) -> None:
        self.failure = Failure(code=code, fields=fields, log=log)
        super().__init__(f"{code} {fields}")
