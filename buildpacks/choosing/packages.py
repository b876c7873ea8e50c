"""Packaged buildpacks: an image in a registry, or the same as a `.cnb` file in the repository.

Layers hold /cnb/buildpacks/<id>/<version>; a label of the configuration says which of them is meant, for a composite
brings those that it names.

Source  buildpacks/spec distribution.md 0.3, "Buildpackage"; OCI image layout 1.1; contracts buildpacks.md 1.9
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from buildpacks.choosing.packs import Pack, inspect
from buildpacks.choosing.shelf import mark_used, sweep
from buildpacks.choosing.targuard import TarRefused, guarded
from buildpacks.choosing.values import Source
from buildpacks.image.document import table, table_list
from buildpacks.image.pull import pull
from buildpacks.image.registry import RegistryOptions
from buildpacks.image.values import LAYER, Blob
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.manifests import parse_base, parse_blob, parse_manifest, read_document
from buildpacks.stack.reading import HashedReader, read_blob
from buildpacks.stack.store import StackStore
from buildpacks.stack.unpack import resolve, unpack_layer
from buildpacks.stack.values import BaseImage
from buildpacks.toolchain import host_arch

LABEL = "io.buildpacks.buildpackage.metadata"
MAX_BYTES = 512 << 20  # of a package as it is sent; unpacked it may be larger
MAX_UNPACKED = 2048 << 20
_FOLDER = "cnb/buildpacks"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_CHUNK = 1 << 20
_MAX_SMALL = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """root is the buildpack that is meant, packs are all; digest names the image's manifest."""

    root: Pack
    packs: tuple[Pack, ...]
    digest: str


def pull_package(
    source: Source, digest: str, store_dir: Path, options: RegistryOptions, log: Callable[[str], None]
) -> Package:
    """A package out of a registry.

    digest  `sha256:...` of the manifest that it must be; '' takes what the reference means now
    Raises  BuildFailed: buildpack-too-big, buildpack-package-bad, what pulling and unpacking raise
    """
    store = StackStore(root=store_dir)
    reference = source.location
    if digest:
        reference = f"{_without_tag(reference)}@{digest}"
    with _told_as_package(source):
        image = pull(reference, host_arch(), _Bounded(store, source), options, log=lambda line: log(f"       {line}"))
        return _package(store, image, source)


def read_package(path: Path, source: Source, store_dir: Path) -> Package:
    """A package that lies in the repository. Raises BuildFailed: buildpack-too-big, buildpack-package-bad."""
    store = StackStore(root=store_dir)
    bounded = _Bounded(store, source)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with _told_as_package(source), os.fdopen(descriptor, "rb") as file:
            for _ in guarded(iter(lambda: file.read(_CHUNK), b""), MAX_BYTES):
                continue
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                image = _image_of_layout(_Layout(tar), bounded, source)
            return _package(store, image, source)
    except OSError as error:
        raise BuildFailed("buildpack-package-bad", buildpack=source.text, reason=str(error)[:200]) from error


@contextmanager
def _told_as_package(source: Source) -> Iterator[None]:
    """What reading any image tells of a stack is told of a buildpack here: whose move it is differs."""
    try:
        yield
    except TarRefused as refused:
        if refused.is_size:
            raise BuildFailed("buildpack-too-big", buildpack=source.text, limit_mib=MAX_BYTES >> 20) from refused
        raise BuildFailed("buildpack-package-bad", buildpack=source.text, reason=refused.reason) from refused
    except (tarfile.TarError, EOFError, KeyError, ValueError) as error:
        raise BuildFailed("buildpack-package-bad", buildpack=source.text, reason=str(error)[:200]) from error
    except BuildFailed as failed:
        if not failed.code.startswith("stack-"):
            raise
        reason = str(failed.fields.get("reason") or failed.fields.get("found") or failed.code)
        raise BuildFailed("buildpack-package-bad", buildpack=source.text, reason=reason[:200]) from failed


class _Bounded:
    """A store that takes MAX_BYTES of one package and no more."""

    def __init__(self, store: StackStore, source: Source) -> None:
        self._store, self._source, self._left = store, source, MAX_BYTES

    def blob_path(self, digest: str) -> Path:
        return self._store.blob_path(digest)

    def put_blob(self, chunks: Iterable[bytes], *, media_type: str = LAYER, expected: str = "") -> Blob:
        return self._store.put_blob(self._counted(chunks), media_type=media_type, expected=expected)

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._left -= len(chunk)
            if self._left < 0:
                raise BuildFailed("buildpack-too-big", buildpack=self._source.text, limit_mib=MAX_BYTES >> 20)
            yield chunk


class _Layout:
    """An OCI image layout inside a tar."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._members = {member.name.removeprefix("./"): member for member in tar if member.isfile()}

    def small(self, name: str) -> bytes:
        member = self._member(name)
        if member.size > _MAX_SMALL:
            raise ValueError(f"{name} has {member.size} bytes")
        return b"".join(self._chunks(member))

    def blob(self, digest: str) -> Iterator[bytes]:
        algorithm, _, name = digest.partition(":")
        return self._chunks(self._member(f"blobs/{algorithm}/{name}"))

    def _member(self, name: str) -> tarfile.TarInfo:
        if name not in self._members:
            raise ValueError(f"it has no {name[:100]}")
        return self._members[name]

    def _chunks(self, member: tarfile.TarInfo) -> Iterator[bytes]:
        file = self._tar.extractfile(member)
        if file is None:
            raise ValueError(f"{member.name} is no file")
        return iter(lambda: file.read(_CHUNK), b"")


def _image_of_layout(layout: _Layout, store: _Bounded, source: Source) -> BaseImage:
    name = source.location
    entries = table_list(read_document(layout.small("index.json"), name).get("manifests"))
    if len(entries) != 1:
        raise ValueError(f"index.json names {len(entries)} images in place of one")
    manifest_blob = parse_blob(entries[0], name)
    manifest = b"".join(layout.blob(manifest_blob.digest))
    store.put_blob([manifest], media_type=manifest_blob.media_type, expected=manifest_blob.digest)
    parsed = parse_manifest(manifest, name)
    if parsed.config is None:
        raise ValueError("its manifest has no configuration")
    config = b"".join(layout.blob(parsed.config.digest))
    store.put_blob([config], media_type=parsed.config.media_type, expected=parsed.config.digest)
    image = parse_base(name, manifest, config)
    for layer in image.layers:
        store.put_blob(layout.blob(layer.blob.digest), media_type=layer.blob.media_type, expected=layer.blob.digest)
    return image


def _package(store: StackStore, image: BaseImage, source: Source) -> Package:
    pack_id, version = _meant(image.config, source)
    rootfs = _unpacked(store, image, source)
    packs = [
        inspect(resolve(rootfs, f"{_FOLDER}/{folder}/{place}"), source)
        for folder in _children(rootfs, _FOLDER)
        for place in _children(rootfs, f"{_FOLDER}/{folder}")
    ]
    root = next((pack for pack in packs if (pack.id, pack.version) == (pack_id, version)), None)
    if root is None:
        reason = f"it says {pack_id}@{version} and does not hold it"
        raise BuildFailed("buildpack-package-bad", buildpack=source.text, reason=reason)
    return Package(root=root, packs=tuple(packs), digest=image.manifest_digest)


def _unpacked(store: StackStore, image: BaseImage, source: Source) -> Path:
    """The image's files as a folder, made once.

    Why not StackStore.rootfs  an operator vouches for a stack, nobody for how large these layers are
    """
    final = store.root / "unpacked" / image.image_id.removeprefix("sha256:")
    if final.is_dir():
        mark_used(final)
        return final
    draft = store.root / "drafts" / f"unpacked-{secrets.token_hex(8)}"
    draft.mkdir(parents=True)
    draft.chmod(0o755)
    try:
        left = MAX_UNPACKED
        for layer in image.layers:
            path = store.blob_path(layer.blob.digest)
            left = _check_size(path, layer.blob.media_type, left, source)
            unpack_layer(read_blob(path, layer.blob.media_type), layer.diff_id, draft)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.rename(final)
        except OSError:
            if not final.is_dir():  # else another build was quicker; the same bytes
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sweep(store.root.parent)
    return final


def _check_size(path: Path, media_type: str, left: int, source: Source) -> int:
    """What is left of the limit behind a layer, looked at before a byte of it is written."""
    chunks = guarded(read_blob(path, media_type), MAX_UNPACKED)
    reader = io.BufferedReader(HashedReader(chunks), _CHUNK)
    with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|") as tar:
        for member in tar:
            left -= member.size
            if left < 0:
                raise BuildFailed("buildpack-too-big", buildpack=source.text, limit_mib=MAX_UNPACKED >> 20)
    return left


def _meant(config: Mapping[str, Json], source: Source) -> tuple[str, str]:
    text = table(table(config.get("config")).get("Labels")).get(LABEL)
    try:
        document = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or not document.get("id"):
        raise BuildFailed("buildpack-package-bad", buildpack=source.text, reason=f"it has no label {LABEL}")
    return str(document["id"]), str(document.get("version", ""))


def _children(rootfs: Path, path: str) -> list[str]:
    """Names in a folder of the image, its links followed inside it only."""
    folder = resolve(rootfs, path)
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name) is not None)


def _without_tag(reference: str) -> str:
    name, _, _ = reference.partition("@")
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
