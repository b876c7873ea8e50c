"""An image document and the stores become an image that can be sent: every layer a stream, checked as it is read.

What is missing is found before the first byte is sent; what was changed is found when its last byte is read.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from buildpacks.image.config import hex_of
from buildpacks.image.document import DocLayer, Document, parse_document
from buildpacks.image.oci import CONFIG_LAYER, config_layer_tar, digest_of, image_config, is_compressed
from buildpacks.image.store import APP_PATH, LAYERS_PATH, LayerStore
from buildpacks.image.tar import read_layer, tar_length
from buildpacks.image.values import LAYER, LAYER_GZIP, LAYER_ZSTD, Blob, ImageLayer, OutboundImage
from buildpacks.image.verified import verified
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.reading import read_blob
from buildpacks.stack.values import BaseImage, BaseLayer


class BaseStore(Protocol):
    """Where base images lie: buildpacks.stack.store.StackStore."""

    def image(self, image_id: str) -> BaseImage | None:
        """By id, of any stack that was ever added."""
        ...

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies, whether it is there or not."""
        ...


def outbound(doc: Mapping[str, Json], layers: LayerStore, stacks: BaseStore) -> OutboundImage:
    """The image of a document, complete and ready to be sent.

    Raises  BuildFailed: no-stack, dockerfile-image; stack-image-gone, layer-lost-in-store when something of it is not
            on this disk any more
    """
    parts = parse_document(doc)
    config = image_config(doc)
    return OutboundImage(
        image_id=digest_of(config),
        config=config,
        layers=(
            *_base_layers(parts, stacks, layers.root),
            *(_own_layer(layer, layers) for layer in parts.below),
            _config_layer(doc),
            *(_own_layer(layer, layers) for layer in parts.above),
        ),
        annotations={
            "org.opencontainers.image.base.digest": parts.base.manifest_digest,
            "org.opencontainers.image.base.name": parts.base.reference,
        },
    )


def base_outbound(image: BaseImage, stacks: BaseStore, notes: Path) -> OutboundImage:
    """A stack's own image, as it is: what a build container is made of.

    notes   root of the layer store, where the lengths of unpacked layers are remembered
    Raises  BuildFailed('stack-image-gone')
    """
    config = stacks.blob_path(image.image_id)
    if not config.is_file():
        raise BuildFailed("stack-image-gone", reference=image.reference)
    return OutboundImage(
        image_id=image.image_id,
        config=config.read_bytes(),
        layers=tuple(_layers_of(image, stacks, notes)),
        annotations={},
    )


def _base_layers(parts: Document, stacks: BaseStore, notes: Path) -> Iterator[ImageLayer]:
    image = stacks.image(parts.base.image_id)
    if image is None or tuple(layer.diff_id for layer in image.layers) != parts.base.diff_ids:
        raise BuildFailed("stack-image-gone", reference=parts.base.reference)
    return _layers_of(image, stacks, notes)


def _layers_of(image: BaseImage, stacks: BaseStore, notes: Path) -> Iterator[ImageLayer]:
    reference = image.reference
    for number, layer in enumerate(image.layers):
        path = stacks.blob_path(layer.blob.digest)
        if not path.is_file() or path.stat().st_size != layer.blob.size_bytes:
            raise BuildFailed("stack-image-gone", reference=reference)
        title = reference if len(image.layers) == 1 else f"{reference} layer {number + 1}"
        yield ImageLayer(
            diff_id=layer.diff_id,
            tar_bytes=_base_length(layer, path, notes),
            kind="base",
            title=title,
            read=partial(verified, partial(read_blob, path, layer.blob.media_type), layer.diff_id, title),
            stored=(_oci(layer.blob), path),
        )


def _oci(blob: Blob) -> Blob:
    # A base that came from an older registry carries Docker's media types; a manifest of one kind is asked for less.
    match blob.media_type.rpartition(".")[2].rpartition("+")[2]:
        case "gzip":
            return replace(blob, media_type=LAYER_GZIP)
        case "zstd":
            return replace(blob, media_type=LAYER_ZSTD)
        case _:
            return replace(blob, media_type=LAYER)


def _base_length(layer: BaseLayer, path: Path, notes: Path) -> int:
    """The length of a base layer's tar. What gzip says of it is unsure beyond 4 GB: it is counted once and noted."""
    if not is_compressed(_oci(layer.blob)):
        return layer.blob.size_bytes
    note = notes / "layers" / "base-lengths" / hex_of(layer.diff_id)
    try:
        return int(note.read_text())
    except (FileNotFoundError, ValueError):
        length = sum(len(data) for data in read_blob(path, layer.blob.media_type))
    note.parent.mkdir(parents=True, exist_ok=True)
    draft = note.with_name(f".{note.name}-{secrets.token_hex(4)}")
    draft.write_text(f"{length}\n")
    draft.rename(note)
    return length


def _own_layer(layer: DocLayer, store: LayerStore) -> ImageLayer:
    folder = store.layer_path(layer.diff_id)
    if not folder.is_dir():
        raise BuildFailed("layer-lost-in-store", layer=layer.title, path=str(folder))
    image_path = f"{LAYERS_PATH}/{layer.path}" if layer.kind == "layer" else APP_PATH
    return ImageLayer(
        diff_id=layer.diff_id,
        tar_bytes=layer.tar_bytes or tar_length(folder, image_path),
        kind=layer.kind,
        title=layer.title,
        read=partial(verified, partial(read_layer, folder, image_path), layer.diff_id, layer.title),
    )


def _config_layer(doc: Mapping[str, Json]) -> ImageLayer:
    data = config_layer_tar(doc)
    return ImageLayer(
        diff_id=digest_of(data),
        tar_bytes=len(data),
        kind="config",
        title=CONFIG_LAYER,
        read=lambda: iter((data,)),
    )
