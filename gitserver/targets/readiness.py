"""When an instance is ready, and if it never is, why: a loop of pure looks with a deadline."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitserver.errors import Json, Problem
from gitserver.targets.instance import Folder

_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.005, 0.1
_ELSEWHERE_S = 10.0  # a process that listens elsewhere for so long is not about to listen where it should
_CRASH_LINES = 20
_CODE = re.compile(r"[a-z][a-z-]{1,40}")
_NAME = re.compile(r"[a-z][a-z_]{0,40}")
_MAX_TEXT, _MAX_FACTS = 2000, 40
_MAX_ANSWER_BYTES = 64 * 1024
_TCP_LISTEN = "0A"  # include/net/tcp_states.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A started process and how to look at it.

    port     where a web process must listen; None for our shim, which writes ready.json
    is_unix  the shim listens on a socket in its folder, which gets its address when it is ready
    ended    None while it runs, else its exit status (negative: the signal)
    pids     everything that belongs to it
    oom      whether the kernel killed any of it for memory
    """

    folder: Folder
    address: str
    port: int | None
    is_unix: bool
    memory_mib: int
    ended: Callable[[], int | None]
    pids: Callable[[], list[int]]
    oom: Callable[[], bool]


def wait_ready(watched: Watched, *, timeout_s: float) -> Mapping[str, Json]:
    """Facts of the ready instance.

    Raises  Problem: what the shim said of its end; start-crashed, out-of-memory, never-listened, wrong-port,
            start-timeout
    """
    began, look_s, elsewhere = time.monotonic(), _FIRST_LOOK_S, _Elsewhere()
    while True:
        facts = _facts(watched)
        if facts is not None:
            return facts
        status = watched.ended()
        if status is not None:
            raise _why_it_ended(watched, status)
        if watched.oom():  # not of its first process, or that would have ended: it would start others for ever
            raise Problem("out-of-memory", limit_mib=watched.memory_mib, log=watched.folder.tail(_CRASH_LINES))
        now = time.monotonic()
        is_late = now - began > timeout_s
        if watched.port is not None and (now - began > 1 or is_late):
            found = elsewhere.look(watched.port, listening_ports(watched.pids()), now, at_once=is_late)
            if found is not None:
                log = watched.folder.tail(_CRASH_LINES)
                raise Problem("wrong-port", expected=watched.port, found=found, log=log)
        if is_late:
            code = "start-timeout" if watched.port is None else "never-listened"
            raise Problem(code, seconds=int(timeout_s), log=watched.folder.tail(_CRASH_LINES))
        time.sleep(look_s)
        look_s = min(look_s * 1.2, _LONGEST_LOOK_S)


class _Elsewhere:
    """Since when a process listens on other ports and not on its own: some serve metrics before they are ready."""

    def __init__(self) -> None:
        self._since: float | None = None

    def look(self, port: int, ports: Sequence[int], now: float, *, at_once: bool) -> int | None:
        """The port on which it waits for calls in vain, once that is certain."""
        others = [other for other in ports if other != port]
        if not others or port in ports:
            self._since = None
            return None
        self._since = self._since or now
        return others[0] if at_once or now - self._since > _ELSEWHERE_S else None


def can_connect(address: str, timeout_s: float = 1.0) -> bool:
    """Somebody accepts connections there."""
    try:
        _connect(address, timeout_s).close()
    except OSError:
        return False
    return True


def is_listening(address: str) -> bool:
    """Somebody listens there, though perhaps too busy to accept: only a refusal is a no."""
    try:
        _connect(address, 1.0).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    return True


def _facts(watched: Watched) -> Mapping[str, Json] | None:
    if watched.port is not None:
        # Its own socket: another user's process that took the port first would get the app's calls.
        is_own = can_connect(watched.address) and watched.port in listening_ports(watched.pids())
        return {} if is_own and _answers_http(watched.address) else None
    facts = watched.folder.read_report(watched.folder.ready)
    if facts is None or (watched.is_unix and not watched.folder.publish()):
        return None
    return _trimmed(facts) if can_connect(watched.address) else None


def _trimmed(facts: Mapping[str, Json]) -> dict[str, Json]:
    """What an instance says of itself goes into the ledger: names as ours are, and texts that end."""
    return {
        name: value[:_MAX_TEXT] if isinstance(value, str) else value
        for name, value in list(facts.items())[:_MAX_FACTS]
        if _NAME.fullmatch(name)
    }


def _answers_http(address: str) -> bool:
    """Any HTTP status at all: what is behind / is the app's own business."""
    try:
        with _connect(address, 0.2) as connection:
            connection.settimeout(30)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: algo\r\n\r\n")
            answer = connection.recv(_MAX_ANSWER_BYTES)
            is_http, left = answer.startswith(b"HTTP/"), _MAX_ANSWER_BYTES
            connection.settimeout(1)
            with suppress(TimeoutError):  # hung up on in mid-answer, many a server would log a traceback
                while answer and left > 0:
                    answer = connection.recv(left)
                    left -= len(answer)
            return is_http
    except OSError:
        return False


def _connect(address: str, timeout_s: float) -> socket.socket:
    kind, _, rest = address.partition(":")
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            connection.connect(rest)
        except BaseException:
            connection.close()
            raise
        return connection
    host, _, port = rest.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=timeout_s)


def _why_it_ended(watched: Watched, status: int) -> Problem:
    tail = watched.folder.tail(_CRASH_LINES)
    if watched.oom():
        return Problem("out-of-memory", limit_mib=watched.memory_mib, log=tail)
    said = watched.folder.read_report(watched.folder.termination)
    if said is not None:
        code, fields, log = said.get("code"), said.get("fields"), said.get("log")
        if isinstance(code, str) and _CODE.fullmatch(code) and isinstance(fields, dict):
            lines = tuple(str(line)[:400] for line in log[-_CRASH_LINES:]) if isinstance(log, list) else ()
            told = {name: value for name, value in _trimmed(fields).items() if name not in {"code", "log", "self"}}
            return Problem(code, log=lines or tail, **told)
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Problem("start-crashed", how=how, log=tail)


def listening_ports(pids: list[int]) -> list[int]:
    """TCP ports on which any of the processes listens. Source: proc(5), /proc/net/tcp."""
    inodes = set()
    for pid in pids:
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                target = str(link.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        except OSError:
            continue  # it ended, or a descriptor closed, while we looked
    ports = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue  # no IPv6 here
        for line in lines:
            fields = line.split()
            if fields[3] == _TCP_LISTEN and fields[9] in inodes:
                ports.append(int(fields[1].rpartition(":")[2], 16))
    return sorted(set(ports))
