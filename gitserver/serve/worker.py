"""The worker's process: builds, releases, and the model processes."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType

from gitserver.errors import Json
from gitserver.gc.desk import CollectionDesk
from gitserver.ledger.records import EnvKind
from gitserver.serve.component import begin
from gitserver.wire import Answerer, Message
from gitserver.wiring import make_desk, make_world
from gitserver.worker import Worker
from gitserver.world import World

_LOG = logging.getLogger("algo.sweep")
_SWEEP_S = 5.0


def main(argv: list[str]) -> None:
    """Serve what served, take up what was begun, then work until SIGTERM; models end with the server."""
    settings = begin("worker", argv)
    world = make_world(settings)
    worker = Worker(world)
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    world.restore()
    desk = make_desk(settings, world)
    answerer = Answerer(settings.run_dir / "worker.sock", lambda message: _answer(message, world, worker, desk))
    world.routes.reload()
    sweeper = threading.Thread(target=_sweep, args=(world, stopping), name="sweep")
    sweeper.start()
    try:
        worker.run()
    finally:
        # A worker that fails must end, not linger and answer pings: the supervisor starts another, which adopts.
        stopping.set()
        answerer.stop()
        sweeper.join()
    world.close()


def _sweep(world: World, stopping: threading.Event) -> None:
    while not stopping.wait(_SWEEP_S):
        try:
            world.sweep()
        except Exception:  # noqa: BLE001 -- logged with its trace; one failed sweep must not end all later ones
            _LOG.exception("the sweep goes on")


def _answer(message: Message, world: World, worker: Worker, desk: CollectionDesk) -> Message:
    match message.get("op"):
        case "kick":
            worker.kick()
        case "ping":
            pass
        case "wake":
            return _wake(message, world)
        case "gc":
            return {"ok": True, **desk.begin(dry_run=message.get("dry_run") is True)}
        case "gc-state":
            return {"ok": True, **desk.state()}
        case "destroy":
            world.destroy(_integer(message["app_id"]))
        case other:
            return {"ok": False, "error": f"unknown op {other}"}
    return {"ok": True}


def _wake(message: Message, world: World) -> Message:
    running = world.wake(
        _integer(message["app_id"]), str(message["image"]), EnvKind(str(message["scope"])), str(message["label"])
    )
    return {"ok": True, "instance": running.instance, "address": running.address}


def _integer(value: Json) -> int:
    if not isinstance(value, int):
        raise TypeError("not an app's id")
    return value


if __name__ == "__main__":
    main(sys.argv)
