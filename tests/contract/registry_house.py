"""Images and pushes for the tests of the registry client: small, made of bytes, each its own."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from buildpacks.image.config import render_config
from buildpacks.image.oci import digest_of
from buildpacks.image.push import Pushed, PushOrder, push_image
from buildpacks.image.referrers import Referrer
from buildpacks.image.registry import Registry, RegistryOptions
from buildpacks.image.values import Blob, ImageLayer, OutboundImage
from buildpacks.order import BuildFailed


def tar_of(**files: bytes) -> bytes:
    """A layer's tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def noise(size: int, seed: str) -> bytes:
    """Bytes that do not shrink, the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(size)


def layer_of(data: bytes, *, title: str = "application", kind: str = "app", chunk: int = 1 << 20) -> ImageLayer:
    """A layer of these bytes that counts nothing and never fails."""

    def read() -> Iterator[bytes]:
        for start in range(0, len(data), chunk):
            yield data[start : start + chunk]

    return ImageLayer(diff_id=digest_of(data), tar_bytes=len(data), kind=kind, title=title, read=read)


def damaged(layer: ImageLayer) -> ImageLayer:
    """The same layer, whose bytes are others by now: told after the last chunk, as the contract says."""

    def read() -> Iterator[bytes]:
        for number, chunk in enumerate(layer.read()):
            yield b"X" + chunk[1:] if number == 0 else chunk
        raise BuildFailed("layer-damaged", layer=layer.title, detail="changed")

    return ImageLayer(diff_id=layer.diff_id, tar_bytes=layer.tar_bytes, kind=layer.kind, title=layer.title, read=read)


def image_of(*layers: ImageLayer) -> OutboundImage:
    """An image of these layers, bottom to top."""
    config = render_config(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"algo.image": "1"}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
    )
    return OutboundImage(image_id=digest_of(config), config=config, layers=layers, annotations={})


def plain(name: str, *, docker_config: Path | None = None, idle_s: float = 20.0) -> Registry:
    """A client for a registry without TLS."""
    return Registry(name, RegistryOptions(plain_http=frozenset({name}), docker_config=docker_config, idle_s=idle_s))


def push(
    image: OutboundImage,
    registry: Registry,
    blobs_dir: Path,
    *,
    repository: str = "team/iris",
    tags: Sequence[str] = ("v1",),
    referrers: Callable[[Blob], Sequence[Referrer]] = lambda _: (),
) -> Pushed:
    """Push it, telling nobody."""
    order = PushOrder(image=image, repository=repository, tags=tags, referrers=referrers, log=lambda line: None)
    try:
        return push_image(order, registry, blobs_dir)
    finally:
        registry.close()  # it connects again when it is used again
