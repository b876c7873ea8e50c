"""How a failure is told on a terminal: what happened, and the next command to type, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gitserver.cli.client import Refused
from gitserver.cli.exits import exit_of_code, exit_of_status
from gitserver.cli.output import safe
from gitserver.errors import Problem


def report(error: Exception) -> int | None:
    """Tell it and return the exit code; None when it is not a failure that is told (a bug keeps its traceback)."""
    if isinstance(error, Refused):
        _tell(error.sentence, error.next_step, error.log)
        return exit_of_status(error.status)
    if isinstance(error, Problem):
        from gitserver import explain  # all the words of the house; wanted here only

        document = explain.as_api(error.failure)[1]
        _tell(str(document["error"]), str(document["next"]), error.failure.log)
        return exit_of_code(error.failure.code)
    return None


def _tell(sentence: str, next_step: str, log: Sequence[str]) -> None:
    print(f" !     {safe(sentence)}", file=sys.stderr)
    for line in log:
        print(f" !       {safe(line)}", file=sys.stderr)
    if next_step:
        print(f" !     Next: {safe(next_step)}", file=sys.stderr)
