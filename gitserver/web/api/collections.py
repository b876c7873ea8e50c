"""Taking away what nothing needs: `algo gc`. For the whole server, so for its owner alone."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Json
from gitserver.web import schema as s
from gitserver.web.neighbours import ask_worker
from gitserver.web.routes import Access, Answer, Call, Registry

registry = Registry()
COLLECTION = s.record(
    {
        "collection": s.whole("its number since the worker started; 0: there was none"),
        "running": s.flag(),
        "trouble": s.text("why it ended early; empty when it did not"),
        "report": s.maybe(
            s.record(
                {
                    "dry_run": s.flag("true: nothing was taken away"),
                    "images": s.array(s.text(), "digests whose records went", max_items=100_000),
                    "gone": s.array(s.record({"what": s.text(), "name": s.text()}), "the first thousand things"),
                    "counts": s.mapping(s.whole(), "how many of each kind"),
                    "freed_bytes": s.whole("on the disk of the state folder"),
                    "engine_bytes": s.whole("in the engine, layers that other images share counted in"),
                    "kept": s.array(s.text(), "what could not be taken away, and why", max_items=100_000),
                }
            )
        ),
    }
)


@registry.route(
    "POST",
    "/api/v1/gc",
    Access.OPERATOR,
    takes=s.record({}, {"dry_run": s.flag("only say what would go")}),
    answers=COLLECTION,
    status=202,
)
def begin_collection(call: Call) -> Answer:
    """Begin to take away images, layers and caches that nothing needs"""
    dry_run = call.body.get("dry_run", False) is True
    state = ask_worker(call.services.settings, {"op": "gc", "dry_run": dry_run})
    call.record("gc", dry_run=dry_run, collection=state["collection"])
    return Answer(document=_state(state), status=202)


@registry.route("GET", "/api/v1/gc", Access.OPERATOR, answers=COLLECTION)
def show_collection(call: Call) -> Answer:
    """The collection that is under way, or the last one"""
    return Answer(document=_state(ask_worker(call.services.settings, {"op": "gc-state"})))


def _state(answer: Mapping[str, Json]) -> dict[str, Json]:
    return {name: answer[name] for name in ("collection", "running", "trouble", "report")}
