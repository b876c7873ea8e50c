"""Exit codes of `algo`, one table. Scripts may rely on them; docs/cli.md repeats them and a test holds it to that."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Why a command ended."""

    DONE = 0
    FAILED = 1  # refused, and none of the kinds below
    USAGE = 2  # the command line itself
    SIGN_IN = 3  # no token, or one that is not good
    ABSENT = 4  # no such app, build, release, version, file
    CONFLICT = 5  # it exists already, has ended already, is not confirmed
    BUILD_FAILED = 6
    BUILD_ENDED = 7  # cancelled, or superseded by a newer one
    UNREACHABLE = 8  # no server at that address, or the connection broke
    SERVER = 9  # the server failed
    CALL_FAILED = 10  # the model answered with an error
    INTERRUPTED = 130  # Ctrl-C


_BY_STATUS = {401: Exit.SIGN_IN, 403: Exit.SIGN_IN, 404: Exit.ABSENT, 409: Exit.CONFLICT, 422: Exit.BUILD_FAILED}
_BY_STATE = {
    "succeeded": Exit.DONE,
    "failed": Exit.BUILD_FAILED,
    "cancelled": Exit.BUILD_ENDED,
    "superseded": Exit.BUILD_ENDED,
}
_BY_CODE = {
    "server-unreachable": Exit.UNREACHABLE,
    "not-logged-in": Exit.SIGN_IN,
    "no-app-here": Exit.USAGE,
    "bad-url": Exit.USAGE,
    "remote-taken": Exit.CONFLICT,
    "not-confirmed": Exit.CONFLICT,
    "not-this-server": Exit.SERVER,
}


def exit_of_status(status: int) -> Exit:
    """The exit code of an answer that was refused."""
    return _BY_STATUS.get(status, Exit.SERVER if status >= 500 else Exit.FAILED)


def exit_of_state(state: str) -> Exit:
    """The exit code of a build that was followed to its end."""
    return _BY_STATE.get(state, Exit.FAILED)


def exit_of_code(code: str) -> Exit:
    """The exit code of a failure on this side."""
    return _BY_CODE.get(code, Exit.FAILED)
