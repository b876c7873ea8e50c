"""Words for the management API."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

_OPERATOR, _NOBODY = Move.OPERATOR, Move.NOBODY

WORDS: Mapping[str, Words] = {
    "login-needed": Words(
        title="sign in first",
        body="This needs a token, and none was sent.",
        next="algo login {url}; for other clients: Authorization: Bearer TOKEN",
        status=401,
    ),
    "bad-token": Words(
        title="token not accepted",
        body="The token is unknown, revoked or expired.",
        next="algo login {url}",
        status=401,
    ),
    "too-many-logins": Words(
        title="too many failed logins",
        body="Too many tokens from your address were not accepted within a minute.",
        next="correct the token and wait {wait_s} seconds; a good token is taken at once",
        status=429,
    ),
    "not-your-namespace": Words(
        title="not your namespace",
        body="You are {yours}; apps of {owner} are made by {owner} alone.",
        next="algo create {yours}/{app}",
        status=403,
    ),
    "no-such-app": Words(
        title="no such app",
        body="There is no app {app} that you may use.",
        next="algo apps",
        status=404,
    ),
    "no-such-build": Words(
        title="no such build", body="There is no build {build} of an app of yours.", next="algo builds", status=404
    ),
    "no-such-preview": Words(
        title="no such preview",
        body="There is no preview of {branch}; there are: {known}.",
        next="algo previews",
        status=404,
    ),
    "no-such-key": Words(title="no such key", body="You have no key {fingerprint}.", next="algo keys list", status=404),
    "no-such-token": Words(
        title="no such token", body="You have no token {token}.", next="algo tokens list", status=404
    ),
    "no-such-page": Words(
        title="nothing there",
        body="There is nothing at {path}.",
        next="read /api/v1/openapi.json for what there is",
        status=404,
    ),
    "wrong-method": Words(
        title="wrong method",
        body="{method} is not possible at {path}.",
        next="read /api/v1/openapi.json for what is",
        status=405,
    ),
    "body-too-large": Words(
        title="body too large",
        body="The request's body is larger than {limit_bytes} bytes.",
        next="send a smaller one",
        status=413,
    ),
    "bad-request": Words(
        title="request not understood",
        body="{where}: expected {expected}, found {found}.",
        next="read /api/v1/openapi.json for the shape",
    ),
    "bad-key": Words(
        title="key not accepted",
        body="This key cannot be registered: {reason}. Accepted are {allowed}.",
        next="ssh-keygen -t ed25519, then algo keys add",
    ),
    "bad-config": Words(
        title="configuration refused",
        body="{name} cannot be changed so: {reason}. Nothing was changed.",
        next="algo config list",
    ),
    "not-confirmed": Words(
        title="not confirmed",
        body="'{found}' is not {app}. Nothing was destroyed.",
        next="algo destroy {app}, and type its whole name",
        status=409,
    ),
    "build-ended": Words(
        title="build has ended", body="Build {build} has ended: {state}.", next="algo builds show {build}", status=409
    ),
    "server-error": Words(
        title="internal error",
        body="The server failed; this was request {request}.",
        next="try again; tell the operator the number if it happens twice, the server's log has the details",
        move=_OPERATOR,
        status=500,
    ),
}
