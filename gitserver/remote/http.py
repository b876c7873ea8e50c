"""Git over HTTP: three routes, tokens as passwords, answers that no cache keeps and no proxy holds back.

Rules of this file
1. Who asks is settled before anything of the query is looked at (contracts/security.md row 12).
2. An app that is not there and an app of somebody else are the same bytes (row 18).
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import cast

from flask import Blueprint, Response, request
from werkzeug.wsgi import get_input_stream

from gitserver import explain
from gitserver.accounts.auth import client_address, parse_authorization
from gitserver.errors import Problem
from gitserver.ledger.records import App, Principal
from gitserver.push import AppName, parse_app_path
from gitserver.remote.channel import RemoteDoors
from gitserver.remote.fetch import advertise_fetch, answer_fetch, inflating, spool_request
from gitserver.remote.httpwire import HttpWire
from gitserver.remote.objects import FLUSH, make_pkt
from gitserver.remote.refs import create_repository
from gitserver.remote.session import ReceiveSession

_LOG = logging.getLogger(__name__)
_RECEIVE, _UPLOAD = "git-receive-pack", "git-upload-pack"
_HEADERS = {
    "Cache-Control": "no-cache, max-age=0, must-revalidate",
    "Expires": "Fri, 01 Jan 1980 00:00:00 GMT",
    "Pragma": "no-cache",
    "X-Accel-Buffering": "no",
}


def git_blueprint(doors: RemoteDoors) -> Blueprint:
    """The routes of git, for the control plane's application."""
    git = Blueprint("git", __name__)

    @git.get("/<owner>/<app>.git/info/refs")
    def info_refs(owner: str, app: str) -> Response:
        caller = _Caller(doors, owner, app)
        if caller.refusal is not None:
            return caller.refusal
        services = request.args.getlist("service")
        match services:
            case ["git-receive-pack"]:
                return caller.advertise_receive()
            case ["git-upload-pack"]:
                return caller.advertise_upload()
            case _:
                return _text(403, "Only git's smart protocol is spoken here: use a git client of 1.6.6 or newer.\n")

    @git.post("/<owner>/<app>.git/git-receive-pack")
    def receive_pack(owner: str, app: str) -> Response:
        caller = _Caller(doors, owner, app)
        return caller.refusal or _checked_type(_RECEIVE) or caller.receive()

    @git.post("/<owner>/<app>.git/git-upload-pack")
    def upload_pack(owner: str, app: str) -> Response:
        caller = _Caller(doors, owner, app)
        return caller.refusal or _checked_type(_UPLOAD) or caller.upload()

    return git


class _Caller:
    """Who asks for which app; refusal holds the answer when that is settled already."""

    def __init__(self, doors: RemoteDoors, owner: str, app: str) -> None:
        self._doors = doors
        self.refusal: Response | None = None
        token = parse_authorization(request.headers.get("Authorization"))
        principal = doors.accounts.authenticate_token(token) if token is not None else None
        if principal is None:
            self.refusal = self._unauthorized(is_failure=token is not None)
            return
        self._principal: Principal = principal
        try:
            self._name: AppName = parse_app_path(f"{owner}/{app}.git")
        except Problem as problem:
            self.refusal = _text(404, explain.sentence(problem.failure) + "\n")
            return
        if not doors.accounts.may_push(principal, self._name):
            self.refusal = _unknown(self._name)

    def advertise_receive(self) -> Response:
        # An own app that does not exist yet looks like an empty one: the push makes it.
        session = ReceiveSession(
            doors=self._doors, principal=self._principal, app_name=self._name,
            wire=HttpWire(_no_body, None), address=_origin(),
        )  # fmt: skip
        body = make_pkt(b"# service=git-receive-pack\n") + FLUSH + session.advertisement()
        return _git(body, f"application/x-{_RECEIVE}-advertisement")

    def advertise_upload(self) -> Response:
        app = self._find_app()
        if app is None:
            return _unknown(self._name)
        repo_path = self._doors.settings.repo_path(app.id)
        create_repository(repo_path)
        body = advertise_fetch(repo_path, request.headers.get("Git-Protocol"))
        return _git(body, f"application/x-{_UPLOAD}-advertisement")

    def receive(self) -> Response:
        wire = HttpWire(_body_reader(), _connection())
        session = ReceiveSession(
            doors=self._doors,
            principal=self._principal,
            app_name=self._name,
            wire=wire,
            address=_origin(),
        )

        def run() -> None:
            try:
                session.receive()
            except Exception:  # noqa: BLE001 -- a thread has nobody above it; the log does
                _LOG.exception("push to %s", self._name)
            finally:
                wire.finish()

        threading.Thread(target=run, name=f"push-{self._name}", daemon=True).start()
        response = Response(wire.answer(), content_type=f"application/x-{_RECEIVE}-result", headers=_HEADERS)
        response.direct_passthrough = True
        return response

    def upload(self) -> Response:
        app = self._find_app()
        if app is None:
            return _unknown(self._name)
        repo_path = self._doors.settings.repo_path(app.id)
        create_repository(repo_path)
        try:
            spool = spool_request(_body_reader())
        except Problem as problem:
            return _text(413 if problem.failure.code != "bad-body" else 400, explain.sentence(problem.failure) + "\n")
        pieces = answer_fetch(repo_path, spool, request.headers.get("Git-Protocol"))
        response = Response(pieces, content_type=f"application/x-{_UPLOAD}-result", headers=_HEADERS)
        response.direct_passthrough = True
        return response

    def _find_app(self) -> App | None:
        app = self._doors.ledger.find_app(self._name)
        return app if app is not None and self._doors.accounts.may_read(self._principal, app) else None

    def _unauthorized(self, *, is_failure: bool) -> Response:
        wait_s = self._doors.accounts.note_failure(_origin()) if is_failure else 0
        if wait_s:
            code = Problem("too-many-logins", wait_s=wait_s)
            response = _text(429, explain.sentence(code.failure) + "\n")
            response.headers["Retry-After"] = str(wait_s)
            return response
        response = _text(401, "A token is needed as the password of this address.\n")
        response.headers["WWW-Authenticate"] = 'Basic realm="algo"'
        return response


def _checked_type(service: str) -> Response | None:
    """A form of another site cannot send this type: no page acts with its reader's credentials."""
    expected = f"application/x-{service}-request"
    return None if request.content_type == expected else _text(415, f"The content type has to be {expected}.\n")


def _body_reader() -> Callable[[int], bytes]:
    stream = get_input_stream(request.environ, safe_fallback=True, max_content_length=None)
    encoding = request.headers.get("Content-Encoding", "").lower()
    return inflating(stream.read) if encoding in {"gzip", "x-gzip"} else stream.read


def _connection() -> socket.socket | None:
    return cast("socket.socket | None", request.environ.get("gunicorn.socket"))


def _no_body(_: int) -> bytes:
    return b""


def _unknown(name: AppName) -> Response:
    return _text(404, explain.sentence(Problem("app-unknown", app=str(name)).failure) + "\n")


def _git(body: bytes, content_type: str) -> Response:
    return Response(body, content_type=content_type, headers=_HEADERS)


def _text(status: int, text: str) -> Response:
    return Response(text, status=status, content_type="text/plain; charset=utf-8", headers=_HEADERS)


def _origin() -> str:
    return client_address(request.headers.get("X-Forwarded-For", ""), request.remote_addr)
