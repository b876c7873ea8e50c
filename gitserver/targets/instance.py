"""The folder of an instance: what a later worker needs to adopt it, and what it says of itself.

    run/instances/<instance>/   the server's own, 0711
        instance.json           pid, its start time, the spec's image and address: enough to adopt or to bury it
        endpoint                the address, from the moment it is ready
        log                     stdout and stderr
        s                       the socket of a ready shim: a hard link of io/s
        io/                     the instance's own, 0700: s (socket), ready.json, termination.json, tmp/, home/

Rules of this file
1. io/ belongs to whoever runs in it: its files are opened without following links, must be plain, and are read bounded.
2. A pid is an instance only together with its start time and the machine's boot; pids come back.
3. Nobody connects to a name in io/: its owner could put a link to one of the server's own sockets there. publish()
   links the socket itself to a place of ours, once, and that place is the address.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gitserver.errors import Json

MARK = "ALGO_INSTANCE"  # in every child's environment: finds what left its session, where there is no control group
MAX_REPORT_BYTES = 256 * 1024
_MAX_SOCKET_PATH = 100  # sun_path holds 108 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Paths of one instance."""

    path: Path

    @property
    def io(self) -> Path:
        """The instance's own corner."""
        return self.path / "io"

    @property
    def bind(self) -> Path | None:
        """Where the shim listens; None when the path is too long for a socket's address."""
        path = self.io / "s"
        return path if len(os.fsencode(path)) < _MAX_SOCKET_PATH else None

    @property
    def socket(self) -> Path:
        """Where it is called, after publish()."""
        return self.path / "s"

    @property
    def ready(self) -> Path:
        """Facts of a shim that is ready."""
        return self.io / "ready.json"

    @property
    def termination(self) -> Path:
        """Why a shim ended before it was ready."""
        return self.io / "termination.json"

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self.path / "log"

    def make(self, uid: int | None) -> None:
        """Empty, whatever an earlier attempt left."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True, mode=0o711)
        self.path.chmod(0o711)
        for folder in (self.io, self.io / "tmp", self.io / "home"):
            folder.mkdir(mode=0o700)
            if uid is not None:
                os.chown(folder, uid, uid)

    def open_log(self) -> int:
        """A descriptor for its output: it appends, so that the file can be cut while it is written."""
        return os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def publish(self) -> bool:
        """Give the shim's socket its address; False when what lies in io/ is no socket (yet)."""
        draft = self.path / f".s-{secrets.token_hex(4)}"
        try:
            os.link(self.io / "s", draft, follow_symlinks=False)
        except OSError:
            return False
        if not stat.S_ISSOCK(os.lstat(draft).st_mode):
            draft.unlink()
            return False
        draft.rename(self.socket)
        return True

    def remove(self) -> None:
        """Nothing of it stays."""
        shutil.rmtree(self.path, ignore_errors=True)

    def tail(self, lines: int) -> tuple[str, ...]:
        """The last lines it wrote, oldest first."""
        text = read_plain(self.log, tail=True)
        return tuple(line for line in text.decode("utf-8", "replace").splitlines() if line.strip())[-lines:]

    def read_report(self, path: Path) -> dict[str, Json] | None:
        """A JSON object that the instance wrote; None when there is none, or what is there is no such thing."""
        try:
            value = json.loads(read_plain(path))
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A process that cannot be mistaken for a later one of the same number."""

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        """It runs, and is no zombie."""
        found = read_stat(self.pid)
        return found is not None and found == self.start_ticks


NO_LIFE = Life(pid=0, start_ticks=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """instance.json: written when the process was started, again when it was ready."""

    life: Life
    address: str
    app_id: int
    label: str
    image_digest: str
    facts: Mapping[str, Json] | None

    def write(self, folder: Folder) -> None:
        """By rename, so that a crash leaves the old one or the new one."""
        document = {
            "pid": self.life.pid, "start_ticks": self.life.start_ticks, "address": self.address,
            "app_id": self.app_id, "label": self.label, "image_digest": self.image_digest,
            "facts": None if self.facts is None else dict(self.facts), "boot": boot_id(),
        }  # fmt: skip
        _replace(folder.path / "instance.json", json.dumps(document))

    def with_facts(self, facts: Mapping[str, Json]) -> Note:
        """The note of one that is ready."""
        return replace(self, facts=facts)

    @classmethod
    def read(cls, folder: Folder) -> Note | None:
        """What an earlier worker wrote; None when it is not there or not whole. A reboot leaves NO_LIFE of it."""
        try:
            value = json.loads(read_plain(folder.path / "instance.json"))
            life = Life(pid=int(value["pid"]), start_ticks=int(value["start_ticks"]))
            return cls(
                life=life if value["boot"] == boot_id() else NO_LIFE, address=str(value["address"]),
                app_id=int(value["app_id"]), label=str(value["label"]), image_digest=str(value["image_digest"]),
                facts=value["facts"],
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            return None


def write_endpoint(folder: Folder, address: str) -> None:
    """From now on the gateway finds it."""
    _replace(folder.path / "endpoint", address)


def read_plain(path: Path, *, tail: bool = False) -> bytes:
    """A bounded part of a plain file, b"" when it is none or not there: links and pipes are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b""
        if tail and status.st_size > MAX_REPORT_BYTES:
            file.seek(status.st_size - MAX_REPORT_BYTES)
        return file.read(MAX_REPORT_BYTES)


def read_stat(pid: int, *, zombies: bool = False) -> int | None:
    """The start time of a process in clock ticks since boot; None for a zombie, unless asked for, and for no process.

    Source  proc(5), stat fields 3 and 22
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} and not zombies else int(fields[19])


def boot_id() -> str:
    """Tells one start of the machine from another. Source: random(4)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.rename(path)
