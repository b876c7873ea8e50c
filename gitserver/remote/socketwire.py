"""A receive session's wire over two socket pairs, one a direction: how the SSH front hands a channel to a thread."""

from __future__ import annotations

import socket
from dataclasses import dataclass

_TAKE_S = 600.0  # how long a client may take nothing before it counts as gone


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketWire:
    """The session's ends. Two pairs, because closing one direction must leave the other whole."""

    incoming: socket.socket
    outgoing: socket.socket

    def read(self, size: int) -> bytes:
        """At most so many bytes; b"" at the end."""
        return self.incoming.recv(size)

    def write(self, data: bytes) -> None:
        """All of it. Raises OSError when the client is gone, or took nothing for ten minutes."""
        self.outgoing.settimeout(_TAKE_S)
        self.outgoing.sendall(data)

    def close_read(self) -> None:
        """Ends a waiting read at once; the SSH side throws away what still comes."""
        try:
            self.incoming.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # the other end closed first, which is the same

    def set_idle(self, seconds: float) -> None:
        """For the next read on."""
        self.incoming.settimeout(seconds)

    def close(self) -> None:
        """Both ends: the client hears the end of what was said."""
        self.incoming.close()
        self.outgoing.close()
