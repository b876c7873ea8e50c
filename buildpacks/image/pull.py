"""A base image out of a registry: by platform, every byte compared with its digest, gone on with after a break.

Source  OCI image specification 1.1, image-index.md; Docker image manifest version 2 schema 2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from buildpacks.image.answers import PASSING, refusal
from buildpacks.image.document import table, table_list
from buildpacks.image.reference import Reference, parse_reference
from buildpacks.image.registry import ATTEMPTS, Interrupted, Registry, RegistryOptions, pause_s
from buildpacks.image.repository import DOCKER_LIST, DOCKER_MANIFEST, Repository, StoredManifest
from buildpacks.image.traffic import Traffic
from buildpacks.image.values import CONFIG, INDEX, LAYER, LAYER_GZIP, LAYER_ZSTD, MANIFEST, Blob
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.manifests import parse_base, parse_blob, parse_manifest, platform_of, read_document
from buildpacks.stack.values import BaseImage

_LAYER_TYPES = {
    LAYER: LAYER,
    LAYER_GZIP: LAYER_GZIP,
    LAYER_ZSTD: LAYER_ZSTD,
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": LAYER_ZSTD,
}
_MAX_CONFIG = 4 * 1024 * 1024


class BlobStore(Protocol):
    """Where the blobs go: buildpacks.stack.store.StackStore."""

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies, whether it is there or not."""
        ...

    def put_blob(self, chunks: Iterable[bytes], *, media_type: str = LAYER, expected: str = "") -> Blob:
        """Take a blob in as it streams by; refuse it when it is not `expected`."""
        ...


def pull(text: str, arch: str, store: BlobStore, options: RegistryOptions, *, log: Callable[[str], None]) -> BaseImage:
    """Bring an image's manifest, configuration and layers into a store; what lies there already is not sent again.

    text    a reference, `python:3.11-slim`
    arch    as OCI writes it: `amd64`
    Raises  BuildFailed: image-reference-bad, image-missing, image-arch-missing, image-kind, stack-image-bad,
            registry-altered, and what Registry.call and answers.refusal tell
    """
    reference = parse_reference(text)
    registry = Registry(reference.registry, options)
    try:
        repository = Repository(registry, reference.repository, Traffic(), is_pull=True)
        return _Pulling(repository, reference, store, log).image(arch)
    finally:
        registry.close()


class _Pulling:
    def __init__(
        self, repository: Repository, reference: Reference, store: BlobStore, log: Callable[[str], None]
    ) -> None:
        self._repository, self._reference, self._store, self._log = repository, reference, store, log

    def image(self, arch: str) -> BaseImage:
        manifest = self._manifest(self._reference.wanted)
        if manifest.media_type in {INDEX, DOCKER_LIST}:
            manifest = self._manifest(self._of_platform(manifest, arch))
        if manifest.media_type not in {MANIFEST, DOCKER_MANIFEST}:
            raise BuildFailed("image-kind", reference=str(self._reference), found=manifest.media_type)
        name = str(self._reference)
        parsed = parse_manifest(manifest.data, name)
        if parsed.config is None:
            raise BuildFailed("image-kind", reference=name, found=manifest.media_type)
        config = self._config(parsed.config)
        system, found_arch = platform_of(config, name)
        if (system, found_arch) != ("linux", arch):
            raise BuildFailed("image-arch-missing", reference=name, arch=arch, found=[f"{system}/{found_arch}"])
        base = parse_base(name, manifest.data, config)
        layers = tuple(replace(layer, blob=self._layer(layer.blob)) for layer in base.layers)
        self._store.put_blob([manifest.data], media_type=manifest.media_type)
        return replace(base, layers=layers)

    def _manifest(self, name: str) -> StoredManifest:
        found = self._repository.manifest(name)
        if found is None:
            raise BuildFailed("image-missing", reference=str(self._reference), found=name)
        document = self._document(found.data)
        # Old registries answer text/plain; the document says itself what it is.
        media_type = str(document.get("mediaType") or found.media_type)
        return StoredManifest(data=found.data, digest=found.digest, media_type=media_type)

    def _of_platform(self, manifest: StoredManifest, arch: str) -> str:
        found: list[Json] = []
        for entry in table_list(self._document(manifest.data).get("manifests")):
            platform = table(entry.get("platform"))
            if (platform.get("os"), platform.get("architecture")) == ("linux", arch):
                return parse_blob(entry, str(self._reference)).digest
            found.append(f"{platform.get('os')}/{platform.get('architecture')}")
        raise BuildFailed("image-arch-missing", reference=str(self._reference), arch=arch, found=found)

    def _config(self, blob: Blob) -> bytes:
        if blob.size_bytes > _MAX_CONFIG:
            reason = f"its configuration is of {blob.size_bytes} bytes"
            raise BuildFailed("stack-image-bad", reference=str(self._reference), reason=reason)
        path = self._store.blob_path(blob.digest)
        if not path.is_file():
            self._store.put_blob(self._stream(blob), media_type=CONFIG, expected=blob.digest)
        return path.read_bytes()

    def _layer(self, blob: Blob) -> Blob:
        media_type = _LAYER_TYPES.get(blob.media_type)
        if media_type is None:
            raise BuildFailed("image-kind", reference=str(self._reference), found=blob.media_type)
        if not self._store.blob_path(blob.digest).is_file():
            self._log(f"Pulling {blob.digest[:19]} of {self._reference} ({blob.size_bytes / 1024 / 1024:.1f} MiB)")
            self._store.put_blob(self._stream(blob), media_type=media_type, expected=blob.digest)
        return Blob(digest=blob.digest, size_bytes=blob.size_bytes, media_type=media_type)

    def _stream(self, blob: Blob) -> Iterator[bytes]:
        """A blob's bytes: exactly size_bytes, over as many connections as that takes."""
        got = failures = 0
        while got < blob.size_bytes:
            before = got
            try:
                for chunk in self._part(blob, got):
                    got += len(chunk)
                    if got > blob.size_bytes:
                        raise BuildFailed(
                            "registry-altered", registry=self._repository.registry.name, digest=blob.digest
                        )
                    yield chunk
                failure = BuildFailed(
                    "registry-broke-off", registry=self._repository.registry.name, cause="it ended early"
                )
            except Interrupted as interrupted:
                failure = interrupted.failure
            if got < blob.size_bytes:
                failures = 1 if got > before else failures + 1
                if failures >= ATTEMPTS:
                    raise failure
                self._repository.traffic.pause(pause_s(failures))

    def _part(self, blob: Blob, offset: int) -> Iterator[bytes]:
        with ExitStack() as stack:
            answer, chunks = stack.enter_context(self._repository.blob(blob.digest, offset))
            if answer.status in PASSING or answer.status == 401:
                raise Interrupted(refusal(answer, self._repository.place, f"give {blob.digest}"))
            if not answer.is_good:
                raise refusal(answer, self._repository.place, f"give {blob.digest}")
            left = offset if answer.status == 200 else 0  # a registry without ranges begins from the beginning
            for chunk in chunks:
                if left < len(chunk):
                    yield chunk[left:]
                left = max(0, left - len(chunk))

    def _document(self, data: bytes) -> Mapping[str, Json]:
        return read_document(data, str(self._reference))
