"""A base image's configuration and manifest, made from its layers: the same layers, the same bytes.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildpacks.image.config import render_config
from buildpacks.image.values import CONFIG, MANIFEST, Blob
from buildpacks.order import Json
from buildpacks.stack.values import BaseLayer

CREATED = "1980-01-01T00:00:01Z"  # image/tar.py MTIME_S: the time of everything that we make


def base_config(
    *, arch: str, layers: Sequence[BaseLayer], env: Sequence[str], labels: Mapping[str, str], user: str, made_by: str
) -> dict[str, Json]:
    """The OCI configuration of a base image. It names no time and no machine.

    made_by  for its history: `algo stack build`
    """
    return {
        "architecture": arch,
        "os": "linux",
        "created": CREATED,
        "config": {"User": user, "Env": list(env), "Labels": dict(labels)},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": CREATED, "created_by": made_by} for _ in layers],
    }


def base_manifest(config: Blob, layers: Sequence[BaseLayer]) -> bytes:
    """The OCI manifest of a base image, canonical bytes."""
    return render_config(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(Blob(digest=config.digest, size_bytes=config.size_bytes, media_type=CONFIG)),
            "layers": [_descriptor(layer.blob) for layer in layers],
        }
    )


def _descriptor(blob: Blob) -> dict[str, Json]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size_bytes}
