"""What a crashed process was refused, and where a process listens: both read out of text that is not ours."""

from __future__ import annotations

import pytest

from gitserver.targets.listening import Listener, parse_table
from gitserver.targets.readiness import refused_write


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("OSError: [Errno 30] Read-only file system: '/workspace/cache.db'", "/workspace/cache.db"),
        ("PermissionError: [Errno 13] Permission denied: '/var/lib/app'", "/var/lib/app"),
        ("Error: EROFS: read-only file system, open '/workspace/log.txt'", "/workspace/log.txt"),
        ("Error: EACCES: permission denied, mkdir '/data'", "/data"),
        ("mkdir: cannot create directory '/data': Read-only file system", "/data"),
        ("mkdir: cannot create directory \u2018/data\u2019: Permission denied", "/data"),
        ("2026/01/02 03:04:05 open /workspace/x.log: read-only file system", "/workspace/x.log"),
        ("sh: 1: cannot create /etc/x: Read-only file system", "/etc/x"),
        ("PermissionError: [Errno 13] Permission denied", None),
        ("PermissionError: [Errno 13] Permission denied: '/proc/1/environ'", None),
        ("ValueError: /workspace/x is read-only", None),
        ("sqlite3.OperationalError: unable to open database file", None),
    ],
)
def test_the_path_of_a_refused_write_is_found(line: str, path: str | None) -> None:
    assert refused_write(["Traceback (most recent call last):", line]) == path


def test_an_old_warning_is_not_the_cause_of_an_end() -> None:
    warning = "mkdir -p failed for path /home/x: [Errno 13] Permission denied: '/home/x'"
    assert refused_write([warning, "a", "b", "ValueError: no"]) is None


# Rows of /proc/net/tcp and tcp6 as the kernel writes them: address, state, inode.
def _row(address: str, state: str = "0A", inode: str = "1") -> str:
    return (
        f"   0: {address} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 20001 0 {inode} 1 0 100 0 0 10 0"
    )


@pytest.mark.parametrize(
    ("address", "listener"),
    [
        ("00000000:1F90", Listener(port=8080, is_local=False)),
        ("0100007F:1388", Listener(port=5000, is_local=True)),
        ("020011AC:1F90", Listener(port=8080, is_local=False)),
        ("00000000000000000000000000000000:1F90", Listener(port=8080, is_local=False)),
        ("00000000000000000000000001000000:1F90", Listener(port=8080, is_local=True)),
        ("0000000000000000FFFF00000100007F:1F90", Listener(port=8080, is_local=True)),
    ],
)
def test_a_listener_and_whom_it_hears(address: str, listener: Listener) -> None:
    assert parse_table([_row(address)], lambda _inode: True) == [listener]


def test_connections_strangers_and_the_engines_name_server_are_no_listeners() -> None:
    rows = [_row("00000000:1F90", state="01"), _row("00000000:1F91", inode="2"), _row("0B00007F:9C41")]
    assert parse_table(rows, lambda inode: inode == "1") == []
