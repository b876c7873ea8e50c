"""SSH keys of the caller. A label is a note for people and gives no right."""

from __future__ import annotations

from gitserver.accounts.keys import parse_public_key
from gitserver.errors import Problem
from gitserver.web import schema as s
from gitserver.web.documents import KEY, as_list, key_document
from gitserver.web.routes import Access, Answer, Call, Registry

registry = Registry()


@registry.route("GET", "/api/v1/keys", Access.SIGNED_IN, answers=s.record({"keys": s.array(KEY)}))
def list_keys(call: Call) -> Answer:
    """The caller's SSH keys, newest first"""
    found = call.services.ledger.keys(call.caller.principal.id)
    return Answer(document=as_list("keys", [key_document(key) for key in found]))


@registry.route(
    "POST",
    "/api/v1/keys",
    Access.SIGNED_IN,
    takes=s.record(
        {"public_key": s.text("one line of a .pub file", max_length=16 * 1024)},
        {"label": s.text("empty: the key's own comment", max_length=100)},
    ),
    answers=KEY,
    status=201,
)
def add_key(call: Call) -> Answer:
    """Register an SSH key of the caller"""
    key = parse_public_key(str(call.body["public_key"]))
    label = str(call.body.get("label") or key.comment or "")[:100]
    made = call.services.ledger.add_key(
        call.caller.principal.id, fingerprint=key.fingerprint, public_key=key.text, label=label
    )
    call.record("key.add", fingerprint=made.fingerprint, label=label)
    return Answer(document=key_document(made), status=201)


@registry.route(
    "DELETE",
    "/api/v1/keys/<path:fingerprint>",
    Access.SIGNED_IN,
    answers=s.record({"removed": s.text()}),
)
def remove_key(call: Call) -> Answer:
    """Remove an SSH key of the caller by its fingerprint"""
    fingerprint = call.args["fingerprint"]
    if not call.services.ledger.remove_key(call.caller.principal.id, fingerprint):
        raise Problem("no-such-key", fingerprint=fingerprint[:100])
    call.record("key.remove", fingerprint=fingerprint)
    return Answer(document={"removed": fingerprint})
