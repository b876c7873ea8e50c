"""On which TCP ports processes listen, and for whom: asked of the kernel, for what accepts may be a proxy.

Source  proc(5), /proc/net/tcp: addresses are hexadecimal words in the machine's byte order (little-endian here)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TCP_LISTEN = "0A"  # include/net/tcp_states.h
_TABLES = ("tcp", "tcp6")
_LOOPBACK_6 = "00000000000000000000000001000000"
_MAPPED_4 = "0000000000000000FFFF0000"
# The engine's own name server listens there, inside every container that has a network of its own.
_ENGINE_DNS = "0B00007F"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Listener:
    """A port that accepts connections. is_local: only from within its own network, by 127.0.0.1 or ::1."""

    port: int
    is_local: bool


def listeners_of(pids: Iterable[int]) -> Sequence[Listener]:
    """Where any of the processes listens; they share our network."""
    inodes = _sockets(pids)
    return _read("/proc/net", lambda inode: inode in inodes)


def listeners_in(pid: int) -> Sequence[Listener]:
    """Where anything listens in the network of a process; none when it is gone."""
    return _read(f"/proc/{pid}/net", lambda _inode: True)


def parse_table(lines: Sequence[str], is_wanted: Callable[[str], bool]) -> Sequence[Listener]:
    """The listeners of a table without its heading. is_wanted: by the inode of the socket."""
    found = []
    for line in lines:
        fields = line.split()
        address, _, port = fields[1].rpartition(":")
        if fields[3] == _TCP_LISTEN and address != _ENGINE_DNS and is_wanted(fields[9]):
            found.append(Listener(port=int(port, 16), is_local=_is_loopback(address)))
    return found


def _read(folder: str, is_wanted: Callable[[str], bool]) -> Sequence[Listener]:
    found: set[Listener] = set()
    for table in _TABLES:
        try:
            lines = Path(folder, table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue  # no IPv6 here, or the process ended
        found |= set(parse_table(lines, is_wanted))
    return sorted(found)


def _is_loopback(address: str) -> bool:
    if len(address) == len(_ENGINE_DNS):
        return address.endswith("7F")
    return address == _LOOPBACK_6 or (address.startswith(_MAPPED_4) and address.endswith("7F"))


def _sockets(pids: Iterable[int]) -> set[str]:
    inodes = set()
    for pid in pids:
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                target = str(link.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        except OSError:
            continue  # it ended, or a descriptor closed, while we looked
    return inodes
