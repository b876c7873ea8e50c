"""Who may call an app."""

from __future__ import annotations

from gitserver.web import schema as s
from gitserver.web.neighbours import reload_gateway
from gitserver.web.routes import Access, Answer, Call, Registry

registry = Registry()


@registry.route(
    "PUT",
    "/api/v1/apps/<owner>/<app>/access",
    Access.APP_OWNER,
    takes=s.record({"public": s.flag("true: calls need no token")}),
    answers=s.record({"name": s.text(), "public": s.flag()}),
)
def set_access(call: Call) -> Answer:
    """Open an app's model to every caller, or to its owner's tokens alone"""
    app, is_public = call.app, call.body["public"] is True
    call.services.ledger.set_public(app.id, is_public)
    call.record("app.access", app=str(app.name), before=app.is_public, after=is_public)
    reload_gateway(call.services.settings)
    return Answer(document={"name": str(app.name), "public": is_public})
