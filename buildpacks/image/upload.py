"""Brings one blob into a repository: in one request when it is small, in chunks that can be gone on with when not.

Rules of this file
1. The registry is asked where it is after every interruption; what it has is not sent again.
2. A blob exists in the registry only after a PUT with its digest, which the registry compares with what it got:
   bytes that were changed on the way, or in our own store, never become a blob.
3. Attempts are counted from the last progress, and they end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from buildpacks.image.answers import PASSING, Answer, is_full, refusal
from buildpacks.image.registry import ATTEMPTS, Interrupted, pause_s
from buildpacks.image.repository import Repository, Upload, after
from buildpacks.image.traffic import Body
from buildpacks.image.values import Blob
from buildpacks.order import BuildFailed

CHUNK_BYTES = 64 * 1024 * 1024
_LOST = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A blob's bytes. title: for people; open_at: the bytes from an offset on, as often as needed."""

    blob: Blob
    title: str
    open_at: Callable[[int], Iterator[bytes]]


def upload_blob(repository: Repository, source: Source, upload: Upload) -> None:
    """Send a blob into an upload that was begun.

    Raises  BuildFailed: what the registry refuses with, registry-broke-off and the like after the last attempt,
            layer-damaged when the bytes are not what they should be
    """
    sending = _Sending(repository, source, upload)
    try:
        while not sending.step():
            continue
    except BuildFailed:
        repository.cancel(sending.upload)
        raise


class _Sending:
    def __init__(self, repository: Repository, source: Source, upload: Upload) -> None:
        self.upload = upload
        self._repository, self._source = repository, source
        self._failures = 0

    def step(self) -> bool:
        """One request; True when the blob is in the registry."""
        size, offset = self._source.blob.size_bytes, self.upload.offset
        chunk = max(CHUNK_BYTES, self.upload.chunk_bytes)
        in_chunks = self._repository.registry.takes_chunks and size > chunk
        is_chunk = offset < size and (in_chunks or offset > 0)
        try:
            if is_chunk:
                answer = self._repository.send_chunk(self.upload, self._body(offset, min(chunk, size - offset)))
            else:
                answer = self._repository.finish(
                    self.upload, self._source.blob.digest, self._body(offset, size - offset)
                )
        except Interrupted as interrupted:
            self._again(interrupted.failure, None)
            return False
        if answer.is_good:
            return self._took(answer, is_chunk=is_chunk, expected=min(offset + chunk, size))
        self._refused(answer, is_chunk=is_chunk)
        return False

    def _took(self, answer: Answer, *, is_chunk: bool, expected: int) -> bool:
        if not is_chunk:
            return True
        self.upload = after(self.upload, answer)
        if self.upload.offset <= 0:  # a registry that does not say how much it has, has all of it
            self.upload = Upload(url=self.upload.url, offset=expected, chunk_bytes=self.upload.chunk_bytes)
        self._failures = 0
        return False

    def _refused(self, answer: Answer, *, is_chunk: bool) -> None:
        failure = refusal(answer, self._repository.place, f"take {self._source.title}")
        may_pass = answer.status in PASSING and not is_full(answer)
        if may_pass or answer.status in {401, 416} or answer.codes() & _LOST:
            # 416: it has another number of bytes than we thought. A digest that does not fit: a line that changes
            # bytes, for ours were compared while they were read.
            self._again(failure, answer)
        elif is_chunk and self.upload.offset > 0 and self._repository.registry.takes_chunks and answer.status < 500:
            self._repository.registry.takes_chunks = False
            self._restart()
        else:
            raise failure

    def _again(self, failure: BuildFailed, answer: Answer | None) -> None:
        self._failures += 1
        if self._failures >= ATTEMPTS:
            raise failure
        self._repository.traffic.pause(pause_s(self._failures, answer))
        before = self.upload.offset
        found = self._repository.look_up(self.upload)
        if found is None or found.offset > self._source.blob.size_bytes:
            self._restart()
            return
        if found.offset > before:
            self._failures = 0
        self.upload = found

    def _restart(self) -> None:
        fresh = self._repository.start_upload()
        assert fresh is not None, "only a mount ends an upload before it begins"
        self.upload = fresh

    def _body(self, offset: int, size_bytes: int) -> Body | bytes:
        if size_bytes == 0:
            return b""
        is_end = offset + size_bytes == self._source.blob.size_bytes
        return Body(
            size_bytes, lambda: _cut(self._source.open_at(offset), size_bytes, is_end=is_end), self._repository.traffic
        )


def _cut(chunks: Iterator[bytes], size_bytes: int, *, is_end: bool) -> Iterator[bytes]:
    """The first size_bytes; at the end of a blob its source is read to its end, which is where it is verified."""
    left = size_bytes
    for chunk in chunks:
        if len(chunk) > left and is_end:
            raise BuildFailed("layer-unreadable", file="", message="it is longer than it was")
        if left:
            yield chunk[:left]
            left -= len(chunk[:left])
        if not left and not is_end:
            return
    if left:
        raise BuildFailed("layer-unreadable", file="", message="it is shorter than it was")
