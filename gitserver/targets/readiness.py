"""When an instance is ready, and if it never is, why: a loop of pure looks with a deadline."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gitserver.errors import Json, Problem
from gitserver.targets.instance import Folder
from gitserver.targets.listening import Listener
from gitserver.targets.missing import missing_part

# The longest pause is what a push waits for nothing. For our shim a look is two system calls; for a web process it is a
# walk through its descriptors.
_FIRST_LOOK_S, _LONGEST_LOOK_S, _LONGEST_WEB_LOOK_S = 0.005, 0.025, 0.1
_ELSEWHERE_S = 10.0  # a process that listens elsewhere for so long is not about to listen where it should
_CRASH_LINES = 20
_USER_CODE_FAILED = frozenset({"import-failed", "load-failed"})
_LAST_WORDS = 3
_CODE = re.compile(r"[a-z][a-z-]{1,40}")
_NAME = re.compile(r"[a-z][a-z_]{0,40}")
_MAX_TEXT, _MAX_FACTS = 2000, 40
_MAX_ANSWER_BYTES = 64 * 1024
# What Python, Node, Go and the shell's tools say of a write that was refused.
_NOT_WRITABLE = (
    re.compile(r"(?:Read-only file system|Permission denied): '(/[^']+)'"),  # OSError of Python
    re.compile(r"(?:EROFS|EACCES): [a-z -]+, \w+ '(/[^']+)'"),  # Node
    re.compile(
        r"(?:^|[\s'‘\"])(/[^\s:'’\"]+)['’\"]?: (?i:read-only file system|permission denied)"
    ),  # coreutils, Go, sh
)
_NOT_FILES = ("/proc/", "/sys/", "/dev/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A started process and how to look at it.

    port       where a web process must listen; None for our shim, which writes ready.json
    is_unix    the shim listens on a socket in its folder, which gets its address when it is ready
    is_inside  it has a network of its own: who listens there on 127.0.0.1 alone gets no calls
    ended      None while it runs, else its exit status (negative: the signal)
    listeners  where it listens: its own sockets, whoever accepts at address
    oom        whether the kernel killed any of it for memory
    """

    folder: Folder
    address: str
    port: int | None
    is_unix: bool
    memory_mib: int
    ended: Callable[[], int | None]
    listeners: Callable[[], Sequence[Listener]]
    oom: Callable[[], bool]
    is_inside: bool = False


def wait_ready(watched: Watched, *, timeout_s: float) -> Mapping[str, Json]:
    """Facts of the ready instance.

    Raises  Problem: what the shim said of its end; start-crashed, read-only-place, out-of-memory, never-listened,
            wrong-port, loopback-only, start-timeout
    """
    began, look_s, elsewhere = time.monotonic(), _FIRST_LOOK_S, _Elsewhere()
    longest_s = _LONGEST_LOOK_S if watched.port is None else _LONGEST_WEB_LOOK_S
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
            listeners, log = watched.listeners(), watched.folder.tail(_CRASH_LINES)
            if watched.is_inside and _hears_itself_only(watched.port, listeners):
                raise Problem("loopback-only", port=watched.port, log=log)
            found = elsewhere.look(watched.port, [one.port for one in listeners], now, at_once=is_late)
            if found is not None:
                raise Problem("wrong-port", expected=watched.port, found=found, log=log)
        if is_late:
            code = "start-timeout" if watched.port is None else "never-listened"
            raise Problem(code, seconds=int(timeout_s), log=watched.folder.tail(_CRASH_LINES))
        time.sleep(look_s)
        look_s = min(look_s * 1.2, longest_s)


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


def _hears_itself_only(port: int, listeners: Sequence[Listener]) -> bool:
    mine = [one.is_local for one in listeners if one.port == port]
    return bool(mine) and all(mine)


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
        is_own = can_connect(watched.address) and any(
            one.port == watched.port and not (watched.is_inside and one.is_local) for one in watched.listeners()
        )
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
    how = f"signal {-status}" if status < 0 else f"status {status}"
    if watched.oom():
        return Problem("out-of-memory", limit_mib=watched.memory_mib, log=tail)
    said = watched.folder.read_report(watched.folder.termination)
    if said is not None:
        code, fields, log = said.get("code"), said.get("fields"), said.get("log")
        if isinstance(code, str) and _CODE.fullmatch(code) and isinstance(fields, dict):
            lines = tuple(str(line)[:400] for line in log[-_CRASH_LINES:]) if isinstance(log, list) else ()
            told = {name: value for name, value in _trimmed(fields).items() if name not in {"code", "log", "self"}}
            path = refused_write(lines or tail) if code in _USER_CODE_FAILED else None
            if path is not None:  # the line to mend is not wrong, only its place: that is what must be said
                return Problem("read-only-place", path=path, how=how, log=lines or tail)
            return Problem(code, log=lines or tail, **told)
    path = refused_write(tail)
    if path is not None and status > 0:
        return Problem("read-only-place", path=path, how=how, log=tail)
    return (missing_part(tail, how) if status > 0 else None) or Problem("start-crashed", how=how, log=tail)


def refused_write(lines: Sequence[str]) -> str | None:
    """The path that a crashed process was refused, by its last lines; None when they speak of none.

    Why  a release may write below $TMPDIR only, and a traceback does not say so
    """
    for line in lines[-_LAST_WORDS:]:  # what it wrote before may have been a warning that it lived with
        for pattern in _NOT_WRITABLE:
            found = pattern.search(line)
            if found is not None and not found[1].startswith(_NOT_FILES):
                return found[1]
    return None
