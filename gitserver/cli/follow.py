"""Watch a build to its end. It does not need us: a lost connection is tried again, Ctrl-C only stops watching."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from gitserver.cli.client import Refused, Server
from gitserver.cli.exits import exit_of_state
from gitserver.cli.output import safe, show_json, show_stream
from gitserver.errors import Json, Problem

_TRIES = 30
_PAUSE_S = 1.0
_FINAL = {"succeeded", "failed", "cancelled", "superseded"}


def follow_build(server: Server, build_id: int, *, as_json: bool = False) -> int:
    """Print a build's log until its end and tell how it ended; the exit code. as_json: only the final document."""
    try:
        pieces = _log(server, build_id)
        if as_json:
            for _ in pieces:
                pass
        else:
            show_stream(pieces)
    except KeyboardInterrupt:
        print(f"\nBuild {build_id} continues: algo builds logs {build_id} -f", file=sys.stderr)
        raise
    build = _wait_final(server, build_id)
    state = str(build["state"])
    if as_json:
        show_json(build)
    elif state != "succeeded":
        tell_failure(build)
    return exit_of_state(state)


def finish_build(server: Server, build: dict[str, Json], *, as_json: bool, detach: bool) -> int:
    """Follow the build that a change started, or say how to; the exit code."""
    build_id = build["id"]
    assert isinstance(build_id, int)
    if not detach:
        return follow_build(server, build_id, as_json=as_json)
    if as_json:
        show_json(build)
    else:
        print(f"Build {build_id} is on its way. Next: algo builds logs {build_id} -f")
    return 0


def tell_failure(build: dict[str, Json]) -> None:
    """Why a build did not succeed, on stderr."""
    failure = build.get("failure")
    print(f" !     Build {build['id']} {build['state']}.", file=sys.stderr)
    if isinstance(failure, dict):
        print(f" !     {safe(str(failure.get('error', '')))}", file=sys.stderr)
        if failure.get("next"):
            print(f" !     Next: {safe(str(failure['next']))}", file=sys.stderr)


def _log(server: Server, build_id: int) -> Iterator[bytes]:
    """The log once, over as many connections as it takes."""
    received = 0
    for attempt in range(_TRIES):
        skip = received
        try:
            for piece in server.stream(f"/builds/{build_id}/log", {"follow": 1}):
                text = piece.replace(b"\0", b"")
                fresh = text[skip:]
                skip = max(0, skip - len(text))
                received += len(fresh)
                if fresh:
                    yield fresh
            return
        except Problem as problem:
            if problem.failure.code != "server-unreachable" or attempt == _TRIES - 1:
                raise
        except Refused as refused:
            if refused.status < 500 or attempt == _TRIES - 1:
                raise
        time.sleep(_PAUSE_S)


def _wait_final(server: Server, build_id: int) -> dict[str, Json]:
    """The build's final document; the log may end a moment before the record does."""
    build: dict[str, Json] = {}
    for _ in range(_TRIES):
        build = server.get(f"/builds/{build_id}")
        if build["state"] in _FINAL:
            break
        time.sleep(_PAUSE_S / 5)
    return build
