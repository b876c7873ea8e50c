"""An image into a registry: only what the registry lacks is read, compressed or sent.

Rules of this file
1. A layer that the registry is known to have costs nothing, not even a question. That knowledge is a hint: a registry
   that refuses the manifest for a missing blob is asked for every blob, once.
2. The manifest comes after its blobs, documents about it after the manifest, tags last: whoever sees a tag sees all.
3. The first failure stops the other uploads, and nothing that was sent is visible to anybody then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from buildpacks.image.answers import BLOBS_LOST, Answer, refusal
from buildpacks.image.compress import Packed, compressed, find_packed, read_from
from buildpacks.image.known import KnownBlobs
from buildpacks.image.oci import EMPTY, EMPTY_TYPE, blob_of, image_manifest
from buildpacks.image.referrers import Referrer, put_referrers
from buildpacks.image.registry import PARALLEL, Registry
from buildpacks.image.repository import Repository, Upload
from buildpacks.image.traffic import Traffic
from buildpacks.image.upload import Source, upload_blob
from buildpacks.image.values import CONFIG, MANIFEST, Blob, ImageLayer, OutboundImage
from buildpacks.image.verified import verified
from buildpacks.order import BuildFailed

_SMALL_BYTES = 1024 * 1024  # sending it takes no longer than asking whether it is there
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOrder:
    """What to push where.

    repository  in the registry: `team/alice-iris`
    tags        to set on it, after everything else
    referrers   the documents about the image, made when its manifest is known
    mount_from  a repository of the same registry that may have what this one lacks, before those that we know of; ''
    log         a line for people; may be called from several threads
    stop        set when nobody wants it any more
    """

    image: OutboundImage
    repository: str
    tags: Sequence[str] = ()
    referrers: Callable[[Blob], Sequence[Referrer]] = field(default=lambda _: ())
    mount_from: str = ""
    log: Callable[[str], None]
    stop: threading.Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push did. layers_*: how each distinct layer came to be there; sent_bytes: of bodies, without headers.

    referrers  digests of the documents' manifests; empty when there are none, or the registry takes none
    """

    registry: str
    repository: str
    manifest_digest: str
    layers_known: int
    layers_mounted: int
    layers_sent: int
    referrers: tuple[str, ...]
    requests: int
    sent_bytes: int

    @property
    def reference(self) -> str:
        """The image by its content: `HOST/REPOSITORY@sha256:...`."""
        return f"{self.registry}/{self.repository}@{self.manifest_digest}"


def push_image(order: PushOrder, registry: Registry, blobs_dir: Path) -> Pushed:
    """Push an image, its documents and its tags.

    blobs_dir  where compressed layers are kept, and what is known of registries
    Raises     BuildFailed: what answers.refusal and Registry.call tell, layer-damaged, cancelled
    """
    known = KnownBlobs(root=blobs_dir / "known", registry=registry.name)
    traffic = Traffic(order.stop)
    pushing = _Pushing(order, registry, blobs_dir, known, traffic)
    answer = pushing.blobs_and_manifest()
    if answer.codes() & BLOBS_LOST:
        known.forget(order.repository)
        pushing = _Pushing(order, registry, blobs_dir, known, traffic)
        answer = pushing.blobs_and_manifest()
    if not answer.is_good:
        raise refusal(answer, pushing.repository.place, "take the manifest")
    referrers = pushing.documents()
    pushing.tag()
    ways = list(pushing.ways.values())
    return Pushed(
        registry=registry.name,
        repository=order.repository,
        manifest_digest=blob_of(pushing.manifest, MANIFEST).digest,
        layers_known=ways.count("known"),
        layers_mounted=ways.count("mounted"),
        layers_sent=ways.count("sent"),
        referrers=referrers,
        requests=traffic.requests,
        sent_bytes=traffic.sent_bytes,
    )


class _Pushing:
    def __init__(
        self, order: PushOrder, registry: Registry, blobs_dir: Path, known: KnownBlobs, traffic: Traffic
    ) -> None:
        self._order, self._registry, self._blobs_dir = order, registry, blobs_dir
        self._known, self._traffic = known, traffic
        self._has = set(known.digests(order.repository))
        self._layers = {layer.diff_id: layer for layer in order.image.layers}
        packed = {diff_id: find_packed(layer, blobs_dir) for diff_id, layer in self._layers.items()}
        self._sources = self._mounts([found.blob.digest for found in packed.values() if found is not None])
        mounts = tuple(self._sources.values())
        self.repository = Repository(registry, order.repository, traffic, mounts=mounts)
        self.manifest = b""
        self._begun: dict[str, Upload] = {}  # blob digest -> the upload that a registry began in place of a mount
        self.ways: dict[str, str] = {}  # diff id -> known | mounted | sent

    def blobs_and_manifest(self) -> Answer:
        """Every blob, then the manifest by its digest: the registry's answer to that."""
        blobs: dict[str, Blob] = {}

        def ensure(layer: ImageLayer) -> None:
            blobs[layer.diff_id] = self._layer(layer)

        self._side_by_side([partial(ensure, layer) for layer in self._layers.values()])
        # Only now: of an image with a damaged layer nothing of its own gets into the registry.
        self._bytes(self._order.image.config, CONFIG, "the configuration")
        self.manifest = image_manifest(
            self._order.image.config, [blobs[layer.diff_id] for layer in self._order.image.layers],
            self._order.image.annotations,
        )  # fmt: skip
        answer = self.repository.put_manifest(blob_of(self.manifest, MANIFEST).digest, self.manifest, MANIFEST)
        if answer.is_good:
            self._known.add(self._order.repository, self._has)
        return answer

    def documents(self) -> tuple[str, ...]:
        """Attach the documents about the image."""
        subject = blob_of(self.manifest, MANIFEST)
        referrers = self._order.referrers(subject)
        if not referrers:
            return ()
        done = self._refer(subject, referrers)
        if done is None:
            self._has.clear()  # it lost what it had: once more, with all that the documents need
            done = self._refer(subject, referrers) or ()
        if done:
            self._known.add(self._order.repository, self._has)
        else:
            self._order.log(f"{self._registry.name} keeps no documents beside images; the image itself is there")
        return done

    def _refer(self, subject: Blob, referrers: Sequence[Referrer]) -> tuple[str, ...] | None:
        blobs = [(EMPTY, EMPTY_TYPE), *((referrer.data, referrer.media_type) for referrer in referrers)]
        self._side_by_side([partial(self._bytes, data, media_type, media_type) for data, media_type in blobs])
        return put_referrers(self.repository, subject, referrers)

    def tag(self) -> None:
        """Set the tags."""
        for tag in self._order.tags:
            answer = self.repository.put_manifest(tag, self.manifest, MANIFEST)
            if not answer.is_good:
                raise refusal(answer, self.repository.place, f"set the tag {tag}")

    def _mounts(self, digests: Sequence[str]) -> dict[str, str]:
        wanted = [digest for digest in digests if digest not in self._has]
        if not wanted:
            return {}
        elsewhere = self._known.elsewhere(self._order.repository)
        found = {digest: elsewhere.get(digest, self._order.mount_from) for digest in wanted}
        return {digest: source for digest, source in found.items() if source not in {"", self._order.repository}}

    def _side_by_side(self, tasks: Sequence[Callable[[], None]]) -> None:
        failures: list[Exception] = []

        def run(task: Callable[[], None]) -> None:
            try:
                task()
            except Exception as error:  # noqa: BLE001 -- the first one is raised below, the others came of it
                failures.append(error)
                self._traffic.give_up()

        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="push") as pool:
            list(pool.map(run, tasks))
        if failures:
            raise failures[0]

    def _layer(self, layer: ImageLayer) -> Blob:
        self._traffic.check()
        packed = find_packed(layer, self._blobs_dir)
        is_new = packed is None
        if packed is None:
            packed = compressed(layer, self._blobs_dir)
        way = "known" if packed.blob.digest in self._has else self._take_over(packed.blob, is_new=is_new)
        if way == "":
            packed = self._send_layer(layer)
            way = "sent"
        self._has.add(packed.blob.digest)
        self.ways[layer.diff_id] = way
        return packed.blob

    def _send_layer(self, layer: ImageLayer) -> Packed:
        # Its file may be gone from this disk, and another zlib may make another blob of it.
        packed = compressed(layer, self._blobs_dir)
        try:
            self._send(Source(blob=packed.blob, title=layer.title, open_at=_opener(layer, packed)))
        except BuildFailed as failed:
            is_ours = packed.path is not None and (layer.stored is None or packed.path != layer.stored[1])
            if failed.code != "layer-damaged" or not is_ours or packed.path is None:
                raise
            # Only a copy of the layer rotted: the layer itself is verified while another copy is made of it.
            packed.path.unlink(missing_ok=True)
            packed = compressed(layer, self._blobs_dir)
            self._send(Source(blob=packed.blob, title=layer.title, open_at=_opener(layer, packed)))
        return packed

    def _take_over(self, blob: Blob, *, is_new: bool) -> str:
        """`mounted`, `known` when the registry has the blob after all; '' when it must be sent."""
        source = self._sources.get(blob.digest, "")
        if source and self.repository.may_mount:
            upload = self.repository.start_upload(digest=blob.digest, mount_from=source)
            if upload is None:
                return "mounted"
            self._begun[blob.digest] = upload
        is_likely_there = not is_new or blob.size_bytes > _SMALL_BYTES
        if not is_likely_there or not self.repository.has_blob(blob.digest):
            return ""
        if blob.digest in self._begun:
            self.repository.cancel(self._begun.pop(blob.digest))
        return "known"

    def _bytes(self, data: bytes, media_type: str, title: str) -> None:
        blob = blob_of(data, media_type)
        if blob.digest not in self._has:
            self._send(Source(blob=blob, title=title, open_at=lambda offset: iter([data[offset:]])))
            self._has.add(blob.digest)

    def _send(self, source: Source) -> None:
        if source.blob.size_bytes > _SMALL_BYTES:
            self._order.log(f"Pushing {source.title} ({source.blob.size_bytes / _MIB:.1f} MiB)")
        upload = self._begun.pop(source.blob.digest, None) or self.repository.start_upload()
        assert upload is not None, "only a mount ends an upload before it begins"
        upload_blob(self.repository, source, upload)


def _opener(layer: ImageLayer, packed: Packed) -> Callable[[int], Iterator[bytes]]:
    path = packed.path
    if path is None:
        return lambda offset: _skip(layer.read(), offset)

    def open_at(offset: int) -> Iterator[bytes]:
        if offset:
            return read_from(path, offset)  # what came before was another stream: the registry compares the whole
        return verified(lambda: read_from(path, 0), packed.blob.digest, layer.title)

    return open_at


def _skip(chunks: Iterator[bytes], offset: int) -> Iterator[bytes]:
    """A tar that is made while it is read has no middle to begin at: what the registry has is made and dropped."""
    left = offset
    for chunk in chunks:
        if left >= len(chunk):
            left -= len(chunk)
            continue
        yield chunk[left:] if left else chunk
        left = 0
