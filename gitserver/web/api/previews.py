"""Previews: list, remove."""

from __future__ import annotations

from gitserver.errors import Problem
from gitserver.ledger.records import BuildKind, EnvKind, NewBuild
from gitserver.push import ZERO_OID
from gitserver.web import schema as s
from gitserver.web.documents import BUILD, PREVIEW, as_list, build_document, preview_document
from gitserver.web.routes import Access, Answer, Call, Registry

registry = Registry()


@registry.route(
    "GET", "/api/v1/apps/<owner>/<app>/previews", Access.APP_OWNER, answers=s.record({"previews": s.array(PREVIEW)})
)
def list_previews(call: Call) -> Answer:
    """An app's previews with their addresses and when they end"""
    services, app = call.services, call.app
    found = [env for env in services.ledger.environments(app.id) if env.kind is EnvKind.PREVIEW]
    shown = []
    for preview in found:
        release = services.ledger.release(preview.release_id) if preview.release_id is not None else None
        shown.append(preview_document(services.settings, app, preview, release))
    return Answer(document=as_list("previews", shown))


@registry.route(
    "DELETE", "/api/v1/apps/<owner>/<app>/previews/<path:branch>", Access.APP_OWNER, answers=BUILD, status=202
)
def delete_preview(call: Call) -> Answer:
    """Remove a preview and its branch, as `git push algo :BRANCH` does"""
    ledger, app, branch = call.services.ledger, call.app, call.args["branch"]
    preview = ledger.environment(app.id, EnvKind.PREVIEW, branch)
    if preview is None:
        known = [env.branch for env in ledger.environments(app.id) if env.kind is EnvKind.PREVIEW]
        raise Problem("no-such-preview", branch=branch[:200], known=", ".join(known) or "none")
    release = ledger.release(preview.release_id) if preview.release_id is not None else None
    # "Accepted means serving": the branch's tip is what the preview serves; without a release there is no branch yet
    tip = release.commit if release is not None else ZERO_OID
    build = call.services.pushes.submit(
        [
            NewBuild(
                app_id=app.id, env_kind=EnvKind.PREVIEW, branch=branch, kind=BuildKind.DELETE,
                git_ref=f"refs/heads/{branch}", old=tip, new=ZERO_OID, commit=tip, actor=call.caller.name,
            )
        ]
    )[0]  # fmt: skip
    call.record("preview.delete", app=str(app.name), branch=branch, build=build.id)
    return Answer(document=build_document(build), status=202)
