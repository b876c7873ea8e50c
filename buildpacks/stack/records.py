"""Stacks and base images as the documents that lie in the stack store.  Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from buildpacks.image.values import Blob
from buildpacks.order import Json
from buildpacks.stack.values import BaseImage, BaseLayer, Stack, StackPython


def render_image(image: BaseImage) -> bytes:
    """The record that parse_image reads back."""
    document: dict[str, Json] = {
        "reference": image.reference,
        "image_id": image.image_id,
        "manifest_digest": image.manifest_digest,
        "config": dict(image.config),
        "layers": [
            {
                "diff_id": layer.diff_id,
                "digest": layer.blob.digest,
                "size_bytes": layer.blob.size_bytes,
                "media_type": layer.blob.media_type,
            }
            for layer in image.layers
        ],
    }
    return _render(document)


def parse_image(data: bytes) -> BaseImage:
    """Read what render_image wrote. Raises KeyError, TypeError, ValueError for anything else."""
    document = json.loads(data)
    return BaseImage(
        reference=document["reference"],
        image_id=document["image_id"],
        manifest_digest=document["manifest_digest"],
        config=document["config"],
        layers=tuple(
            BaseLayer(
                diff_id=layer["diff_id"],
                blob=Blob(digest=layer["digest"], size_bytes=layer["size_bytes"], media_type=layer["media_type"]),
            )
            for layer in document["layers"]
        ),
    )


def render_stack(stack: Stack) -> bytes:
    """A stack's record: its images are named by id, for each has a record of its own."""
    document: dict[str, Json] = {
        "name": stack.name,
        "run": stack.run.image_id,
        "build": stack.build.image_id if stack.build is not None else None,
        "pythons": [{"version": python.version, "path": python.path} for python in stack.pythons],
        "libc": stack.libc,
        "arch": stack.arch,
        "distro": stack.distro,
        "distro_version": stack.distro_version,
    }
    return _render(document)


def images_of(data: bytes) -> tuple[str, str | None]:
    """The ids of a stack record's run image and build image."""
    document = json.loads(data)
    return document["run"], document["build"]


def parse_stack(data: bytes, images: Mapping[str, BaseImage]) -> Stack:
    """Read what render_stack wrote; images holds its images by id. Raises KeyError, TypeError, ValueError."""
    document = json.loads(data)
    return Stack(
        name=document["name"],
        run=images[document["run"]],
        build=images[document["build"]] if document["build"] is not None else None,
        pythons=tuple(StackPython(version=item["version"], path=item["path"]) for item in document["pythons"]),
        libc=document["libc"],
        arch=document["arch"],
        distro=document["distro"],
        distro_version=document["distro_version"],
    )


def _render(document: Mapping[str, Json]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
