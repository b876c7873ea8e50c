"""Tokens of the caller. The text is in the answer that makes it and nowhere else."""

from __future__ import annotations

import os
from datetime import timedelta

from gitserver.accounts.tokens import RANDOM_BYTES, TOKEN_LIFE, make_token
from gitserver.errors import Json, Problem
from gitserver.web import schema as s
from gitserver.web.documents import TOKEN, as_list, token_document
from gitserver.web.neighbours import reload_gateway
from gitserver.web.routes import Access, Answer, Call, Registry

registry = Registry()
MAX_DAYS = 366


@registry.route("GET", "/api/v1/tokens", Access.SIGNED_IN, answers=s.record({"tokens": s.array(TOKEN)}))
def list_tokens(call: Call) -> Answer:
    """The caller's tokens that were not revoked, newest first, without their secrets"""
    found = call.services.ledger.tokens(call.caller.principal.id)
    return Answer(document=as_list("tokens", [token_document(token) for token in found]))


@registry.route(
    "POST",
    "/api/v1/tokens",
    Access.SIGNED_IN,
    takes=s.record(
        {},
        {
            "label": s.text("a note for people", max_length=100),
            "days": s.whole("how long it lives; 90 without it", minimum=1, maximum=MAX_DAYS),
        },
    ),
    answers=s.record({"token": s.text("the secret, shown this once"), "details": TOKEN}),
    status=201,
)
def create_token(call: Call) -> Answer:
    """Make a token of the caller"""
    days = call.body.get("days", TOKEN_LIFE.days)
    assert isinstance(days, int)
    new = make_token(os.urandom(RANDOM_BYTES))
    made = call.services.ledger.add_token(
        call.caller.principal.id,
        token_id=new.id,
        secret_sha256=new.secret_sha256,
        label=str(call.body.get("label", "")),
        last4=new.last4,
        expires_at=call.services.clock() + timedelta(days=days),
    )
    call.record("token.create", made=made.id, label=made.label, days=days)
    reload_gateway(call.services.settings)
    document: dict[str, Json] = {"token": new.text, "details": token_document(made)}
    return Answer(document=document, status=201)


@registry.route("DELETE", "/api/v1/tokens/<token_id>", Access.SIGNED_IN, answers=s.record({"revoked": s.text()}))
def revoke_token(call: Call) -> Answer:
    """Revoke a token of the caller, for git, the API and calls alike"""
    token_id = call.args["token_id"]
    if not call.services.ledger.revoke_token(call.caller.principal.id, token_id):
        raise Problem("no-such-token", token=token_id[:100])
    call.record("token.revoke", revoked=token_id)
    reload_gateway(call.services.settings)
    return Answer(document={"revoked": token_id})
