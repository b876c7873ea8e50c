"""Layers as registries keep them: compressed once, the same bytes each time, and weights as they are.

    blobs/sha256/<hex>     compressed layers
    blobs/notes/<hex>      of a diff id: which blob it became, or that it stays as it is

Rules of this file
1. A layer is cut into chunks of 4 MiB that are compressed side by side (zlib runs without the interpreter's lock) and
   joined as gzip members: valid for every reader, and the bytes do not depend on how many processors there were.
2. What was decided once stays: another zlib would make other bytes, and every registry would get the layer again.

Source  RFC 1952 2.2 (members), contracts 4.3 (weights do not shrink: 22 MB/s for a ratio of 1.000)
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from buildpacks.image.config import hex_of
from buildpacks.image.values import LAYER, LAYER_GZIP, Blob, ImageLayer

_CHUNK = 4 * 1024 * 1024
_SAMPLE_CHUNKS = 2
_LEVEL = 1  # measured on a Debian stack: 0.38 at 71 MB/s a core; level 6 has 0.34 at 23 MB/s
_GZIP_FORMAT = 31  # zlib's number for a gzip header, without a name and with time 0
_LEAST_GAIN = 0.05
_MAX_THREADS = 8
_WEIGHTS = (
    ".safetensors", ".gguf", ".ggml", ".onnx", ".pt", ".pth", ".bin", ".keras", ".h5", ".hdf5", ".npy", ".npz",
    ".tflite", ".pb", ".ckpt", ".msgpack", ".zip", ".gz", ".xz", ".zst",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A layer as a blob. path: where its bytes lie; None: they are the layer's own tar, to be read from it."""

    blob: Blob
    path: Path | None


def find_packed(layer: ImageLayer, blobs_dir: Path) -> Packed | None:
    """What a layer's blob is, as far as that is known without reading the layer."""
    if layer.stored is not None and layer.stored[0].media_type != LAYER:
        return Packed(blob=layer.stored[0], path=layer.stored[1])
    if layer.kind == "slice" and layer.title.lower().endswith(_WEIGHTS):
        return Packed(blob=layer.plain, path=None)
    blob = _read_note(_note_path(layer, blobs_dir))
    if blob is None:
        return None
    if blob.digest == layer.diff_id:
        return Packed(blob=layer.plain, path=None)
    return Packed(blob=blob, path=_blob_path(blob.digest, blobs_dir))


def compressed(layer: ImageLayer, blobs_dir: Path) -> Packed:
    """A layer as a blob whose bytes lie on this disk, or can be read from the layer; compressed when it never was.

    Raises  BuildFailed('layer-damaged'), from reading the layer; nothing of it is kept then
    """
    known = find_packed(layer, blobs_dir)
    if known is not None and (known.path is None or known.path.is_file()):
        return known
    blobs_dir.mkdir(parents=True, exist_ok=True)
    draft = blobs_dir / f".{secrets.token_hex(8)}"
    try:
        blob = _compress(layer, draft)
        if blob.digest != layer.diff_id:
            _move(draft, _blob_path(blob.digest, blobs_dir))
    finally:
        draft.unlink(missing_ok=True)
    note = _note_path(layer, blobs_dir)
    document = {"digest": blob.digest, "media_type": blob.media_type, "size_bytes": blob.size_bytes}
    draft.write_text(json.dumps(document), encoding="ascii")
    _move(draft, note)
    packed = find_packed(layer, blobs_dir)
    assert packed is not None, "the note was written just now"
    return packed


def read_from(path: Path, offset: int) -> Iterator[bytes]:
    """A file's bytes from an offset on."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while chunk := file.read(1 << 20):
            yield chunk


def _compress(layer: ImageLayer, draft: Path) -> Blob:
    """Write the layer compressed; answers its plain blob when a sample shows that it would not shrink."""
    digest = hashlib.sha256()
    read_bytes = size_bytes = 0
    with draft.open("xb", buffering=0) as file:
        for number, (chunk_bytes, member) in enumerate(_members(layer.read()), start=1):
            read_bytes, size_bytes = read_bytes + chunk_bytes, size_bytes + len(member)
            is_sample = number <= _SAMPLE_CHUNKS and read_bytes >= min(_SAMPLE_CHUNKS * _CHUNK, layer.tar_bytes)
            if is_sample and size_bytes > read_bytes * (1 - _LEAST_GAIN):
                return layer.plain
            digest.update(member)
            file.write(member)
    return Blob(digest=f"sha256:{digest.hexdigest()}", size_bytes=size_bytes, media_type=LAYER_GZIP)


def _members(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """(bytes read, gzip member) of each 4 MiB, in order. A few are under way at once: memory stays bounded."""
    threads = min(os.cpu_count() or 1, _MAX_THREADS)
    waiting: deque[tuple[int, Future[bytes]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="compress") as pool:
        for chunk in _even(chunks):
            waiting.append((len(chunk), pool.submit(_member, chunk)))
            if len(waiting) > threads:
                size, member = waiting.popleft()
                yield size, member.result()
        while waiting:
            size, member = waiting.popleft()
            yield size, member.result()


def _member(chunk: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    return packer.compress(chunk) + packer.flush()


def _even(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of exactly 4 MiB, however they came: the boundaries decide the compressed bytes."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= _CHUNK:
            yield bytes(held[:_CHUNK])
            del held[:_CHUNK]
    if held:
        yield bytes(held)


def _move(draft: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.rename(final)


def _blob_path(digest: str, blobs_dir: Path) -> Path:
    return blobs_dir / "sha256" / hex_of(digest)


def _note_path(layer: ImageLayer, blobs_dir: Path) -> Path:
    return blobs_dir / "notes" / hex_of(layer.diff_id)


def _read_note(path: Path) -> Blob | None:
    try:
        document = json.loads(path.read_bytes())
        return Blob(
            digest=str(document["digest"]),
            size_bytes=int(document["size_bytes"]),
            media_type=str(document["media_type"]),
        )
    except FileNotFoundError:
        return None
