"""What the client hears while it waits: progress on band 2, the report on band 1, a sign of life every 5 seconds.

Rules of this file
1. One lock for everything that is written; a packet is never torn.
2. What is relayed was printed by somebody's build: control bytes other than newline, return and tab never pass.
3. A client that is gone is a fact (`is_gone`), never an exception: the build's outcome does not depend on it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

from gitserver.remote.objects import FLUSH, make_pkt

KEEPALIVE_S = 5.0  # as native git; shorter than any proxy's idle limit
_PACKET_BYTES = 32 * 1024
_LINE_BYTES = 16 * 1024
_TAIL_BYTES = 64 * 1024
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LINE_END = re.compile(rb"[\r\n](?=[^\r\n]*\Z)")


def clean_text(data: bytes) -> bytes:
    """Text without terminal control: ESC, BEL and all of C0 and C1 but newline, return and tab (CVE-2024-52005)."""
    return _CONTROL.sub("", data.decode(errors="replace")).encode()


def clean_line(text: str) -> str:
    """The same as one line, for `ng` and `unpack`."""
    return " ".join(_CONTROL.sub("", text).split())[:2000]


class Sideband:
    """The writing half of a session. Threads may share it.

    is_multiplexed  the client asked for side-band-64k; without it there is no progress, and the tail is kept instead
    """

    def __init__(self, write: Callable[[bytes], None], *, is_multiplexed: bool, keepalive_s: float) -> None:
        self._write = write
        self.is_multiplexed = is_multiplexed
        self._keepalive_s = keepalive_s
        self._lock = threading.Lock()
        self._wrote_at = time.monotonic()
        self._partial = b""
        self._tail = b""
        self._over = threading.Event()
        self._timer = threading.Thread(target=self._keep_alive, name="keepalive", daemon=True)
        self.is_gone = False
        if is_multiplexed:
            self._timer.start()

    def progress(self, data: bytes) -> None:
        """Relay text, cut at line ends; the rest waits for its end."""
        with self._lock:
            self._partial += data
            cut = _LINE_END.search(self._partial)
            end = cut.end() if cut else 0
            if len(self._partial) - end > _LINE_BYTES:
                end = len(self._partial)
            whole, self._partial = self._partial[:end], self._partial[end:]
            self._send_text(whole)

    def line(self, text: str) -> None:
        """One line of our own, after whatever was unfinished."""
        with self._lock:
            self._end_line()
            self._send_text(text.encode() + b"\n")

    def flush(self) -> None:
        """What waits for a line end gets one."""
        with self._lock:
            self._end_line()

    def report(self, lines: bytes) -> None:
        """The report's pkt-lines, in band 1 when multiplexed, then the final flush. Ends the signs of life."""
        self.flush()
        self.stop()
        with self._lock:
            if self.is_multiplexed:
                for start in range(0, len(lines), _PACKET_BYTES):
                    self._send(make_pkt(b"\x01" + lines[start : start + _PACKET_BYTES]))
                self._send(FLUSH)
            else:
                self._send(lines)

    def fatal(self, text: str) -> None:
        """Band 3: the client prints it and ends with 128. Nothing may follow."""
        self.flush()
        self.stop()
        with self._lock:
            if self.is_multiplexed:
                self._send(make_pkt(b"\x03" + clean_text(text.encode())[:1000] + b"\n"))

    def take_tail(self) -> list[str]:
        """The last lines that the client has not seen, newest last; they count as seen from now on."""
        with self._lock:
            tail, self._tail = self._tail, b""
            return [line for line in tail.decode(errors="replace").splitlines() if line.strip()]

    def stop(self) -> None:
        """No further sign of life."""
        self._over.set()
        if self._timer.is_alive() and self._timer is not threading.current_thread():
            self._timer.join(self._keepalive_s + 1)

    def _end_line(self) -> None:
        rest, self._partial = self._partial, b""
        self._send_text(rest + b"\n" if rest else b"")

    def _send_text(self, data: bytes) -> None:
        if not data:
            return
        text = clean_text(data)
        if not self.is_multiplexed:
            self._tail = (self._tail + text)[-_TAIL_BYTES:]
            return
        for start in range(0, len(text), _PACKET_BYTES):
            self._send(make_pkt(b"\x02" + text[start : start + _PACKET_BYTES]))

    def _send(self, data: bytes) -> None:
        if self.is_gone:
            return
        try:
            self._write(data)
        except OSError:
            self.is_gone = True
        self._wrote_at = time.monotonic()

    def _keep_alive(self) -> None:
        while not self._over.wait(max(0.05, self._wrote_at + self._keepalive_s - time.monotonic())):
            if time.monotonic() - self._wrote_at >= self._keepalive_s:
                with self._lock:
                    if not self._over.is_set():
                        self._send(b"0005\x01")
