"""One question, one answer, over a Unix socket: how the server's processes talk to each other.

A message is one line of JSON; the connection closes after the answer. No pickle, no shared memory: a process that
dies in the middle leaves the other with an error and a deadline, never with half a state.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from gitserver.errors import Json, Problem

Message = dict[str, Json]
MAX_LINE_BYTES = 1024 * 1024


def ask(path: Path, message: Message, *, timeout_s: float) -> Message:
    """Send one message and wait for its answer.

    Raises  Problem('component-down', component=...) when nobody answers in time
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            _connect(connection, path)
            connection.sendall(json.dumps(message).encode() + b"\n")
            answer = _read_line(connection)
    except (OSError, ValueError) as error:
        raise Problem("component-down", component=path.stem, detail=str(error)) from error
    return answer


def tell(path: Path, message: Message, *, timeout_s: float = 2.0) -> bool:
    """ask() for messages that only hasten what would happen anyway: whether it was heard."""
    try:
        ask(path, message, timeout_s=timeout_s)
    except Problem:
        return False
    return True


def listen(path: Path) -> socket.socket:
    """A listening socket at path, for this user alone; a stale one of a dead process is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        _bind(listener, path)
    finally:
        os.umask(old_mask)
    listener.listen(128)
    return listener


class Answerer:
    """Answers messages, each in a thread of its own, until stop()."""

    def __init__(self, path: Path, answer: Callable[[Message], Message]) -> None:
        self._path, self._answer = path, answer
        self._listener = listen(path)
        self._thread = threading.Thread(target=self._accept, name=f"answer-{path.stem}", daemon=True)
        self._stopped = threading.Event()
        self._thread.start()

    def stop(self) -> None:
        """No further message is taken."""
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(2)

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed by stop()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                message = _read_line(connection)
            except (OSError, ValueError):
                return  # a caller that went away or spoke no JSON gets no answer
            try:
                answer = self._answer(message)
            except Problem as problem:
                answer = {"ok": False, "failure": problem.failure.as_json()}
            try:
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except OSError:
                return  # the caller's patience ended; what was asked for is done all the same


def _read_line(connection: socket.socket) -> Message:
    data = bytearray()
    while not data.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk or len(data) > MAX_LINE_BYTES:
            raise ValueError("no complete message")
        data += chunk
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- callers treat it as any malformed line
    return message


# A Unix socket's path holds 107 bytes at most, and a state folder may lie deeper: /proc/self/fd is the short way in.
def _connect(connection: socket.socket, path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _bind(listener: socket.socket, path: Path) -> None:
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
