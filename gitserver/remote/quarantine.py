"""A pushed pack waits here, invisible to the repository, until its release serves (contracts/git.md P5, P6, P11).

Rules of this file
1. No pack is ever in Python's memory: bytes go from the wire into `git index-pack` 64 KiB at a time.
2. Nothing is believed before index-pack has checked every object and rev-list has proven that none is missing.
3. Moving in is idempotent and makes the pack visible last, so a crash in the middle is repaired by doing it again.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitserver.errors import Problem
from gitserver.remote.native import last_words, run_git

_PREFIX = "tmp_objdir-incoming-"  # git's own name for it: git's gc knows that such a folder is not garbage yet
_ID = re.compile(r"[0-9a-f]{32}")
_SHALLOW_NEW = "shallow-new"  # the commits whose parents the client does not have and we do not either
_SHALLOW_VIEW = "shallow-view"  # those and the repository's own: what readers of this quarantine see


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """One push's objects. quarantine_id is what the durable build remembers."""

    repo_path: Path
    quarantine_id: str

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.quarantine_id):  # it becomes a folder that is removed with all it holds
            raise ValueError("a quarantine id is 32 hex digits")

    @classmethod
    def create(cls, repo_path: Path) -> Quarantine:
        """An empty one, beside the repository's objects."""
        quarantine = cls(repo_path=repo_path, quarantine_id=uuid.uuid4().hex)
        (quarantine.path / "pack").mkdir(parents=True, mode=0o700)
        return quarantine

    @property
    def path(self) -> Path:
        """The folder; it is gone after migrate() or drop()."""
        return self.repo_path / "objects" / f"{_PREFIX}{self.quarantine_id}"

    def env(self) -> dict[str, str]:
        """What a git child needs to see these objects as well as the repository's; {} once they have moved in.

        Never for a command that moves refs, nor for another repository (contracts/git.md B22).
        """
        if not self.path.exists():
            return {}
        shallow_view = self.path / _SHALLOW_VIEW
        return {
            "GIT_OBJECT_DIRECTORY": str(self.path),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.repo_path / "objects"),
            "GIT_QUARANTINE_PATH": str(self.path),
            **({"GIT_SHALLOW_FILE": str(shallow_view)} if shallow_view.exists() else {}),
        }

    def check_connected(self, new_oids: Sequence[str], shallow: Sequence[str] = ()) -> None:
        """Prove that everything reachable from the pushed objects is here or in the repository.

        shallow  commits at which the client's history ends. They are kept only when the proof needs them.
        Raises   Problem('objects-missing', detail=); Problem('shallow-unknown', commit=) for an absent boundary
        """
        done = self._walk(new_oids, self.env())
        if done is None:
            return
        if not shallow:
            raise Problem("objects-missing", detail=done)
        needed = self._shallow_boundary(shallow)
        own = self.repo_path / "shallow"
        known = own.read_text(encoding="ascii") if own.exists() else ""
        (self.path / _SHALLOW_NEW).write_text("".join(f"{oid}\n" for oid in needed), encoding="ascii")
        (self.path / _SHALLOW_VIEW).write_text(known + "".join(f"{oid}\n" for oid in needed), encoding="ascii")
        done = self._walk(new_oids, self.env())
        if done is not None:
            raise Problem("objects-missing", detail=done)

    def adopt_into(self, repo_path: Path) -> Quarantine:
        """Move to another repository: a first push waits in a repository without a name until its app exists."""
        moved = Quarantine(repo_path=repo_path, quarantine_id=self.quarantine_id)
        self.path.rename(moved.path)
        view = moved.path / _SHALLOW_VIEW
        own = repo_path / "shallow"
        if view.exists() and own.exists():
            view.write_text(own.read_text(encoding="ascii") + view.read_text(encoding="ascii"), encoding="ascii")
        return moved

    def migrate(self) -> None:
        """Make the objects part of the repository, durably. Hold repo_lock. Again, or after drop(): no-op."""
        if not self.path.exists():
            return
        target = self.repo_path / "objects" / "pack"
        packs = sorted((self.path / "pack").glob("pack-*.*"), key=_visible_last)
        for file in packs:
            if file.suffix in {".pack", ".rev", ".idx"}:
                _link(file, target / file.name)
        _sync_folder(target)
        self._keep_shallow()
        self.drop()

    def drop(self) -> None:
        """Forget the objects. Again: no-op."""
        shutil.rmtree(self.path, ignore_errors=False, onerror=_absent_is_fine)

    def _walk(self, new_oids: Sequence[str], env: dict[str, str]) -> str | None:
        """None when nothing is missing, else what git said. Source: git's own check, connected.c and P5."""
        arguments = ["rev-list", "--objects", "--quiet", "--stdin", "--not", "--exclude-hidden=receive", "--all"]
        text = "".join(f"{oid}\n" for oid in new_oids).encode()
        done = run_git(self.repo_path, [*arguments, "--alternate-refs"], env=env, stdin=text, timeout_s=3600)
        return None if done.returncode == 0 else last_words(done.stderr)

    def _shallow_boundary(self, shallow: Sequence[str]) -> list[str]:
        """Those of the client's boundary commits that were sent without their parents.

        Why     marking a commit whose parents we have would cut everybody's history there
        """
        env = {name: value for name, value in self.env().items() if name != "GIT_SHALLOW_FILE"}
        needed = []
        for oid in shallow:
            done = run_git(self.repo_path, ["cat-file", "commit", oid], env=env)
            if done.returncode != 0:
                continue  # a boundary of some other branch of the client's: nothing that was pushed reaches it
            head = done.stdout.split(b"\n\n", 1)[0]
            parents = [line[7:].decode("ascii") for line in head.split(b"\n") if line.startswith(b"parent ")]
            text = "".join(f"{parent}\n" for parent in parents).encode()
            answer = run_git(self.repo_path, ["cat-file", "--batch-check"], env=env, stdin=text)
            if b" missing" in answer.stdout:
                needed.append(oid)
        if not needed:
            raise Problem("objects-missing", detail="history ends where the client did not say that it does")
        return needed

    def _keep_shallow(self) -> None:
        new = self.path / _SHALLOW_NEW
        if not new.exists():
            return
        own = self.repo_path / "shallow"
        known = own.read_text(encoding="ascii").split() if own.exists() else []
        draft = self.repo_path / f"shallow.{self.quarantine_id}"
        lines = sorted({*known, *new.read_text(encoding="ascii").split()})
        draft.write_text("".join(f"{oid}\n" for oid in lines), encoding="ascii")
        _sync_file(draft)
        draft.rename(own)
        _sync_folder(self.repo_path)


def sweep(repo_path: Path, live_ids: Collection[str], *, older_than_s: float = 3600.0) -> list[str]:
    """Remove quarantines that no live build owns; the ids that went.

    older_than_s  a push that is still being received has no build yet: its folder is young
    """
    gone = []
    for folder in sorted((repo_path / "objects").glob(f"{_PREFIX}*")):
        quarantine_id = folder.name.removeprefix(_PREFIX)
        if not _ID.fullmatch(quarantine_id) or quarantine_id in live_ids:
            continue
        newest = max((path.stat().st_mtime for path in (folder, *folder.glob("pack/*"))), default=0.0)
        if time.time() - newest > older_than_s:
            Quarantine(repo_path=repo_path, quarantine_id=quarantine_id).drop()
            gone.append(quarantine_id)
    return gone


def _visible_last(path: Path) -> tuple[bool, str]:
    return path.suffix == ".idx", path.name  # git finds a pack by its index


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        return  # a pack's name is the hash of its objects: the same ones are there already
    _sync_file(target)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _absent_is_fine(_function: object, _path: str, error: tuple[type[BaseException], BaseException, object]) -> None:
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]
