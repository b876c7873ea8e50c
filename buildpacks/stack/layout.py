"""An image in a file or folder becomes a base image of the store: OCI layouts, and what `docker save` writes.

Nothing is unpacked by this, and no name of the file's own making is used as a path.

Source  OCI image specification 1.1, image-layout.md; Docker image specification 1.2, "Combined Image JSON + ..."
"""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from buildpacks.image.config import hex_of
from buildpacks.image.values import CONFIG, LAYER, LAYER_GZIP, MANIFEST, Blob
from buildpacks.order import BuildFailed
from buildpacks.stack.documents import base_manifest
from buildpacks.stack.manifests import diff_ids_of, parse_base, parse_manifest, platform_of
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import BaseImage, BaseLayer
from buildpacks.toolchain import host_arch

_CHUNK = 1 << 20
_MAX_DOCUMENT = 4 << 20  # what registries accept as a manifest at most
_MAX_DEPTH = 4
_GZIP_MAGIC = b"\x1f\x8b"


class _Files(Protocol):
    """A folder, or a tar, as named files."""

    def chunks(self, name: str) -> Iterator[bytes] | None:
        """The contents of a file; None when there is none of that name."""
        ...


def add_layout(path: Path, store: StackStore) -> BaseImage:
    """Take the image of a layout into the store. path: an OCI layout folder or tar, or an archive of `docker save`.

    Raises  BuildFailed: stack-file-missing, stack-image-bad, stack-image-several, stack-wrong-arch, stack-blob-damaged
    """
    with _open(path) as files:
        index = _document(files, "index.json")
        if index is not None and _document(files, "oci-layout") is not None:
            return _from_layout(files, index, store, str(path))
        listing = _document(files, "manifest.json")
        if listing is not None:
            return _from_docker(files, listing, store, str(path))
    raise BuildFailed("stack-image-bad", reference=str(path), reason="it has neither index.json nor manifest.json")


def _from_layout(files: _Files, index: bytes, store: StackStore, reference: str) -> BaseImage:
    found: dict[str, tuple[bytes, bytes]] = {}
    others: set[str] = set()
    for manifest in _leaves(files, index, reference, _MAX_DEPTH):
        parsed = parse_manifest(manifest, reference)
        assert parsed.config is not None  # a leaf
        config = _blob_document(files, parsed.config.digest, reference)
        system, arch = platform_of(config, reference)
        if (system, arch) == ("linux", host_arch()):
            found[parsed.config.digest] = manifest, config
        else:
            others.add(f"{system}/{arch}")
    if len(found) > 1:
        raise BuildFailed("stack-image-several", reference=reference, images=", ".join(sorted(found)))
    if not found:
        raise BuildFailed(
            "stack-wrong-arch",
            reference=reference,
            found=", ".join(sorted(others)) or "nothing",
            expected=f"linux/{host_arch()}",
        )
    ((manifest, config),) = found.values()
    image = parse_base(reference, manifest, config)
    for layer in image.layers:
        _take(files, _blob_name(layer.blob.digest), store, layer.blob, reference)
    return _add(image, manifest, config, store)


def _leaves(files: _Files, data: bytes, reference: str, depth: int) -> Iterator[bytes]:
    parsed = parse_manifest(data, reference)
    if parsed.config is not None:
        yield data
        return
    for blob in parsed.manifests if depth else ():
        yield from _leaves(files, _blob_document(files, blob.digest, reference), reference, depth - 1)


def _from_docker(files: _Files, listing: bytes, store: StackStore, reference: str) -> BaseImage:
    """The format of engines before 25: names of layers say nothing, the configuration's diff ids say what they are."""
    config_name, layer_names = _docker_entry(listing, reference)
    config = _document(files, config_name)
    if config is None:
        raise BuildFailed("stack-image-bad", reference=reference, reason=f"{config_name} is missing")
    diff_ids = diff_ids_of(config, reference)
    if len(diff_ids) != len(layer_names):
        raise BuildFailed("stack-image-bad", reference=reference, reason="its layers do not fit its configuration")
    layers = []
    for name, diff_id in zip(layer_names, diff_ids, strict=True):
        chunks = _required(files, name, reference)
        first = next(chunks, b"")
        is_plain = not first.startswith(_GZIP_MAGIC)
        blob = store.put_blob(
            _again(first, chunks), media_type=LAYER if is_plain else LAYER_GZIP, expected=diff_id if is_plain else ""
        )
        layers.append(BaseLayer(diff_id=diff_id, blob=blob))
    config_blob = store.put_blob([config], media_type=CONFIG)
    manifest = base_manifest(config_blob, layers)
    return _add(parse_base(reference, manifest, config), manifest, config, store)


def _docker_entry(listing: bytes, reference: str) -> tuple[str, list[str]]:
    try:
        entries = json.loads(listing)
        (entry,) = entries
        return str(entry["Config"]), [str(name) for name in entry["Layers"]]
    except (ValueError, TypeError, KeyError) as error:
        raise BuildFailed(
            "stack-image-bad", reference=reference, reason="its manifest.json does not describe exactly one image"
        ) from error


def _add(image: BaseImage, manifest: bytes, config: bytes, store: StackStore) -> BaseImage:
    store.put_blob([config], media_type=CONFIG, expected=image.image_id)
    store.put_blob([manifest], media_type=MANIFEST, expected=image.manifest_digest)
    store.add_image(image)
    return image


def _take(files: _Files, name: str, store: StackStore, blob: Blob, reference: str) -> None:
    if not store.blob_path(blob.digest).is_file():
        store.put_blob(_required(files, name, reference), media_type=blob.media_type, expected=blob.digest)


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{hex_of(digest)}"


def _blob_document(files: _Files, digest: str, reference: str) -> bytes:
    data = _document(files, _blob_name(digest))
    if data is None:
        raise BuildFailed("stack-image-bad", reference=reference, reason=f"{digest} is missing")
    return data


def _document(files: _Files, name: str) -> bytes | None:
    chunks = files.chunks(name)
    if chunks is None:
        return None
    data = b""
    for chunk in chunks:
        data += chunk
        if len(data) > _MAX_DOCUMENT:
            raise BuildFailed("stack-image-bad", reference=name, reason="it is too large for a document")
    return data


def _required(files: _Files, name: str, reference: str) -> Iterator[bytes]:
    chunks = files.chunks(name)
    if chunks is None:
        raise BuildFailed("stack-image-bad", reference=reference, reason=f"{name} is missing")
    return chunks


def _again(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


@contextlib.contextmanager
def _open(path: Path) -> Iterator[_Files]:
    if path.is_dir():
        yield _Folder(path)
        return
    try:
        tar = tarfile.open(path, mode="r:*")  # noqa: SIM115 -- closed below; the block is the caller's
    except FileNotFoundError as error:
        raise BuildFailed("stack-file-missing", path=str(path)) from error
    except (tarfile.TarError, EOFError) as error:
        raise BuildFailed("stack-image-bad", reference=str(path), reason="it is no tar archive") from error
    with tar:
        try:
            yield _Archive(tar)
        except (tarfile.TarError, EOFError) as error:
            raise BuildFailed("stack-image-bad", reference=str(path), reason=f"it is cut off: {error}") from error


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def chunks(self, name: str) -> Iterator[bytes] | None:
        path = self._root / name
        # A manifest.json of a folder may name anything; names of a layout are ours.
        if ".." in name.split("/") or name.startswith("/") or not path.is_file():
            return None
        return _read(path)


class _Archive:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name.removeprefix("./"): member for member in tar}

    def chunks(self, name: str) -> Iterator[bytes] | None:
        member = self._members.get(name)
        # Older engines write a layer that two images share as a link; tarfile follows it inside the archive.
        file = self._tar.extractfile(member) if member is not None else None
        return iter(lambda: file.read(_CHUNK), b"") if file is not None else None


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_CHUNK), b"")
