"""Moving releases to another stack without a build: one app by its owner, all of them by the server's owner."""

from __future__ import annotations

from collections.abc import Sequence

from buildpacks.image.rebase import lies_on, stack_name
from buildpacks.image.settle import moved
from buildpacks.image.store import LayerStore
from buildpacks.order import BuildFailed
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack
from gitserver import explain
from gitserver.errors import Failure, Json, Problem
from gitserver.images import find_stack
from gitserver.ledger.records import App, Build, BuildKind, Environment, NewBuild
from gitserver.web import schema as s
from gitserver.web.api.secrets import mask_of_app, masked
from gitserver.web.documents import environment_label
from gitserver.web.routes import Access, Answer, Call, Registry, Services

registry = Registry()
_SINCE = s.whole("only moves from this build on", minimum=0)
_LOOKED_AT = 10_000  # builds of an app
MOVE = s.record(
    {
        "app": s.text("OWNER/APP"),
        "environment": s.text("production, or preview:BRANCH"),
        "build": s.maybe(s.whole("follow it with algo builds logs")),
        "state": s.choice("queued", "running", "succeeded", "failed", "cancelled", "superseded", "there", "refused"),
        "stack": s.text("where it is to be"),
        "reason": s.text("why it stays where it is; empty when it does not"),
        "next": s.text("what to do about that"),
    }
)
_TAKES = s.record({}, {"stack": s.text("a stack's name; without it, the current one", max_length=100)})
_MOVES = s.record({"stack": s.text(), "since": s.whole("the first build of these"), "moves": s.array(MOVE)})


@registry.route("POST", "/api/v1/apps/<owner>/<app>/stack", Access.APP_OWNER, takes=_TAKES, answers=_MOVES, status=202)
def upgrade_app_stack(call: Call) -> Answer:
    """Move every environment of an app to another stack, each only when it answers there"""
    return _upgrade(call, [call.app])


@registry.route(
    "GET", "/api/v1/apps/<owner>/<app>/stack", Access.APP_OWNER, query={"since": _SINCE},
    answers=s.record({"moves": s.array(MOVE)}),
)  # fmt: skip
def list_app_moves(call: Call) -> Answer:
    """An app's moves to other stacks, and how far they are"""
    return _list(call, [call.app])


@registry.route("POST", "/api/v1/stacks/upgrade", Access.OPERATOR, takes=_TAKES, answers=_MOVES, status=202)
def upgrade_all_stacks(call: Call) -> Answer:
    """Move every environment of every app to another stack"""
    return _upgrade(call, call.services.ledger.snapshot().apps)


@registry.route(
    "GET", "/api/v1/stacks/upgrade", Access.OPERATOR, query={"since": _SINCE},
    answers=s.record({"moves": s.array(MOVE)}),
)  # fmt: skip
def list_all_moves(call: Call) -> Answer:
    """All moves to other stacks, and how far they are"""
    return _list(call, call.services.ledger.snapshot().apps)


def _upgrade(call: Call, apps: Sequence[App]) -> Answer:
    name = call.body.get("stack")
    try:
        stack = find_stack(
            StackStore(root=call.services.settings.state / "stacks"), None if name is None else str(name)
        )
    except BuildFailed as failed:
        raise Problem(failed.code, log=failed.log, **failed.fields) from failed
    moves: list[Json] = []
    first: int | None = None
    for app in apps:
        for environment in call.services.ledger.environments(app.id):
            found = _move(call, app, environment, stack)
            if isinstance(found, NewBuild):
                build = call.services.pushes.submit([found])[0]
                first = build.id if first is None else first
                moves.append(_of_build(call.services, app, build))
            elif found is not None:
                moves.append(found)
    call.record("stack.upgrade", stack=stack.name, apps=[str(app.name) for app in apps], first_build=first)
    return Answer(document={"stack": stack.name, "since": first or 0, "moves": moves}, status=202)


def _move(call: Call, app: App, environment: Environment, stack: Stack) -> NewBuild | dict[str, Json] | None:
    """The job; or why there is none, looked at before anything is queued; None where nothing serves."""
    ledger = call.services.ledger
    release = None if environment.release_id is None else ledger.release(environment.release_id)
    image = None if release is None else ledger.image(release.image_digest)
    if release is None or image is None:
        return None
    label = environment_label(environment.kind, environment.branch)
    if lies_on(image.config, stack):
        return _document(app, label, stack_name(image.config), state="there")
    try:
        moved(image.config, stack, LayerStore(root=call.services.settings.state))
    except BuildFailed as failed:
        return _document(app, label, stack.name, "refused", Failure(code=failed.code, fields=failed.fields))
    return NewBuild(
        app_id=app.id,
        env_kind=environment.kind,
        branch=environment.branch,
        kind=BuildKind.REBASE,
        git_ref="refs/deploy/rebase",  # not the branch: a move never supersedes a queued push
        old=release.commit,
        new=release.commit,
        commit=release.commit,
        actor=call.caller.name,
        options={"stack": stack.name},
    )


def _list(call: Call, apps: Sequence[App]) -> Answer:
    since = call.query.get("since", 0)
    assert isinstance(since, int)
    moves: list[Json] = []
    for app in apps:
        found = call.services.ledger.builds(app.id, limit=_LOOKED_AT)
        moves += [
            _of_build(call.services, app, build)
            for build in reversed(found)
            if build.kind is BuildKind.REBASE and build.id >= since
        ]
    return Answer(document={"moves": moves})


def _of_build(services: Services, app: App, build: Build) -> dict[str, Json]:
    label = environment_label(build.env_kind, build.branch)
    failure = masked(build, mask_of_app(services, app.id)).failure
    return _document(app, label, build.options["stack"], build.state.value, failure, build.id)


def _document(
    app: App, environment: str, stack: str, state: str, failure: Failure | None = None, build: int | None = None
) -> dict[str, Json]:
    told = {} if failure is None else explain.as_api(failure)[1]
    return {
        "app": str(app.name), "environment": environment, "build": build, "state": state, "stack": stack,
        "reason": told.get("error", ""), "next": told.get("next", ""),
    }  # fmt: skip
