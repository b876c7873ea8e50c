"""The control plane as a WSGI application: git over HTTP, and the management API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from flask import Blueprint, Flask, Response, request
from werkzeug.exceptions import HTTPException

from gitserver.accounts.audit import Audit
from gitserver.accounts.auth import Accounts, utc_now
from gitserver.builds import Pushes
from gitserver.errors import Failure, Problem
from gitserver.ledger.store import Ledger
from gitserver.settings import Settings
from gitserver.web.api import all_routes
from gitserver.web.door import MAX_BODY_BYTES, as_crash, as_error, request_id, view_of
from gitserver.web.routes import Services

API_PREFIX = "/api/v1"


def create_app(
    settings: Settings,
    ledger: Ledger,
    pushes: Pushes,
    accounts: Accounts,
    audit: Audit,
    *,
    blueprints: Sequence[Blueprint] = (),
    clock: Callable[[], datetime] = utc_now,
) -> Flask:
    """Build the application. blueprints: what else this process serves (git over HTTP)."""
    # No static folder: nothing is served from the disk by name
    app = Flask("gitserver.web", static_folder=None)
    services = Services(settings=settings, ledger=ledger, pushes=pushes, accounts=accounts, audit=audit, clock=clock)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    for route in all_routes():
        app.add_url_rule(
            route.path,
            endpoint=f"api.{route.name}",
            view_func=view_of(route, services),
            methods=[route.method],
            provide_automatic_options=False,
        )
    app.before_request(_limit_body)
    app.after_request(_add_headers)
    app.register_error_handler(Problem, _tell_problem)
    app.register_error_handler(HTTPException, _tell_http)
    app.register_error_handler(Exception, as_crash)
    return app


def _limit_body() -> None:
    """Packs and LFS objects have limits of their own; the API's documents are small."""
    if request.path.startswith(API_PREFIX + "/"):
        request.max_content_length = MAX_BODY_BYTES


def _add_headers(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _tell_problem(problem: Problem) -> Response:
    return as_error(problem.failure)


def _tell_http(error: HTTPException) -> Response:
    """werkzeug's own errors in our form: no such route, wrong method, body too large."""
    match error.code:
        case 404:
            return as_error(Failure(code="no-such-page", fields={"path": request.path[:200]}))
        case 405:
            response = as_error(
                Failure(code="wrong-method", fields={"method": request.method[:20], "path": request.path[:200]})
            )
            response.headers["Allow"] = ", ".join(sorted(dict(error.get_headers()).get("Allow", "").split(", ")))
            return response
        case 413:
            return as_error(Failure(code="body-too-large", fields={"limit_bytes": MAX_BODY_BYTES}))
        case _:
            return as_error(
                Failure(code="bad-request", fields={"where": "request", "expected": "HTTP", "found": str(error.code)})
            )
