"""Objects of a repository, streamed through one `git cat-file --batch`.

Why     questions go in batches that fit the child's pipe, so that neither side waits for the other, and a tree of a
        thousand files costs one child instead of a thousand
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from typing import IO

from gitserver.errors import Problem
from gitserver.remote.ingest import show_bytes

_BATCH = 500  # 41 bytes a question: 20 kB, well inside a pipe's 64 KiB


class CatFile:
    """Questions to one `git cat-file --batch`, answers in their order."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._in, self._out = child.stdin, child.stdout

    def ask(self, names: Sequence[str]) -> Iterator[tuple[str, int, IO[bytes]]]:
        """(kind, size, stream) for each name; the caller reads exactly size bytes before the next."""
        for start in range(0, len(names), _BATCH):
            batch = names[start : start + _BATCH]
            try:
                self._in.write("".join(f"{name}\n" for name in batch).encode())
                self._in.flush()
            except BrokenPipeError as error:
                raise Problem("objects-missing", detail="git ended while the tree was read") from error
            for name in batch:
                head = self._out.readline().decode(errors="replace").split()
                if len(head) != 3 or not head[2].isdigit():
                    raise Problem("objects-missing", detail=f"{name}: {' '.join(head[1:]) or 'git ended'}")
                yield head[1], int(head[2]), self._out
                if self._out.read(1) != b"\n":
                    raise Problem("objects-missing", detail=f"{name}: cut")

    def read_all(self, names: Sequence[str], *, limit: int) -> Iterator[bytes]:
        """Small objects whole, one after the other."""
        asked = iter(names)
        for _, size, stream in self.ask(names):
            yield read_object(stream, size, limit, next(asked))


def read_object(stream: IO[bytes], size: int, limit: int, what: str) -> bytes:
    """So many bytes, whole. Raises Problem('tree-too-big' | 'objects-missing')."""
    if size > limit:
        raise Problem("tree-too-big", what=what, limit=show_bytes(limit))
    data = stream.read(size)
    if len(data) != size:
        raise Problem("objects-missing", detail=f"{what}: cut")
    return data
