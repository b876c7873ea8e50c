"""Manifests and configurations of images that others made, read into a BaseImage.  Pure.

Source  OCI image specification 1.1, manifest.md, image-index.md, config.md; Docker image manifest v2, schema 2
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from buildpacks.image.config import hex_of
from buildpacks.image.values import Blob
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.values import BaseImage, BaseLayer

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest, or an index of manifests: then config is None and manifests names what it lists."""

    config: Blob | None
    layers: tuple[Blob, ...]
    manifests: tuple[Blob, ...]


def parse_manifest(data: bytes, reference: str) -> Manifest:
    """Read a manifest or an index. Signatures and provenance that an index lists beside images are left out.

    Raises  BuildFailed('stack-image-bad')
    """
    document = read_document(data, reference)
    if document.get("mediaType") in _INDEXES or "manifests" in document:
        listed = _items(document, "manifests", reference)
        images = [item for item in listed if not _is_attestation(item)]
        return Manifest(config=None, layers=(), manifests=tuple(parse_blob(item, reference) for item in images))
    config = document.get("config")
    if not isinstance(config, dict):
        raise _bad(reference, "its manifest names no configuration")
    layers = tuple(parse_blob(item, reference) for item in _items(document, "layers", reference))
    return Manifest(config=parse_blob(config, reference), layers=layers, manifests=())


def parse_base(reference: str, manifest: bytes, config: bytes) -> BaseImage:
    """The base image of a manifest and its configuration, which need not have been compared yet.

    Raises  BuildFailed('stack-image-bad') when the two do not belong together, or it is no image at all
    """
    parsed = parse_manifest(manifest, reference)
    image_id = f"sha256:{hashlib.sha256(config).hexdigest()}"
    if parsed.config is None or parsed.config.digest != image_id:
        raise _bad(reference, "its manifest belongs to another configuration")
    document = read_document(config, reference)
    diff_ids = _diff_ids(document, reference)
    if len(diff_ids) != len(parsed.layers):
        raise _bad(reference, f"it has {len(parsed.layers)} layers and {len(diff_ids)} diff ids")
    return BaseImage(
        reference=reference,
        image_id=image_id,
        manifest_digest=f"sha256:{hashlib.sha256(manifest).hexdigest()}",
        config=document,
        layers=tuple(
            BaseLayer(diff_id=diff_id, blob=blob) for diff_id, blob in zip(diff_ids, parsed.layers, strict=True)
        ),
    )


def platform_of(config: bytes, reference: str) -> tuple[str, str]:
    """(os, architecture) of a configuration; empty texts where it says nothing."""
    document = read_document(config, reference)
    return str(document.get("os", "")), str(document.get("architecture", ""))


def diff_ids_of(config: bytes, reference: str) -> list[str]:
    """The diff ids of a configuration, bottom layer first. Raises BuildFailed('stack-image-bad')."""
    return _diff_ids(read_document(config, reference), reference)


def _diff_ids(document: Mapping[str, Json], reference: str) -> list[str]:
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise _bad(reference, "its configuration lists no layers")
    return [_digest(item, reference) for item in diff_ids]


def _is_attestation(item: Mapping[str, Json]) -> bool:
    annotations = item.get("annotations")
    return isinstance(annotations, dict) and "vnd.docker.reference.type" in annotations


def parse_blob(item: Mapping[str, Json], reference: str) -> Blob:
    """A descriptor. Raises BuildFailed('stack-image-bad')."""
    size = item.get("size")
    if not isinstance(size, int) or size < 0:
        raise _bad(reference, "a part of it has no size")
    return Blob(
        digest=_digest(item.get("digest"), reference), size_bytes=size, media_type=str(item.get("mediaType", ""))
    )


def _digest(value: Json, reference: str) -> str:
    try:
        return f"sha256:{hex_of(str(value))}"
    except ValueError as error:
        raise _bad(reference, f"{str(value)[:80]!r} is no sha256 digest") from error


def _items(document: Mapping[str, Json], name: str, reference: str) -> list[dict[str, Json]]:
    value = document.get(name)
    if not isinstance(value, list):
        raise _bad(reference, f"its manifest has no list of {name}")
    return [item for item in value if isinstance(item, dict)]


def read_document(data: bytes, reference: str) -> dict[str, Json]:
    """A JSON object. Raises BuildFailed('stack-image-bad')."""
    try:
        document = json.loads(data)
    except ValueError as error:
        raise _bad(reference, "a part of it is no JSON") from error
    if not isinstance(document, dict):
        raise _bad(reference, "a part of it is no JSON object")
    return document


def _bad(reference: str, reason: str) -> BuildFailed:
    return BuildFailed("stack-image-bad", reference=reference, reason=reason)
