"""Releases and versions, and the way back to one."""

from __future__ import annotations

from gitserver.errors import Problem
from gitserver.ledger.records import BuildKind, EnvKind, NewBuild, Release
from gitserver.push import PRODUCTION_BRANCH
from gitserver.web import schema as s
from gitserver.web.api.apps import find_production_release
from gitserver.web.documents import BUILD, RELEASE, VERSION, as_list, build_document, release_document, version_document
from gitserver.web.routes import Access, Answer, Call, Registry

registry = Registry()
_KNOWN = 10  # how many valid targets a refusal names
_LOOKED_AT = 1000  # of the newest, as the worker does


@registry.route(
    "GET",
    "/api/v1/apps/<owner>/<app>/releases",
    Access.APP_OWNER,
    query={
        "limit": s.whole("how many, newest first", minimum=1, maximum=500),
        "environment": s.text("production, or preview:BRANCH; all without it", max_length=250),
    },
    answers=s.record({"releases": s.array(RELEASE)}),
)
def list_releases(call: Call) -> Answer:
    """An app's releases, newest first: deploys, rollbacks and configuration changes"""
    ledger, limit = call.services.ledger, call.query.get("limit", 50)
    assert isinstance(limit, int)
    environments = {env.id: env for env in ledger.environments(call.app.id)}
    # More than asked for: a change of configuration is told by comparing it with the release before it
    found = ledger.releases(call.app.id, limit=_LOOKED_AT)
    before = {(release.environment_id, release.number): release for release in found}
    shown = [
        release_document(
            release, environments.get(release.environment_id), before.get((release.environment_id, release.number - 1))
        )
        for release in found
    ]
    wanted = call.query.get("environment")
    kept = [document for document in shown if wanted in (None, document["environment"])]
    return Answer(document=as_list("releases", kept[:limit]))


@registry.route(
    "GET", "/api/v1/apps/<owner>/<app>/versions", Access.APP_OWNER, answers=s.record({"versions": s.array(VERSION)})
)
def list_versions(call: Call) -> Answer:
    """An app's versions, newest first"""
    services, app = call.services, call.app
    serving = find_production_release(services, app)
    found = services.ledger.versions(app.id)
    return Answer(
        document=as_list("versions", [version_document(services.settings, app, one, serving) for one in found])
    )


@registry.route(
    "POST",
    "/api/v1/apps/<owner>/<app>/rollback",
    Access.APP_OWNER,
    takes=s.record(
        {},
        {
            "version": s.text("a tag", max_length=200),
            "release": s.whole("a release number of production", minimum=1),
            "with_config": s.flag("take the configuration of then, too"),
        },
    ),
    answers=BUILD,
    status=202,
)
def roll_back(call: Call) -> Answer:
    """Put a version or an earlier release back into production; with neither, the release before this one"""
    if "version" in call.body and "release" in call.body:
        raise Problem("bad-request", where="body", expected="version or release", found="both")
    serving = find_production_release(call.services, call.app)
    if serving is None:
        raise Problem("nothing-serves", environment="production", action="roll back")
    new = _to_version(call) if "version" in call.body else _to_release(call, serving)
    build = call.services.pushes.submit([new])[0]
    call.record(
        "app.rollback", app=str(call.app.name), build=build.id, before=serving.number,
        to=call.body.get("version") or dict(build.options).get("release"),
    )  # fmt: skip
    return Answer(document=build_document(build), status=202)


@registry.route(
    "POST",
    "/api/v1/apps/<owner>/<app>/redeploy",
    Access.APP_OWNER,
    takes=s.record({}, {"upgrade": s.flag("ask anew for what earlier builds locked, such as unpinned packages")}),
    answers=BUILD,
    status=202,
)
def redeploy(call: Call) -> Answer:
    """Build the commit that production serves once more, and release it"""
    serving = find_production_release(call.services, call.app)
    if serving is None:
        raise Problem("nothing-serves", environment="production", action="redeploy")
    new = NewBuild(
        app_id=call.app.id,
        env_kind=EnvKind.PRODUCTION,
        branch=PRODUCTION_BRANCH,
        kind=BuildKind.REDEPLOY,
        git_ref="refs/heads/redeploy",
        old=serving.commit,
        new=serving.commit,
        commit=serving.commit,
        actor=call.caller.name,
        options={"upgrade": "true"} if call.body.get("upgrade") is True else {},
    )
    build = call.services.pushes.submit([new])[0]
    call.record("app.redeploy", app=str(call.app.name), build=build.id, release=serving.number)
    return Answer(document=build_document(build), status=202)


def _to_version(call: Call) -> NewBuild:
    tag = str(call.body["version"])
    version = call.services.ledger.find_version(call.app.id, tag)
    if version is None:
        known = [one.tag for one in call.services.ledger.versions(call.app.id)[:_KNOWN]]
        raise Problem("unknown-version", found=tag, known=", ".join(known) or "none yet")
    return _rollback(call, f"refs/tags/{tag}", version.object_oid, version.commit, {})


def _to_release(call: Call, serving: Release) -> NewBuild:
    earlier = {
        release.number: release
        for release in call.services.ledger.releases(
            call.app.id, environment_id=serving.environment_id, limit=_LOOKED_AT
        )
        if release.id != serving.id
    }
    number = call.body.get("release", serving.number - 1)
    assert isinstance(number, int)
    target = earlier.get(number)
    if target is None:
        known = ", ".join(map(str, sorted(earlier, reverse=True)[:_KNOWN])) or "none yet"
        raise Problem("unknown-release", found=number, known=known)
    # A ref of its own: a rollback never supersedes a queued push of main
    return _rollback(call, "refs/deploy/rollback", target.commit, target.commit, {"release": str(number)})


def _rollback(call: Call, git_ref: str, oid: str, commit: str, options: dict[str, str]) -> NewBuild:
    if call.body.get("with_config") is True:
        options = {**options, "with-config": ""}
    return NewBuild(
        app_id=call.app.id,
        env_kind=EnvKind.PRODUCTION,
        branch=PRODUCTION_BRANCH,
        kind=BuildKind.ROLLBACK,
        git_ref=git_ref,
        old=oid,
        new=oid,
        commit=commit,
        actor=call.caller.name,
        options=options,
    )
