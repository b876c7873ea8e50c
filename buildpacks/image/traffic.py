"""What a push costs and whether it is still wanted: requests and bytes counted, a stream that can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from buildpacks.order import BuildFailed

_PIECE = 64 * 1024  # the time limit of a send is for one piece, so that a slow line is not taken for a dead one


class Traffic:
    """Counts of one push or pull. Safe for threads.

    stop  set from outside when nobody wants it any more
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self.requests = self.sent_bytes = self.received_bytes = 0
        self._stop = stop if stop is not None else threading.Event()
        self._failed = threading.Event()
        self._lock = threading.Lock()

    def count(self, *, requests: int = 0, sent_bytes: int = 0, received_bytes: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            self.requests += requests
            self.sent_bytes += sent_bytes
            self.received_bytes += received_bytes

    def give_up(self) -> None:
        """One part failed: the others need not go on."""
        self._failed.set()

    def check(self) -> None:
        """Raises BuildFailed('cancelled') when it is not wanted any more."""
        if self._stop.is_set() or self._failed.is_set():
            raise BuildFailed("cancelled")

    def pause(self, seconds: float) -> None:
        """Wait before another attempt. Raises BuildFailed('cancelled') as soon as that is known."""
        self._stop.wait(seconds)
        self.check()


class Body:
    """A request's body that is read while it is sent, and whose length is known before.

    size_bytes  how many bytes `read` gives
    """

    def __init__(self, size_bytes: int, read: Callable[[], Iterator[bytes]], traffic: Traffic) -> None:
        self._size_bytes, self._read, self._traffic = size_bytes, read, traffic

    def __len__(self) -> int:
        return self._size_bytes

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, in pieces. The last comes only after `read` ended, which is when a damaged layer is noticed.

        Raises  BuildFailed('cancelled'), and what `read` raises: 'layer-damaged', 'layer-unreadable' for its OSError
        """
        for piece in _held_back(self._pieces()):
            self._traffic.check()
            self._traffic.count(sent_bytes=len(piece))
            yield piece

    def _pieces(self) -> Iterator[bytes]:
        try:
            for chunk in self._read():
                view = memoryview(chunk)
                for start in range(0, len(chunk), _PIECE):
                    yield bytes(view[start : start + _PIECE])
        except OSError as error:
            # As an OSError it would be taken for one of the connection.
            raise BuildFailed("layer-unreadable", file=str(error.filename), message=error.strerror or "") from error


def _held_back(pieces: Iterator[bytes]) -> Iterator[bytes]:
    before: bytes | None = None
    for piece in pieces:
        if before is not None:
            yield before
        before = piece
    if before is not None:
        yield before
