"""Native git as a child process: its environment, its arguments, its exit status.

Rules of this file
1. The environment is built from nothing: no variable of the server, none of a client (contracts/git.md B22).
2. Every exit status is read and standard error is kept; no child outlives its `with` block.
3. Names from outside never stand where an option could; they go through standard input.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

from gitserver.errors import Problem

QUICK_S = 60.0  # for children that only look something up
PACK_S = 4 * 3600.0  # for children that follow a client's speed
_MEMORY_BYTES = 6 * 1024**3  # address space of one child: a bomb fails its allocation instead of the machine's
_STDERR_BYTES = 64 * 1024
_GIT_PROTOCOL = re.compile(r"version=[012]")

# Memory ceilings for reading packs; big blobs are streamed instead of deltified or held.
_CONFIG = (
    "core.bigFileThreshold=10m", "core.packedGitWindowSize=32m", "core.packedGitLimit=256m", "pack.threads=1",
    "core.fsync=loose-object,pack,pack-metadata,reference", "core.fsyncMethod=fsync", "safe.bareRepository=explicit",
    "gc.auto=0", "maintenance.auto=false", "core.hooksPath=/dev/null", "uploadpack.allowFilter=true",
)  # fmt: skip


@lru_cache(maxsize=1)
def git_program() -> str:
    """Absolute path of git. Raises Problem('git-missing')."""
    found = shutil.which("git", path=os.defpath + ":/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        raise Problem("git-missing")
    return found


def git_env(repo_path: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a git child that works on one repository.

    repo_path  becomes GIT_DIR, so that git never searches upward; it is safe.directory by being explicit
    """
    return {
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_DIR": str(repo_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        **(extra or {}),
    }


def git_argv(*arguments: str, shallow_file: Path | None = None) -> list[str]:
    """An argument list for git with our fixed configuration in front."""
    shallow = ["--shallow-file", str(shallow_file)] if shallow_file is not None else []
    return [git_program(), *(part for value in _CONFIG for part in ("-c", value)), *shallow, *arguments]


def checked_git_protocol(value: str | None) -> dict[str, str]:
    """GIT_PROTOCOL for a child when a client's value is exactly `version=0|1|2`, else nothing."""
    return {"GIT_PROTOCOL": value} if value is not None and _GIT_PROTOCOL.fullmatch(value) else {}


def run_git(
    repo_path: Path,
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float = QUICK_S,
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end with small input and output; the caller reads returncode.

    env     added to git_env(repo_path): quarantine variables
    Raises  Problem('git-timeout')
    """
    try:
        return subprocess.run(
            git_argv(*arguments),
            input=stdin,
            capture_output=True,
            env=git_env(repo_path, env),
            cwd="/",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Problem("git-timeout", command=arguments[0], seconds=int(timeout_s)) from error


def read_git(repo_path: Path, arguments: Sequence[str], *, stdin: bytes = b"") -> bytes:
    """Standard output of a command that has to succeed. Raises Problem('git-broken', command=, detail=)."""
    done = run_git(repo_path, arguments, stdin=stdin)
    if done.returncode != 0:
        raise Problem("git-broken", command=arguments[0], status=done.returncode, detail=last_words(done.stderr))
    return done.stdout


@contextmanager
def start_git(
    argv: Sequence[str], env: Mapping[str, str], *, stdin: int | IO[bytes], stderr: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A streaming child with a pipe as standard output; killed and reaped when the block is left."""
    child = subprocess.Popen(argv, env=env, cwd="/", stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, bufsize=-1)
    try:
        limit_child(child.pid)
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # what was buffered for a child that is gone
        child.wait()


def limit_child(pid: int) -> None:
    """Give a git child its memory ceiling. Set from here: code between fork and exec is unsafe beside threads."""
    try:
        resource.prlimit(pid, resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    except (ProcessLookupError, PermissionError):
        pass  # it ended already, or the operator set a lower hard limit, which holds


def read_tail(stream: IO[bytes]) -> bytes:
    """Everything a child writes to standard error, of which the end is kept."""
    kept = b""
    while data := os.read(stream.fileno(), 8192):
        kept = (kept + data)[-_STDERR_BYTES:]
    return kept


def last_words(stderr: bytes) -> str:
    """The lines of git's standard error that say why, in one line."""
    lines: Iterable[str] = stderr.decode(errors="replace").replace("\r", "\n").splitlines()
    told = [line.strip() for line in lines if line.strip() and "%" not in line]
    return " ".join(told[-4:])[:500] or "git said nothing"
