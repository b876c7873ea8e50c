"""Images as values: blobs, layers that can be read, images that can be sent.  Pure.

Source  OCI image specification 1.1, https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = f"{LAYER}+gzip"
LAYER_ZSTD = f"{LAYER}+zstd"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A content-addressed piece: digest `sha256:...` of exactly size_bytes bytes."""

    digest: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """One layer that can be sent.

    diff_id    sha256 of the uncompressed tar
    tar_bytes  its exact length
    kind       base | layer | slice | app | config: where it comes from
    title      for people: `layers/algo_python/deps`, `model/iris.joblib`, `application`
    read       opens the uncompressed tar, in chunks. Raises BuildFailed('layer-damaged', layer=title) after the last
               chunk when the bytes are not what diff_id says: what was sent of them must not be used
    stored     a blob of these contents that already lies on this disk, compressed or not, and where; None: only read
    """

    diff_id: str
    tar_bytes: int
    kind: str
    title: str
    read: Callable[[], Iterator[bytes]]
    stored: tuple[Blob, Path] | None = None

    @property
    def plain(self) -> Blob:
        """The layer as an uncompressed blob: known before anything is read."""
        return Blob(digest=self.diff_id, size_bytes=self.tar_bytes, media_type=LAYER)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundImage:
    """An image that is complete and can be sent anywhere: base layers first.

    image_id  sha256 of config: the digest that names the image in our ledger, and in a graphdriver engine
    config    the OCI configuration, canonical bytes
    """

    image_id: str
    config: bytes
    layers: Sequence[ImageLayer]
    annotations: Mapping[str, str]
