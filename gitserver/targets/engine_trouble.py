"""What went wrong at a Docker engine, told as a Problem from the exceptions of its client.  Pure.

The client wraps its causes differently from version to version: what counts is found anywhere in the chain of causes.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from gitserver.errors import Problem

# An engine that is being stopped still answers, with these in its words.
_GOING_DOWN = (
    "connection is closing", "transport is closing", "containerd.sock", "context canceled", "server is shutting down",
    "error reading from server",
)  # fmt: skip


def explain_trouble(trouble: BaseException, *, host: str, step: str, timeout_s: float) -> Problem:
    """The Problem of a failed request.

    step       what was asked of the engine: `create the container`
    timeout_s  how long an answer was waited for
    returns    engine-refused, engine-out-of-space, engine-no-permission or engine-down
    """
    explanation = getattr(trouble, "explanation", None)  # docker.errors.APIError: the engine answered
    if explanation is not None or getattr(trouble, "response", None) is not None:
        detail = _one_line(str(explanation or trouble))
        if is_out_of_space(detail):
            return Problem("engine-out-of-space", host=host, detail=detail)
        if any(words in detail for words in _GOING_DOWN):
            return Problem("engine-down", host=host, detail=detail)
        return Problem("engine-refused", host=host, step=step, detail=detail)
    numbers = {cause.errno for cause in _causes(trouble) if isinstance(cause, OSError)}
    if numbers & {errno.EACCES, errno.EPERM}:
        return Problem("engine-no-permission", host=host)
    if errno.ENOENT in numbers:
        return Problem("engine-down", host=host, detail="there is no such socket")
    if errno.ECONNREFUSED in numbers:
        return Problem("engine-down", host=host, detail="nothing listens there")
    if is_timeout(trouble):
        return Problem("engine-down", host=host, detail=f"no answer within {timeout_s:g} s")
    if numbers & {errno.ECONNRESET, errno.EPIPE} or any("aborted" in str(cause) for cause in _causes(trouble)):
        return Problem("engine-down", host=host, detail="it cut the connection")
    return Problem("engine-down", host=host, detail=_one_line(str(trouble)))


def is_timeout(trouble: BaseException) -> bool:
    """The answer did not come in time."""
    return any(isinstance(cause, TimeoutError) or "ReadTimeout" in type(cause).__name__ for cause in _causes(trouble))


def is_out_of_space(words: str) -> bool:
    """The engine's disk is full, by its own words."""
    return "no space left on device" in words.lower()


def _causes(trouble: BaseException) -> Iterator[BaseException]:
    """The exception and everything that it was made of, each once."""
    waiting, seen = [trouble], set()
    while waiting:
        cause = waiting.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inside = [cause.__cause__, cause.__context__, *cause.args, getattr(cause, "reason", None)]
        waiting.extend(one for one in inside if isinstance(one, BaseException))


def _one_line(text: str) -> str:
    return " ".join(text.split())
