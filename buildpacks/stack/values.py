"""What a stack is: a run image for layers to lie on, and a build image for code of a repository to run in.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from buildpacks.image.values import Blob
from buildpacks.order import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLayer:
    """A layer of a base image, as its blob lies in the stack store (often compressed)."""

    diff_id: str
    blob: Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """One image of a stack, by content.

    reference        how people name it: `algo/bookworm-run`, or the registry reference that it was pulled from
    image_id         sha256 of its OCI configuration: the same in every engine and registry
    manifest_digest  sha256 of its OCI manifest as it lies in the stack store
    config           its OCI configuration document
    """

    reference: str
    image_id: str
    manifest_digest: str
    config: Mapping[str, Json]
    layers: tuple[BaseLayer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPython:
    """An interpreter of the run image: version `3.11.2`, path `/usr/bin/python3.11` (a real file, not a link)."""

    version: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A pair of base images and what the server has to know of the run image to make layers for it.

    name     as the operator names it: `bookworm`
    build    None: nothing that must execute code of a repository can be built
    pythons  newest first; empty: no Python apps
    libc     `glibc 2.36`; '' when the image has none that we know
    arch     of OCI: `amd64`, `arm64`
    distro   `debian`, distro_version `12`; '' when the image does not say
    """

    name: str
    run: BaseImage
    build: BaseImage | None
    pythons: tuple[StackPython, ...]
    libc: str
    arch: str
    distro: str
    distro_version: str
