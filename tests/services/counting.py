"""A socket between a client and an engine that counts what goes through, and can be cut."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

PIECE = 256 * 1024


class CountingSocket:
    """`with CountingSocket(engine_socket, path) as line:` forwards path to the engine; line.sent: bytes so far."""

    def __init__(self, engine: Path, path: Path) -> None:
        self.path, self._engine = path, engine
        self.sent = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def host(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.path}"

    def __enter__(self) -> CountingSocket:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        self.cut()

    def cut(self) -> None:
        """Every connection of now is broken; new ones are taken."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                engine.connect(str(self._engine))
            except OSError:
                client.close()
                engine.close()
                continue
            with self._lock:
                self._open |= {client, engine}
            back = threading.Thread(target=self._pump, args=(engine, client, False), daemon=True)
            back.start()
            threading.Thread(target=self._forth, args=(client, engine, back), daemon=True).start()

    def _forth(self, client: socket.socket, engine: socket.socket, back: threading.Thread) -> None:
        self._pump(client, engine, True)
        back.join()
        with self._lock:
            self._open -= {client, engine}
        client.close()
        engine.close()

    def _pump(self, source: socket.socket, sink: socket.socket, is_counted: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                if is_counted:
                    with self._lock:
                        self.sent += len(piece)
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
