"""One call: what came in, what goes out, and asking the model in between.

Handlers of all contracts get a Call and return an Answer; only front.py knows WSGI.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .board import Board
from .jsontext import plain, render_json
from .loading import Loaded
from .model import Model
from .refusal import ModelRaised, OutOfTime, Refused
from .settings import RunSettings
from .watchdog import Watch, Watchdog

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """status, body and headers; body may be an iterator, which is sent in chunks as it is made."""

    body: bytes | Iterator[bytes]
    status: int = 200
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()


@dataclass(slots=True, kw_only=True)
class Call:
    """One request as handlers see it. predict_ns grows while the model is asked; everything else stays.

    query        decoded parameters, the first of each name
    read         reads the whole body; raises Refused(413) beyond the limit
    deadline_at  time.monotonic() seconds
    """

    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    environ: Mapping[str, Any]
    request_id: str
    deadline_at: float
    read: Callable[[], bytes]
    predict_ns: int | None = field(default=None)


def json_answer(value: Any, *, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """A plain value as an answer."""
    return Answer(status=status, body=render_json(value), headers=headers)


class Service:
    """The loaded model and how many may ask it at once."""

    def __init__(self, settings: RunSettings, loaded: Loaded, board: Board) -> None:
        self.settings, self.loaded, self.board = settings, loaded, board
        self.model: Model = loaded.model
        self.watchdog = Watchdog(lambda: board.in_flight)
        self._slots = threading.BoundedSemaphore(settings.threads)
        self._waiting = 0
        self._waiting_lock = threading.Lock()

    def ask(self, call: Call, question: Callable[[], Any], encode: Callable[[Any], Any] = plain) -> Any:
        """question() in a slot of the model, under the call's deadline; its result as encode makes it plain.

        returns  plain values, or a generator (the function yields: the caller of ask streams it)
        Raises   Refused: what was sent does not fit; 503 when too many wait. ModelRaised: the user's exception, or
                 a result that has no JSON form. OutOfTime: the deadline passed and the caller has been told
        """
        self._enter_slot(call)
        watch = Watch(call.environ.get("gunicorn.socket"), call.deadline_at, _late_reply(call))
        self.watchdog.begin(watch)
        started = time.perf_counter_ns()
        try:
            result = question()
            call.predict_ns = (call.predict_ns or 0) + time.perf_counter_ns() - started
            return result if is_stream(result) else encode(result)
        except (Refused, KeyboardInterrupt):
            raise
        except BaseException as exc:
            raise ModelRaised(exc) from exc  # also sys.exit(): a call never ends the server
        finally:
            self._slots.release()
            if not self.watchdog.end(watch):
                raise OutOfTime  # the answer is out; whatever the model did afterwards has no reader

    def _enter_slot(self, call: Call) -> None:
        if self._slots.acquire(blocking=False):
            return
        with self._waiting_lock:
            if self._waiting >= self.settings.queue:
                raise Refused(503, "too many calls are waiting; try again", headers=[("Retry-After", "1")])
            self._waiting += 1
        try:
            if not self._slots.acquire(timeout=max(0.0, call.deadline_at - time.monotonic())):
                raise Refused(504, "the call waited for its turn until its deadline")
        finally:
            with self._waiting_lock:
                self._waiting -= 1


def is_stream(result: Any) -> bool:
    """True for generators, also asynchronous ones; a file or any other iterator is not meant as a stream of values."""
    return (hasattr(result, "__next__") and hasattr(result, "send")) or hasattr(result, "__anext__")


def _late_reply(call: Call) -> bytes:
    body = render_json({"error": "the call ran past its deadline", "request_id": call.request_id})
    return (
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"X-Request-Id: %s\r\nContent-Length: %d\r\n\r\n%s" % (call.request_id.encode("latin-1"), len(body), body)
    )
