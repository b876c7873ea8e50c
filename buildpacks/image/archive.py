"""An image as one tar stream that is an OCI layout and a Docker archive at once: every engine takes it.

    oci-layout, index.json     read by containerd and by engines that keep images in it
    manifest.json              read by engines with a graph driver, which refuse a bare OCI layout
    blobs/sha256/<hex>         configuration, manifest, layers: named by both

Rules of this file
1. Same image, tags and omissions, same bytes. What is small comes first, layers follow bottom to top.
2. A layer that is left out is still named: whoever loads the archive must have it, and must be asked again after.

Source  contracts/buildpacks.md 4.1, measured; OCI image layout 1.1; moby image/tarexport/load.go
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from buildpacks.image.config import hex_of, render_config
from buildpacks.image.oci import blob_of, descriptor, digest_of, image_index, image_manifest
from buildpacks.image.reference import parse_reference
from buildpacks.image.tar import Entry, ending, header, header_length, padding
from buildpacks.image.values import LAYER_GZIP, MANIFEST, Blob, ImageLayer, OutboundImage
from buildpacks.image.verified import read_file, verified
from buildpacks.order import BuildFailed, Json

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_FOLDERS = (b"blobs/", b"blobs/sha256/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What is written, in order: small members, then layers.

    members  (name in the tar, contents)
    layers   blob, and where its bytes come from; None: an entry of no bytes
    """

    members: Sequence[tuple[str, bytes]]
    layers: Sequence[tuple[Blob, ImageLayer | None]]


def read_archive(
    image: OutboundImage, tags: Sequence[str], *, skip: Collection[str] = (), empty: Collection[str] = ()
) -> Iterator[bytes]:
    """The archive in chunks of at most 1 MiB, each layer read only when its turn comes.

    tags    `algo/alice-iris:0123456789ab`; none: the image is loaded without a name
    skip    diff ids whose blobs are left out: an engine with the containerd store that has them
    empty   diff ids whose blobs have no bytes: an engine with a graph driver that has the whole chain up to them
    Raises  BuildFailed('image-reference-bad') for a tag that no engine takes; BuildFailed('layer-damaged') before the
            last chunk of a layer that is not what it was
    """
    written = 0
    for chunk in _chunks(make_archive(image, tags, skip, empty)):
        written += len(chunk)
        yield chunk
    yield ending(written)


def write_archive(
    image: OutboundImage,
    tags: Sequence[str],
    write: Callable[[bytes], object],
    *,
    skip: Collection[str] = (),
    empty: Collection[str] = (),
) -> int:
    """The same, pushed to `write`; returns its length in bytes."""
    written = 0
    for chunk in read_archive(image, tags, skip=skip, empty=empty):
        write(chunk)
        written += len(chunk)
    return written


def archive_length(
    image: OutboundImage, tags: Sequence[str], *, skip: Collection[str] = (), empty: Collection[str] = ()
) -> int:
    """The length of that archive, known before anything is read."""
    archive = make_archive(image, tags, skip, empty)
    sizes = [(name, len(data)) for name, data in archive.members]
    sizes += [(_blob_name(blob.digest), blob.size_bytes if source else 0) for blob, source in archive.layers]
    length = sum(len(header(_folder(name))) for name in _FOLDERS)
    length += sum(header_length(_file(name, size)) + size + len(padding(size)) for name, size in sizes)
    return length + len(ending(length))


def archive_manifest(image: OutboundImage) -> bytes:
    """The manifest that the archive carries. Its sha256 is the image's id in an engine with the containerd store."""
    return image_manifest(image.config, [archive_blob(layer) for layer in image.layers], image.annotations)


def archive_blob(layer: ImageLayer) -> Blob:
    """The form in which a layer is archived: as it is stored when every engine can read that, else plain."""
    return layer.stored[0] if _is_gzip(layer) and layer.stored else layer.plain


def make_archive(image: OutboundImage, tags: Sequence[str], skip: Collection[str], empty: Collection[str]) -> Archive:
    """The plan of an archive: everything but the bytes of layers."""
    manifest = archive_manifest(image)
    blobs = [archive_blob(layer) for layer in image.layers]
    layers: dict[str, tuple[Blob, ImageLayer | None]] = {}
    for blob, layer in zip(blobs, image.layers, strict=True):
        if layer.diff_id not in skip:
            layers.setdefault(blob.digest, (blob, None if layer.diff_id in empty else layer))
    docker: dict[str, Json] = {
        "Config": _blob_name(image.image_id),
        "Layers": [_blob_name(blob.digest) for blob in blobs],
        "RepoTags": list(tags),
    }
    members = (
        ("oci-layout", _LAYOUT),
        ("index.json", _index(image, manifest, tags)),
        ("manifest.json", b"[%b]" % render_config(docker)),
        (_blob_name(image.image_id), image.config),
        (_blob_name(digest_of(manifest)), manifest),
    )
    return Archive(members=members, layers=tuple(layers.values()))


def _index(image: OutboundImage, manifest: bytes, tags: Sequence[str]) -> bytes:
    config = json.loads(image.config)
    platform: dict[str, Json] = {key: config[key] for key in ("architecture", "os", "variant") if key in config}
    entry: dict[str, Json] = {**descriptor(blob_of(manifest, MANIFEST)), "platform": platform}
    named: list[dict[str, Json]] = [
        {
            **entry,
            "annotations": {
                "io.containerd.image.name": str(reference),  # containerd knows no short names
                "org.opencontainers.image.ref.name": reference.tag,
            },
        }
        for reference in map(parse_reference, tags)
    ]
    return image_index(named or [entry])


def _chunks(archive: Archive) -> Iterator[bytes]:
    head = b"".join(header(_folder(name)) for name in _FOLDERS)
    for name, data in archive.members:
        head += header(_file(name, len(data))) + data + padding(len(data))
    for blob, layer in archive.layers:
        size = blob.size_bytes if layer is not None else 0
        yield head + header(_file(_blob_name(blob.digest), size))
        if layer is not None:
            yield from _sized(_contents(layer, blob), blob, layer.title)
        head = padding(size)
    yield head


def _contents(layer: ImageLayer, blob: Blob) -> Iterator[bytes]:
    if _is_gzip(layer) and layer.stored is not None:
        return verified(partial(read_file, layer.stored[1]), blob.digest, layer.title)
    return layer.read()


def _sized(chunks: Iterator[bytes], blob: Blob, title: str) -> Iterator[bytes]:
    """A layer longer or shorter than its header says would shift everything after it."""
    left = blob.size_bytes
    for data in chunks:
        left -= len(data)
        if left < 0:
            break
        yield data
    if left:
        raise BuildFailed("layer-damaged", layer=title, detail=f"not {blob.size_bytes} bytes")


def _is_gzip(layer: ImageLayer) -> bool:
    # Not zstd: engines before 23 cannot read it in a Docker archive.
    return layer.stored is not None and layer.stored[0].media_type == LAYER_GZIP


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _file(name: str, size: int) -> Entry:
    return Entry(name=name.encode(), owner=0, size=size)


def _folder(name: bytes) -> Entry:
    return Entry(name=name, kind=b"5", mode=0o755, owner=0)
