"""`run/gateway.sock`: what the worker and the control plane ask of the gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gitserver.errors import Problem
from gitserver.gateway.front import Front
from gitserver.gateway.reload import Reloader
from gitserver.wire import Message

_MAX_DRAIN_S = 3600.0


def make_answerer(front: Front, reloader: Reloader) -> Callable[[Message], Awaitable[Message]]:
    """The function that answers messages.

    {"op": "ping"}                                  {"ok": true}
    {"op": "reload"}                                {"ok": true} once new calls are routed by the ledger of now
    {"op": "drain", "address": A, "deadline_s": S}  {"ok": true, "in_flight": N} once nothing runs at A, or after S
    {"op": "idle"}                                  {"ok": true, "last_call_s": {A: seconds since its last call}}
    """

    async def answer(message: Message) -> Message:
        match message.get("op"):
            case "ping":
                return {"ok": True}
            case "reload":
                try:
                    await reloader.reload()
                except Exception as error:
                    raise Problem("component-down", component="ledger", detail=str(error)) from error
                return {"ok": True}
            case "drain":
                return await _drain(front, message)
            case "idle":
                return {"ok": True, "last_call_s": dict(front.pools.seconds_since_last_call())}
            case unknown:
                return {"ok": False, "error": f"unknown op {unknown}"}

    return answer


async def _drain(front: Front, message: Message) -> Message:
    address, deadline_s = message.get("address"), message.get("deadline_s", 30)
    if not isinstance(address, str) or not isinstance(deadline_s, int | float):
        return {"ok": False, "error": "drain needs an address and a number of seconds"}
    front.starts.forget(address)  # from here on a call of a sleeping version wakes it anew
    left = await front.pools.drain(address, min(max(float(deadline_s), 0.0), _MAX_DRAIN_S))
    return {"ok": True, "in_flight": left}
