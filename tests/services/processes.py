"""Which processes belong to a server: read from /proc, so that nothing the server says has to be believed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def processes_of(state: Path) -> dict[int, str]:
    """Living processes that name the state folder in command line, environment or working directory.

    state    its path, unique to one server
    returns  pid -> command line; zombies are not counted, they hold nothing
    """
    mark = os.fsencode(str(state))
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
            folder = os.fsencode((entry / "cwd").readlink())
        except OSError:  # it ended while we looked, or it is another user's
            continue
        if command and any(mark in text for text in (command, environment, folder)):
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def kill_all(state: Path, *, within_s: float = 10) -> None:
    """SIGKILL to everything of that server, again until nothing new appears: what a power cut does."""
    deadline = time.monotonic() + within_s
    while found := processes_of(state):
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise AssertionError(f"these survived SIGKILL for {within_s:g} s: {found}")
        time.sleep(0.02)


def parts_of(state: Path, name: str) -> list[int]:
    """Pids of one of the server's own processes: gateway, web, ssh or worker."""
    return [pid for pid, command in processes_of(state).items() if f"gitserver.serve.{name}" in command]
