"""The server itself: who am I, is it well."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from gitserver.web import schema as s
from gitserver.web.documents import TOKEN, token_document
from gitserver.web.neighbours import is_up
from gitserver.web.routes import Access, Answer, Call, Registry

registry = Registry()
COMPONENTS = ("gateway", "worker")


@registry.route("GET", "/healthz", Access.ANYONE, answers=s.record({"ok": s.flag()}))
def healthz(_: Call) -> Answer:
    """Whether this process answers"""
    return Answer(document={"ok": True})


@registry.route(
    "GET", "/api/v1/whoami", Access.SIGNED_IN, answers=s.record({"name": s.text(), "token": TOKEN, "url": s.text()})
)
def whoami(call: Call) -> Answer:
    """Who is signed in, and with which token"""
    caller = call.caller
    return Answer(
        document={"name": caller.name, "token": token_document(caller.token), "url": call.services.settings.url}
    )


@registry.route(
    "GET",
    "/api/v1/status",
    Access.SIGNED_IN,
    answers=s.record(
        {
            "version": s.text(),
            "url": s.text(),
            "ssh": s.text("HOST:PORT"),
            "components": s.mapping(s.flag(), "whether each part of the server answers"),
            "apps": s.whole("the caller's apps"),
            "builds": s.record({"queued": s.whole(), "running": s.whole()}),
        }
    ),
)
def status(call: Call) -> Answer:
    """Whether the parts of the server answer, and what they are doing for the caller"""
    services = call.services
    mine = {app.id for app in services.ledger.apps(call.caller.name)}
    return Answer(
        document={
            "version": _version(),
            "url": services.settings.url,
            "ssh": str(services.settings.ssh),
            "components": {"web": True, **{name: is_up(services.settings, name) for name in COMPONENTS}},
            "apps": len(mine),
            "builds": {
                "queued": sum(build.app_id in mine for build in services.ledger.queued()),
                "running": sum(build.app_id in mine for build in services.ledger.running()),
            },
        }
    )


def _version() -> str:
    try:
        return version("algopush")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"
