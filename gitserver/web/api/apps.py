"""Apps: make, list, show, destroy."""

from __future__ import annotations

from gitserver.errors import Problem
from gitserver.ledger.records import App, EnvKind, Release
from gitserver.push import PRODUCTION_BRANCH, AppName, parse_name
from gitserver.web import schema as s
from gitserver.web.documents import APP, Document, app_document, as_list
from gitserver.web.neighbours import clear_app, reload_gateway
from gitserver.web.routes import Access, Answer, Call, Registry, Services

registry = Registry()


@registry.route("GET", "/api/v1/apps", Access.SIGNED_IN, answers=s.record({"apps": s.array(APP)}))
def list_apps(call: Call) -> Answer:
    """The caller's apps, by name"""
    apps = call.services.ledger.apps(call.caller.name)
    return Answer(document=as_list("apps", [describe_app(call.services, app) for app in apps]))


@registry.route(
    "POST",
    "/api/v1/apps",
    Access.SIGNED_IN,
    takes=s.record({"name": s.text("APP, or OWNER/APP", max_length=100)}),
    answers=APP,
    status=201,
)
def create_app(call: Call) -> Answer:
    """Make an app in the caller's namespace"""
    owner, separator, app = str(call.body["name"]).rpartition("/")
    name = AppName(
        owner=parse_name(owner, what="owner") if separator else call.caller.name, app=parse_name(app, what="app")
    )
    if not call.services.accounts.may_push(call.caller.principal, name):
        raise Problem("not-your-namespace", owner=name.owner, yours=call.caller.name, app=name.app)
    made = call.services.ledger.create_app(name)
    call.record("app.create", app=str(name), app_id=made.id)
    reload_gateway(call.services.settings)
    return Answer(document=describe_app(call.services, made), status=201)


@registry.route("GET", "/api/v1/apps/<owner>/<app>", Access.APP_OWNER, answers=APP)
def show_app(call: Call) -> Answer:
    """An app: addresses, access, what production serves"""
    return Answer(document=describe_app(call.services, call.app))


@registry.route(
    "DELETE",
    "/api/v1/apps/<owner>/<app>",
    Access.APP_OWNER,
    takes=s.record({"confirm": s.text("the app's OWNER/APP again", max_length=100)}),
    answers=s.record({"destroyed": s.text()}),
)
def destroy_app(call: Call) -> Answer:
    """Destroy an app: endpoints, versions, repository, logs. There is no way back"""
    app, services = call.app, call.services
    if call.body["confirm"] != str(app.name):
        raise Problem("not-confirmed", app=str(app.name), found=str(call.body["confirm"])[:100])
    call.record("app.destroy", app=str(app.name), app_id=app.id)  # first: the trace must outlive the app
    services.ledger.destroy_app(app.id)
    reload_gateway(services.settings)
    clear_app(services.settings, app.id)
    return Answer(document={"destroyed": str(app.name)})


def describe_app(services: Services, app: App) -> Document:
    """The document of an app with what its production serves."""
    environments = services.ledger.environments(app.id)
    return app_document(services.settings, app, environments, find_production_release(services, app))


def find_production_release(services: Services, app: App) -> Release | None:
    """What production serves now."""
    production = services.ledger.environment(app.id, EnvKind.PRODUCTION, PRODUCTION_BRANCH)
    if production is None or production.release_id is None:
        return None
    return services.ledger.release(production.release_id)
