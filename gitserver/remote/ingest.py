"""Take a pack from the wire into a quarantine, within limits, and always to its end (contracts/git.md P5).

Why     a verdict while the client still sends is never seen: it reports a broken pipe instead (F17). So a refusal waits
        until index-pack has ended and the rest was thrown away.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitserver.errors import Problem
from gitserver.remote.channel import Wire
from gitserver.remote.native import PACK_S, git_argv, git_env, last_words, start_git
from gitserver.remote.quarantine import Quarantine

MAX_OBJECTS = 5_000_000
IDLE_FIRST_S = 30 * 60.0  # the client compresses before the first byte
IDLE_S = 5 * 60.0
_CHUNK_BYTES = 64 * 1024
_LOOK_BYTES = 64 * 1024**2  # how often the disk is looked at
_SPARE_BYTES = 64 * 1024**2  # kept free whatever a push wants


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What came. object_count 0: the empty pack of a client whose objects we all have."""

    object_count: int
    size_bytes: int


def ingest(
    quarantine: Quarantine,
    wire: Wire,
    *,
    max_bytes: int,
    shallow: Sequence[str],
    on_progress: Callable[[bytes], None],
) -> Ingested:
    """Read one pack, check every object of it, leave it in the quarantine. The caller drops that on any error.

    shallow      commits at which the client's history ends (F18)
    on_progress  gets what index-pack says, raw, from a thread of its own
    Raises       Problem('pack-incomplete' | 'bad-pack' | 'pack-too-big' | 'too-many-objects' | 'disk-full')
    """
    wire.set_idle(IDLE_FIRST_S)
    header = _read_exactly(wire, 12)
    wire.set_idle(IDLE_S)
    if header[:4] != b"PACK" or header[4:8] not in (b"\0\0\0\2", b"\0\0\0\3"):
        raise _drained(wire, Problem("bad-pack", detail="it does not begin like a pack"))
    object_count = int.from_bytes(header[8:], "big")
    if object_count == 0:
        if _read_exactly(wire, 20) != hashlib.sha1(header, usedforsecurity=False).digest():
            raise _drained(wire, Problem("bad-pack", detail="its checksum does not match"))
        return Ingested(object_count=0, size_bytes=32)
    if object_count > MAX_OBJECTS:
        raise _drained(wire, Problem("too-many-objects", found=object_count, limit=MAX_OBJECTS))
    return _index(_Pump(wire, header, quarantine.repo_path, max_bytes), quarantine, object_count, shallow, on_progress)


def check_space(repo_path: Path, known_bytes: int) -> None:
    """Twice the known size and a reserve have to be free. Raises Problem('disk-full', needs=, free=)."""
    free = shutil.disk_usage(repo_path).free
    needs = 2 * known_bytes + _SPARE_BYTES
    if free < needs:
        raise Problem("disk-full", needs=show_bytes(needs), free=show_bytes(free))


def show_bytes(count: int) -> str:
    """1500000 -> `1.5 MB`: sizes as people read them in a push."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class _Pump:
    """Wire -> index-pack in a thread of its own; goes on reading after the child ended, so that the client can end."""

    def __init__(self, wire: Wire, header: bytes, repo_path: Path, max_bytes: int) -> None:
        self._wire, self._first, self._repo_path, self.max_bytes = wire, header, repo_path, max_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="pack-pump", daemon=True)
        self.problem: Problem | None = None
        self.is_cut = False
        self.received = len(header)

    def start(self, child: subprocess.Popen[bytes]) -> None:
        """Begin to feed the child."""
        self._child = child
        self._thread.start()

    def finish(self) -> None:
        """The child has ended: let the client's rest pass, then stop."""
        self._wire.close_read()
        self._thread.join(IDLE_S + 5)

    def _run(self) -> None:
        child, data = self._child, self._first
        assert child is not None
        assert child.stdin is not None
        target: int | None = child.stdin.fileno()
        look_at = _LOOK_BYTES
        while data:
            if target is not None:
                target = self._feed(target, data)
            if self.received >= look_at:
                look_at += _LOOK_BYTES
                target = self._look(target)
            data = self._read()
            self.received += len(data)
        if target is not None:
            child.stdin.close()

    def _feed(self, target: int, data: bytes) -> int | None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(target, view) :]
        except BrokenPipeError:
            return None
        return target

    def _look(self, target: int | None) -> int | None:
        """Limits that grow with what came; a refusal ends the child and lets the rest run into nothing."""
        try:
            if self.received > self.max_bytes:
                raise Problem("pack-too-big", limit=show_bytes(self.max_bytes))
            if target is not None:
                check_space(self._repo_path, 0)
        except Problem as problem:
            self.problem = self.problem or problem
            if self._child is not None:
                self._child.kill()
            if self.received > 4 * self.max_bytes:  # politeness has an end
                self._wire.close_read()
            return None
        return target

    def _read(self) -> bytes:
        try:
            return self._wire.read(_CHUNK_BYTES)
        except OSError:  # TimeoutError too: silence and a lost connection are the same to a pack
            self.is_cut = True
            return b""


def _index(
    pump: _Pump,
    quarantine: Quarantine,
    object_count: int,
    shallow: Sequence[str],
    on_progress: Callable[[bytes], None],
) -> Ingested:
    check_space(quarantine.repo_path, 0)
    arguments = [
        "index-pack", "--stdin", "--fix-thin", "--strict", f"--max-input-size={pump.max_bytes}",
        "--show-resolving-progress",
    ]  # fmt: skip
    argv = git_argv(*arguments, shallow_file=_shallow_file(quarantine, shallow))
    env = git_env(quarantine.repo_path, quarantine.env())
    errors: list[bytes] = []
    with start_git(argv, env, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        pump.start(child)
        teller = threading.Thread(target=_tell, args=(child, errors, on_progress), daemon=True)
        teller.start()
        try:
            assert child.stdout is not None
            said = child.stdout.read(4096)
            status = child.wait(PACK_S)
            teller.join(10)
        finally:
            pump.finish()
    stderr = b"".join(errors)
    if pump.problem is not None:
        raise pump.problem
    if status != 0:
        raise _why(pump, stderr)
    if len(said) != 46 or not said.startswith(b"pack\t"):
        raise Problem("bad-pack", detail="bytes follow the end of the pack")
    return Ingested(object_count=object_count, size_bytes=pump.received)


def _why(pump: _Pump, stderr: bytes) -> Problem:
    if b"maximum allowed size" in stderr:
        return Problem("pack-too-big", limit=show_bytes(pump.max_bytes))
    if b"No space left" in stderr:
        return Problem("disk-full", needs="more than that", free="none")
    if pump.is_cut or b"early EOF" in stderr:
        return Problem("pack-incomplete", received=show_bytes(pump.received))
    return Problem("bad-pack", detail=last_words(stderr))


def _tell(child: subprocess.Popen[bytes], errors: list[bytes], on_progress: Callable[[bytes], None]) -> None:
    assert child.stderr is not None
    while data := os.read(child.stderr.fileno(), 8192):
        errors[:] = [*errors[-8:], data]  # the end says why
        if not data.startswith((b"fatal", b"error")):
            on_progress(data)


def _shallow_file(quarantine: Quarantine, shallow: Sequence[str]) -> Path | None:
    if not shallow:
        return None
    own = quarantine.repo_path / "shallow"
    known = own.read_text(encoding="ascii").split() if own.exists() else []
    path = quarantine.path / "shallow-told"
    path.write_text("".join(f"{oid}\n" for oid in sorted({*known, *shallow})), encoding="ascii")
    return path


def _read_exactly(wire: Wire, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            more = wire.read(size - len(data))
        except OSError:
            more = b""
        if not more:
            raise Problem("pack-incomplete", received=show_bytes(len(data)))
        data += more
    return data


def _drained(wire: Wire, problem: Problem) -> Problem:
    wire.close_read()
    return problem
