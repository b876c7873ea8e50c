"""Repositories and their refs: made once, listed, moved in one transaction, under one lock.

Why     a compare-and-swap whose result is ignored tells two pushers that both won (contracts/security.md row 20); here
        the result is a value that the caller has to look at.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gitserver.errors import Problem
from gitserver.push import ZERO_OID
from gitserver.remote.native import QUICK_S, git_argv, git_env, last_words, read_git, run_git, start_git

_LOCK_NAME = "algo.lock"
STAGING_PREFIX = ".staging-"  # repositories of apps that do not exist yet
_DRAFT_PREFIX = ".draft-"
_LOCK_LOOK_S = 0.02
# A repository made by hand: no template, no hooks, no dependence on the operator's init.defaultBranch.
_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\tfsync = loose-object,pack,pack-metadata,reference
[receive]
\tautogc = false
[gc]
\tauto = 0
[transfer]
\tfsckObjects = true
[uploadpack]
\tallowFilter = true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefChange:
    """One ref to move: old is what it must be now, zeros for "absent"; new zeros deletes it."""

    git_ref: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefConflict:
    """The transaction moved nothing because this ref is not where it was expected; current zeros: it is absent."""

    git_ref: str
    expected: str
    current: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A ref as stored. peeled is the commit behind an annotated tag, else the same as oid."""

    oid: str
    peeled: str


def create_repository(repo_path: Path) -> None:
    """Make an empty bare repository with HEAD on main; one that exists is left as it is.

    It appears by rename, complete: two first pushes at once make one repository.
    """
    if (repo_path / "HEAD").exists():
        return
    repo_path.parent.mkdir(parents=True, exist_ok=True)
    draft = repo_path.parent / f"{_DRAFT_PREFIX}{uuid.uuid4().hex}"
    for folder in ("objects/pack", "objects/info", "refs/heads", "refs/tags"):
        (draft / folder).mkdir(parents=True)
    (draft / "config").write_text(_CONFIG, encoding="ascii")
    (draft / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")
    try:
        draft.rename(repo_path)
    except OSError:
        shutil.rmtree(draft)
        if not (repo_path / "HEAD").exists():
            raise
    _sync_folder(repo_path.parent)


def sweep_drafts(folder: Path, *, older_than_s: float = 24 * 3600.0) -> list[str]:
    """Remove what first pushes left beside the repositories when their process was killed; the names that went.

    older_than_s  a first push may wait that long for its client's upload (two hours) and send its pack
    """
    gone = []
    for path in sorted([*folder.glob(f"{STAGING_PREFIX}*"), *folder.glob(f"{_DRAFT_PREFIX}*")]):
        newest = max(found.stat().st_mtime for found in (path, *path.glob("objects/tmp_objdir-*/pack/*")))
        if time.time() - newest > older_than_s:
            shutil.rmtree(path)
            gone.append(path.name)
    return gone


def list_refs(repo_path: Path) -> dict[str, Ref]:
    """Every branch and tag by full name, in git's order; {} for a repository that was never made."""
    if not (repo_path / "HEAD").exists():
        return {}
    output = read_git(
        repo_path, ["for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", "refs/heads", "refs/tags"]
    )
    refs = {}
    for line in output.decode().splitlines():
        name, oid, *peeled = line.split(" ")
        refs[name] = Ref(oid=oid, peeled=peeled[0] if peeled and peeled[0] else oid)
    return refs


def move_refs(repo_path: Path, changes: Sequence[RefChange]) -> RefConflict | None:
    """Move all refs or none, durably; None when done, else the ref that stood in the way.

    Call it with repo_lock held, after the objects are in the repository (Quarantine.migrate).
    Raises  Problem('ref-transaction-failed', detail=) for what is no conflict: a full disk, a foreign lock file
    """
    lines = ["start", *_transaction(changes), "prepare", "commit", ""]
    done = run_git(repo_path, ["update-ref", "--stdin"], stdin="\n".join(lines).encode())
    return None if done.returncode == 0 else _find_conflict(repo_path, changes, done.stderr)


class PreparedRefs:
    """A transaction whose refs are locked and proven to be where they were expected; it can only succeed."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def commit(self) -> None:
        """Move them all. Raises Problem('ref-transaction-failed')."""
        if not _say(self._child, ["commit"], b"commit: ok\n"):
            raise Problem("ref-transaction-failed", detail="the prepared transaction did not commit")


@contextmanager
def prepare_refs(repo_path: Path, changes: Sequence[RefChange]) -> Iterator[PreparedRefs]:
    """The two halves of move_refs: compare and lock now, move at commit(); left without it, nothing has moved.

    Why     a release is written and its calls routed between the two: no ref moves for what does not serve, and
            nothing serves whose ref cannot move
    Raises  Problem('ref-moved', ref=, found=, expected=) before the block is entered; as move_refs otherwise
    """
    argv, env = git_argv("update-ref", "--stdin"), git_env(repo_path)
    with tempfile.TemporaryFile() as errors, start_git(argv, env, stdin=subprocess.PIPE, stderr=errors) as child:
        if not _say(child, ["start", *_transaction(changes), "prepare"], b"start: ok\nprepare: ok\n"):
            child.wait(QUICK_S)
            errors.seek(0)
            conflict = _find_conflict(repo_path, changes, errors.read(65536))
            ref = conflict.git_ref.split("/", 2)[2]
            raise Problem("ref-moved", ref=ref, found=conflict.current[:7], expected=conflict.expected[:7])
        try:
            yield PreparedRefs(child)
        finally:
            if child.stdin is not None:
                child.stdin.close()  # without a commit git lets go of its locks here
            child.wait(QUICK_S)


def _transaction(changes: Sequence[RefChange]) -> list[str]:
    return [
        f"delete {change.git_ref} {change.old}"
        if change.new == ZERO_OID
        else f"update {change.git_ref} {change.new} {change.old}"
        for change in changes
    ]


def _say(child: subprocess.Popen[bytes], lines: Sequence[str], expected: bytes) -> bool:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write("".join(f"{line}\n" for line in lines).encode())
        child.stdin.flush()
    except BrokenPipeError:
        return False
    return child.stdout.read(len(expected)) == expected


def _find_conflict(repo_path: Path, changes: Sequence[RefChange], stderr: bytes) -> RefConflict:
    now = list_refs(repo_path)
    for change in changes:
        current = now[change.git_ref].oid if change.git_ref in now else ZERO_OID
        if current != change.old:
            return RefConflict(git_ref=change.git_ref, expected=change.old, current=current)
    raise Problem("ref-transaction-failed", detail=last_words(stderr))


def is_ancestor(repo_path: Path, ancestor: str, descendant: str, env: Mapping[str, str] | None = None) -> bool:
    """Whether every commit of `ancestor` is in `descendant`'s history; a commit is its own ancestor.

    env     Quarantine.env() while the descendant is not in the repository yet
    Raises  Problem('git-broken') when one of the two is no commit that exists
    """
    done = run_git(repo_path, ["merge-base", "--is-ancestor", ancestor, descendant], env=env)
    if done.returncode not in (0, 1):
        raise Problem("git-broken", command="merge-base", status=done.returncode, detail=last_words(done.stderr))
    return done.returncode == 0


def peel(repo_path: Path, oids: Sequence[str], env: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Object id -> the commit behind it (itself, or what a tag object points to); None: no commit, or absent."""
    if not oids:
        return {}
    questions = "".join(f"{oid}^{{commit}}\n" for oid in oids).encode()
    done = run_git(repo_path, ["cat-file", "--batch-check=%(objectname) %(objecttype)"], env=env, stdin=questions)
    answers = done.stdout.decode(errors="replace").splitlines()
    if done.returncode != 0 or len(answers) != len(oids):
        raise Problem("git-broken", command="cat-file", status=done.returncode, detail=last_words(done.stderr))
    return {oid: _commit_of(answer) for oid, answer in zip(oids, answers, strict=True)}


@contextmanager
def repo_lock(repo_path: Path, *, timeout_s: float = 60.0) -> Iterator[None]:
    """Alone with the refs and packs of one repository, across processes; the kernel lets go when a holder dies.

    Hold it around migrate and move_refs, never around a build (contracts/git.md B14).
    Raises  Problem('repo-busy', seconds=)
    """
    descriptor = os.open(repo_path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_at = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_at:
                    raise Problem("repo-busy", seconds=int(timeout_s)) from None
                time.sleep(_LOCK_LOOK_S)
        yield
    finally:
        os.close(descriptor)


def _commit_of(answer: str) -> str | None:
    oid, _, kind = answer.partition(" ")
    return oid if kind == "commit" else None


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
