"""Clone and fetch: native `git upload-pack`, protocol 0 to 2, partial and shallow; tags are visible here."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from gitserver.errors import Problem
from gitserver.remote.native import checked_git_protocol, git_argv, git_env, last_words, run_git, start_git
from gitserver.remote.objects import FLUSH, make_pkt

_CHUNK_BYTES = 64 * 1024
_MAX_REQUEST_BYTES = 64 * 1024**2  # wants and haves of a fetch: 50 bytes each
_SPOOL_BYTES = 1024 * 1024
_INFLATE_FREE_BYTES = 1024 * 1024  # below this any ratio is harmless
_INFLATE_RATIO = 100
_INFLATE_MAX_BYTES = 1024**3


def fetch_command(repo_path: Path, git_protocol: str | None) -> tuple[list[str], Mapping[str, str]]:
    """Arguments and environment of an upload-pack that speaks for itself (SSH)."""
    argv = git_argv("upload-pack", "--strict", "--timeout=300", str(repo_path))
    return argv, git_env(repo_path, checked_git_protocol(git_protocol))


def advertise_fetch(repo_path: Path, git_protocol: str | None) -> bytes:
    """The answer to `info/refs?service=git-upload-pack`. Source: gitprotocol-http(5), http-backend.c."""
    protocol = checked_git_protocol(git_protocol)
    arguments = ["upload-pack", "--strict", "--http-backend-info-refs", str(repo_path)]
    done = run_git(repo_path, arguments, env=protocol)
    if done.returncode != 0:
        raise Problem("git-broken", command="upload-pack", status=done.returncode, detail=last_words(done.stderr))
    if protocol.get("GIT_PROTOCOL") == "version=2":
        return done.stdout
    return make_pkt(b"# service=git-upload-pack\n") + FLUSH + done.stdout


def spool_request(read: Callable[[int], bytes]) -> SpooledTemporaryFile[bytes]:
    """A fetch request read to its end, so that the answer never crosses it; large ones lie on disk.

    Raises  Problem('body-too-big', limit=)
    """
    spool: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 -- the caller's
    size = 0
    try:
        while data := read(_CHUNK_BYTES):
            size += len(data)
            if size > _MAX_REQUEST_BYTES:
                raise Problem("body-too-big", limit="64 MiB")
            spool.write(data)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool


def answer_fetch(repo_path: Path, request: SpooledTemporaryFile[bytes], git_protocol: str | None) -> Iterator[bytes]:
    """The pack as it is made. Closing the iterator ends the child."""
    argv = git_argv("upload-pack", "--strict", "--stateless-rpc", "--timeout=300", str(repo_path))
    env = git_env(repo_path, checked_git_protocol(git_protocol))
    with request:
        request.rollover()  # a child needs a descriptor
        request.seek(0)
        with start_git(argv, env, stdin=request.fileno(), stderr=subprocess.DEVNULL) as child:
            assert child.stdout is not None
            yield from _pieces(child.stdout)


def inflating(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A reader of what a gzip stream holds, bounded (contracts/security.md: 1 GiB or 100 : 1).

    Raises (at a read)  Problem('body-bomb'); Problem('bad-body') for what is not gzip, or is cut
    """
    inflater = zlib.decompressobj(wbits=31)
    taken = given = 0

    def inflate(size: int) -> bytes:
        nonlocal taken, given
        while not inflater.eof:
            data = inflater.unconsumed_tail or read(_CHUNK_BYTES)
            if not data:
                raise Problem("bad-body", detail="the gzip stream is cut")
            taken += len(data) if data is not inflater.unconsumed_tail else 0
            try:
                piece = inflater.decompress(data, size)
            except zlib.error as error:
                raise Problem("bad-body", detail=f"not gzip: {error}") from error
            given += len(piece)
            if given > _INFLATE_MAX_BYTES or given > max(_INFLATE_FREE_BYTES, _INFLATE_RATIO * taken):
                raise Problem("body-bomb", limit="1 GiB, or 100 to 1")
            if piece:
                return piece
        while read(_CHUNK_BYTES):
            pass  # what follows the stream means nothing; it is read so that the client can listen
        return b""

    return inflate


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    # read1: what is there goes out at once, so that progress is seen as it happens
    while data := stream.read1(_CHUNK_BYTES):  # type: ignore[attr-defined]  # a pipe of Popen is a BufferedReader
        yield data
