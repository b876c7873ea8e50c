"""An app's configuration: environment variables. A change is a new, health-gated release of the same image."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from gitserver.errors import Json, Problem
from gitserver.ledger.records import BuildKind, Environment, EnvKind, NewBuild
from gitserver.reserved import is_reserved
from gitserver.web import schema as s
from gitserver.web.documents import BUILD, as_list, build_document
from gitserver.web.routes import Access, Answer, Call, Registry

registry = Registry()
MAX_VALUE = 32 * 1024
MAX_TOTAL = 256 * 1024  # execve(2) takes 128 KiB a string; far below it, a process still starts
MAX_NAMES = 200
NAME_PATTERN = "[A-Za-z_][A-Za-z0-9_]{0,99}"
SCOPE = s.choice(*EnvKind, description="production, or preview: previews never see production's values")
# Reading the old values and writing the new is one step. Threads of this process are the only writers: the control
# plane is one process with threads, and the worker never writes configuration.
_changing = threading.Lock()


@registry.route(
    "GET",
    "/api/v1/apps/<owner>/<app>/config",
    Access.APP_OWNER,
    query={"scope": SCOPE},
    answers=s.record({"scope": SCOPE, "version": s.whole("0: never set"), "values": s.mapping(s.text())}),
)
def show_config(call: Call) -> Answer:
    """An app's configuration with its values, which only its owner sees"""
    scope = EnvKind(str(call.query.get("scope", EnvKind.PRODUCTION)))
    config = call.services.ledger.config(call.app.id, scope)
    values: dict[str, Json] = dict(sorted(config.values.items()))
    return Answer(document={"scope": scope.value, "version": config.number, "values": values})


@registry.route(
    "PATCH",
    "/api/v1/apps/<owner>/<app>/config",
    Access.APP_OWNER,
    takes=s.record(
        {},
        {
            "scope": SCOPE,
            "set": s.mapping(s.text(max_length=MAX_VALUE), "new values by name"),
            "unset": s.array(s.text(max_length=100), "names to remove", max_items=MAX_NAMES),
        },
    ),
    answers=s.record({"scope": SCOPE, "version": s.whole(), "changed": s.array(s.text()), "builds": s.array(BUILD)}),
    status=202,
)
def change_config(call: Call) -> Answer:
    """Set and unset many variables at once; each environment that serves gets one new release"""
    ledger, app = call.services.ledger, call.app
    scope = EnvKind(str(call.body.get("scope", EnvKind.PRODUCTION)))
    with _changing:
        old = ledger.config(app.id, scope)
        values = _changed_values(old.values, call.body)
        changed = sorted(name for name in {*old.values, *values} if old.values.get(name) != values.get(name))
        if changed:
            why = f"change {', '.join(changed)}"[:500]
            version = ledger.add_config(app.id, scope, values, actor=call.caller.name, why=why).number
        else:
            version = old.number
    builds = call.services.pushes.submit(_orders(call, scope)) if changed else []
    if changed:
        call.record(
            "config.change", app=str(app.name), scope=scope.value, names=list[Json](changed), before=old.number,
            after=version, builds=list[Json](build.id for build in builds),
        )  # fmt: skip
    document: dict[str, Json] = {"scope": scope.value, "version": version, "changed": list[Json](changed)}
    return Answer(document={**document, **as_list("builds", [build_document(one) for one in builds])}, status=202)


def _changed_values(old: Mapping[str, str], body: Mapping[str, Json]) -> dict[str, str]:
    """The complete new values. Raises Problem('bad-config', name, reason)."""
    new, gone = body.get("set", {}), body.get("unset", [])
    assert isinstance(new, dict)
    assert isinstance(gone, list)
    values = dict(old)
    for name in gone:
        if name not in old:
            raise Problem("bad-config", name=str(name), reason="it is not set")
        if name in new:
            raise Problem("bad-config", name=str(name), reason="it is both set and unset")
        values.pop(str(name), None)
    for name, value in new.items():
        values[check_name(name)] = _check_value(name, str(value))
    if len(values) > MAX_NAMES:
        raise Problem("bad-config", name=f"{len(values)} names", reason=f"an app has at most {MAX_NAMES}")
    size = sum(len(name) + len(value.encode()) for name, value in values.items())
    if size > MAX_TOTAL:
        raise Problem("bad-config", name="all values", reason=f"they take {size} bytes together, {MAX_TOTAL} at most")
    return values


def check_name(name: str) -> str:
    """The name of a variable that an app may set."""
    if not s.matches(NAME_PATTERN, name):
        raise Problem("bad-config", name=name[:100], reason="a name has letters, digits and _, and no digit first")
    if is_reserved(name):
        raise Problem("bad-config", name=name, reason="the server sets it for every process")
    return name


def _check_value(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:  # a lone surrogate, which JSON can write
        raise Problem("bad-config", name=name, reason="the value is not valid Unicode") from error
    if "\0" in value:
        raise Problem("bad-config", name=name, reason="a value cannot hold a NUL character")
    return value


def _orders(call: Call, scope: EnvKind) -> list[NewBuild]:
    """One job for each environment of the scope that serves."""
    orders = []
    for environment in call.services.ledger.environments(call.app.id):
        if environment.kind is scope and environment.release_id is not None:
            order = _order(call, environment, environment.release_id)
            orders += [order] if order else []
    return orders


def _order(call: Call, environment: Environment, release_id: int) -> NewBuild | None:
    release = call.services.ledger.release(release_id)
    if release is None:
        return None
    return NewBuild(
        app_id=call.app.id,
        env_kind=environment.kind,
        branch=environment.branch,
        kind=BuildKind.CONFIG,
        git_ref="refs/deploy/config",  # not the branch: a change of config never supersedes a queued push
        old=release.commit,
        new=release.commit,
        commit=release.commit,
        actor=call.caller.name,
    )
