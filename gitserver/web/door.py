"""The one way into the API: sign in, find what the path names, then read the request, then answer.

Rules of this file
1. Authorisation comes before any parameter or body is looked at (contracts/security.md row 12).
2. Somebody else's app is not looked up at all: the answer is that of an app that does not exist, same bytes, same time.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Callable
from http import HTTPStatus

from flask import Response, request

from gitserver import explain
from gitserver.accounts.auth import client_address, parse_authorization
from gitserver.errors import Failure, Json, Problem
from gitserver.ledger.records import App, Build
from gitserver.push import AppName
from gitserver.web.routes import Access, ByteStream, Call, Caller, Route, Services, TextStream
from gitserver.web.schema import check, read_query

MAX_BODY_BYTES = 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{8,64}", re.ASCII)
_logger = logging.getLogger(__name__)


def view_of(route: Route, services: Services) -> Callable[..., Response]:
    """The Flask view of a route."""

    def view(**args: object) -> Response:
        path_args = {name: str(value) for name, value in args.items()}
        caller = None if route.access is Access.ANYONE else sign_in(services)
        _check_operator(route, services, caller)
        build = _find_build(route, services, caller, path_args)
        app = _find_app(route, services, caller, path_args, build)
        call = Call(
            services=services,
            address=_origin(),
            request_id=request_id(),
            args=path_args,
            query=read_query(request.args.to_dict(flat=False), route.query),
            body=_read_body(route),
            signed_in=caller,
            named_app=app,
            named_build=build,
        )
        answer = route.handler(call)
        if isinstance(answer, TextStream):
            # X-Accel-Buffering: nginx would hold a log back until its buffer is full
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return Response(answer.chunks, content_type="text/plain; charset=utf-8", headers=headers)
        if isinstance(answer, ByteStream):
            headers = {"Cache-Control": "no-store", "Content-Length": str(answer.size_bytes)}
            return Response(answer.chunks, content_type=answer.media, headers=headers)
        return as_json(answer.status, dict(answer.document))

    view.__name__ = route.name
    return view


def sign_in(services: Services) -> Caller:
    """Who calls. Raises Problem('login-needed' | 'bad-token' | 'too-many-logins')."""
    text = parse_authorization(request.headers.get("Authorization"))
    if text is None:
        raise Problem("login-needed", url=services.settings.url)
    token = services.accounts.find_good_token(text)
    if token is None:
        wait_s = services.accounts.note_failure(_origin())
        if wait_s:
            raise Problem("too-many-logins", wait_s=wait_s)
        raise Problem("bad-token", url=services.settings.url)
    return Caller(principal=services.ledger.principal(token.principal_id), token=token)


def _check_operator(route: Route, services: Services, caller: Caller | None) -> None:
    owner = services.settings.owner
    if route.access is Access.OPERATOR and (caller is None or caller.name != owner):
        raise Problem("operator-only", owner=owner)


def _find_app(
    route: Route, services: Services, caller: Caller | None, args: dict[str, str], build: Build | None
) -> App | None:
    if route.access is Access.BUILD_OWNER:
        assert build is not None
        return services.ledger.app(build.app_id)
    if route.access is not Access.APP_OWNER:
        return None
    assert caller is not None
    name = AppName(owner=args["owner"], app=args["app"])
    app = services.ledger.find_app(name) if services.accounts.may_push(caller.principal, name) else None
    if app is None:
        raise Problem("no-such-app", app=str(name)[:120])
    return app


def _find_build(route: Route, services: Services, caller: Caller | None, args: dict[str, str]) -> Build | None:
    if route.access is not Access.BUILD_OWNER:
        return None
    assert caller is not None
    build_id = int(args["build_id"])
    build = services.ledger.build(build_id) if build_id < 2**53 else None
    app = services.ledger.app(build.app_id) if build is not None else None
    if app is None or not services.accounts.may_read(caller.principal, app):
        raise Problem("no-such-build", build=build_id)
    return build


def _read_body(route: Route) -> dict[str, Json]:
    if route.takes is None:
        return {}
    # A browser sends this type to another site only after asking it: no page elsewhere can act for its reader
    if request.mimetype != "application/json":
        raise Problem("bad-request", where="Content-Type", expected="application/json", found=request.mimetype[:60])
    data = request.get_data(cache=False)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Problem("bad-request", where="body", expected="JSON", found=type(error).__name__) from error
    check(body, route.takes, "body")
    assert isinstance(body, dict)
    return body


def request_id() -> str:
    """The gateway's id of this request, or one of our own; the same at each call within a request."""
    known = request.environ.get("algo.request_id")
    if known is None:
        sent = request.headers.get("X-Request-Id", "")
        known = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        request.environ["algo.request_id"] = known
    return str(known)


def as_json(status: int, document: dict[str, Json]) -> Response:
    """A JSON response that no cache keeps."""
    data = json.dumps(document, ensure_ascii=False).encode() + b"\n"
    return Response(data, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})


def as_error(failure: Failure) -> Response:
    """A failure as the API tells it: sentence, code, fields, and the next thing to type."""
    status, document = explain.as_api(failure)
    response = as_json(status, document)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Basic realm="algo"'
    if failure.code == "too-many-logins":
        response.headers["Retry-After"] = str(failure.fields["wait_s"])
    return response


def as_crash(error: Exception) -> Response:
    """An error of ours: the log has it, the caller gets the number to ask for and nothing of our inside."""
    _logger.error("request %s failed", request_id(), exc_info=error)
    return as_error(Failure(code="server-error", fields={"request": request_id()}))


def _origin() -> str:
    return client_address(request.headers.get("X-Forwarded-For", ""), request.remote_addr)
