"""What a caller is told when a call is not answered with a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing wrong with a body. path: JSON pointer (RFC 6901) into it, '' is the whole."""

    path: str
    message: str


class Refused(Exception):  # noqa: N818 -- an answer, not a bug
    """The caller's move: a status and one sentence, for a body that does not fit also where it does not.

    status  as the native routes give it; a contract with its own table maps it (422 is 400 below /v2 and /v1/models)
    """

    def __init__(
        self, status: int, error: str, *, flaws: Sequence[Flaw] = (), headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.status, self.error, self.flaws, self.headers = status, error, tuple(flaws), tuple(headers)
        super().__init__(f"{status} {error}")

    def sentence(self) -> str:
        """One line for contracts whose errors are a string: the error and every flaw."""
        return "; ".join([self.error, *(f"{flaw.path or '/'}: {flaw.message}" for flaw in self.flaws)])


class ModelRaised(Exception):  # noqa: N818 -- carries the user's exception, which is in `cause`
    """The user's code raised. What it said is for its owner: callers get a request id."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause
        super().__init__(f"{type(cause).__name__}: {cause}")


class OutOfTime(Exception):  # noqa: N818 -- the answer has been sent by the watchdog already
    """The call ended after its deadline: the caller has had a 504 and the connection is closed."""


def unfit(*flaws: Flaw) -> Refused:
    """422: the body is JSON, but not what the model takes."""
    return Refused(422, "the input does not fit this model", flaws=flaws)


def pointer(*parts: str | int) -> str:
    """A JSON pointer, escaped as RFC 6901 says."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
