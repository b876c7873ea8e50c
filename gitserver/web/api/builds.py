"""Builds: list, show, follow, cancel. A build's number alone names it, so a cut client finds it from anywhere."""

from __future__ import annotations

import time
from collections.abc import Iterator

from gitserver.errors import Problem
from gitserver.web import schema as s
from gitserver.web.api.secrets import mask_of_app, masked
from gitserver.web.documents import BUILD, as_list, build_document
from gitserver.web.routes import Access, Answer, Call, Registry, TextStream

registry = Registry()
HEARTBEAT_S = 5.0
# Shows a client that the server lives, and the server that a client is gone: without it, a thread would wait for a
# quiet build on behalf of nobody. No log holds a NUL (control bytes are dropped), so a client can take it out again.
HEARTBEAT = b"\0"
_LIMIT = s.whole("how many, newest first", minimum=1, maximum=500)
_FOLLOW_LIMIT_S = 2 * 3600  # longer than any build may take


@registry.route(
    "GET",
    "/api/v1/apps/<owner>/<app>/builds",
    Access.APP_OWNER,
    query={"limit": _LIMIT},
    answers=s.record({"builds": s.array(BUILD)}),
)
def list_builds(call: Call) -> Answer:
    """An app's builds, newest first"""
    limit = call.query.get("limit", 50)
    assert isinstance(limit, int)
    found = call.services.ledger.builds(call.app.id, limit=limit)
    mask = mask_of_app(call.services, call.app.id)
    return Answer(document=as_list("builds", [build_document(masked(build, mask)) for build in found]))


@registry.route("GET", "/api/v1/builds/<int:build_id>", Access.BUILD_OWNER, answers=BUILD)
def show_build(call: Call) -> Answer:
    """A build: its state, and its failure in words"""
    mask = mask_of_app(call.services, call.build.app_id)
    return Answer(document=build_document(masked(call.build, mask)))


@registry.route(
    "GET",
    "/api/v1/builds/<int:build_id>/log",
    Access.BUILD_OWNER,
    query={"follow": s.flag("stay until the build ends; a NUL byte comes in each 5 s of silence")},
    answers=None,
)
def read_build_log(call: Call) -> TextStream:
    """A build's log as text, as the pusher saw it"""
    return TextStream(chunks=_log(call))


@registry.route(
    "POST",
    "/api/v1/builds/<int:build_id>/cancel",
    Access.BUILD_OWNER,
    answers=s.record({"cancelled": s.whole("the build's id")}),
    status=202,
)
def cancel_build(call: Call) -> Answer:
    """Ask for a build's end; what served before goes on serving"""
    build = call.build
    if not call.services.pushes.cancel(build.id, call.caller.name):
        raise Problem("build-ended", build=build.id, state=build.state.value)
    call.record("build.cancel", build=build.id, app_id=build.app_id)
    return Answer(document={"cancelled": build.id}, status=202)


def _log(call: Call) -> Iterator[bytes]:
    """The log's pieces, secrets masked, until the build ends or, without follow, until what there is was sent."""
    services, build, follow = call.services, call.build, call.query.get("follow", False)
    mask = mask_of_app(services, build.app_id)
    deadline_at = time.monotonic() + _FOLLOW_LIMIT_S
    sent_at, rest = time.monotonic(), b""
    for piece in services.pushes.follow(build.id):
        now = time.monotonic()
        if piece is not None:
            # Whole lines only: a secret cut in two by a chunk would pass the mask
            whole, rest = mask.split(rest + piece)
            if whole:
                sent_at = now
                yield mask.apply(whole)
        elif not follow:
            break
        elif now - sent_at >= HEARTBEAT_S:
            sent_at = now
            yield HEARTBEAT
        if now > deadline_at:
            break
    if rest:
        yield mask.apply(rest)
