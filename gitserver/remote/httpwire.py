"""A receive session's wire over one HTTP request: the body is read to its end before the answer begins.

Why     a client that still sends does not listen (contracts/git.md F17), and no proxy promises both ways at once. So
        what the session writes is kept until the body has ended, and flows from then on, as fast as it is taken.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator

_CHUNK_BYTES = 64 * 1024
_MAX_WAITING = 64  # pieces of at most 32 KiB that wait for a slow client before the session waits too
_DRAIN_S = 60.0  # silence borne while the rest of a refused body runs out
_TAKE_S = 600.0  # how long a client may take nothing before it counts as gone


class HttpWire:
    """The session's end: read, write. The server's end: answer()."""

    def __init__(self, read: Callable[[int], bytes], connection: socket.socket | None) -> None:
        self._read_body, self._connection = read, connection
        self._reading = threading.Lock()
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._is_body_over = False
        self._is_finished = False
        self._is_gone = False

    def read(self, size: int) -> bytes:
        """At most so many bytes of the body."""
        with self._reading:
            return self._read(size)

    def write(self, data: bytes) -> None:
        """Queue a piece of the answer. Raises BrokenPipeError when nobody takes it any more."""
        with self._changed:
            if self._is_body_over:
                self._changed.wait_for(lambda: self._is_gone or len(self._pieces) < _MAX_WAITING, _TAKE_S)
            if self._is_gone or (self._is_body_over and len(self._pieces) >= _MAX_WAITING):
                raise BrokenPipeError("the client takes no more")
            self._pieces.append(data)
            self._changed.notify_all()

    def close_read(self) -> None:
        """Read the rest of the body into nothing; beside a reader in another thread, whichever is quicker."""
        self.set_idle(_DRAIN_S)
        try:
            while self.read(_CHUNK_BYTES):
                pass
        except OSError:
            self._end_body()  # cut: there is no rest

    def set_idle(self, seconds: float) -> None:
        """Silence of the client's socket. Behind a server that shows no socket its own limits hold."""
        if self._connection is not None:
            try:
                self._connection.settimeout(seconds)
            except OSError:
                pass  # closed already: the next read says so

    def finish(self) -> None:
        """The session has ended, whatever happened in it."""
        self.close_read()
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    def answer(self) -> Iterator[bytes]:
        """The body of the response, from the end of the request's body until finish()."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_finished or (self._is_body_over and bool(self._pieces)))
                    pieces = list(self._pieces)
                    self._pieces.clear()
                    is_last = self._is_finished
                    self._changed.notify_all()
                if pieces:
                    yield b"".join(pieces)
                if is_last:
                    return
        finally:
            with self._changed:
                self._is_gone = True
                self._changed.notify_all()

    def _read(self, size: int) -> bytes:
        if self._is_body_over:
            return b""
        try:
            data = self._read_body(size)
        except OSError:
            self._end_body()
            raise
        except Exception as error:
            # Every WSGI server has errors of its own for a cut or malformed body; all mean the same here.
            self._end_body()
            raise ConnectionError(f"the request's body broke off: {error}") from error
        if not data:
            self._end_body()
        return data

    def _end_body(self) -> None:
        with self._changed:
            self._is_body_over = True
            self._changed.notify_all()
