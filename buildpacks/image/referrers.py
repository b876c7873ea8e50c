"""Documents beside an image in a registry: its bill of materials, where it came from.

Registries that know `subject` list such documents by themselves. For those that do not, an index under the tag
`sha256-<hex>` of the image does, and whoever writes a document keeps that index.

Source  OCI distribution specification 1.1, "Pushing Manifests with Subject", "Referrers Tag Schema"
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from buildpacks.image.answers import BLOBS_LOST, Answer, refusal
from buildpacks.image.oci import blob_of, descriptor, image_index, referrer_manifest
from buildpacks.image.repository import Repository
from buildpacks.image.values import INDEX, MANIFEST, Blob
from buildpacks.order import Json

_NOT_TAKEN = {400, 404, 405, 415, 422}  # how registries say that a manifest of this kind is strange to them


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrer:
    """A document about an image. media_type also says what kind it is (`artifactType`)."""

    media_type: str
    data: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def blob(self) -> Blob:
        """The document as a blob."""
        return blob_of(self.data, self.media_type)


def put_referrers(repository: Repository, subject: Blob, referrers: Sequence[Referrer]) -> tuple[str, ...] | None:
    """Attach documents, whose blobs and oci.EMPTY are in the repository, to a manifest.

    returns  digests of their manifests; empty when the registry does not take such manifests; None when it says that it
             has not got a blob of them
    Raises   BuildFailed for any other refusal
    """
    entries: list[dict[str, Json]] = []
    is_listed = True
    for referrer in referrers:
        data = referrer_manifest(referrer.media_type, referrer.blob, subject, referrer.annotations)
        manifest = blob_of(data, MANIFEST)
        answer = repository.put_manifest(manifest.digest, data, MANIFEST)
        if answer.codes() & BLOBS_LOST:
            return None
        if answer.status in _NOT_TAKEN:
            return ()
        if not answer.is_good:
            raise refusal(answer, repository.place, f"take a document about {subject.digest}")
        is_listed = is_listed and bool(answer.headers.get("oci-subject"))
        entries.append(
            {**descriptor(manifest), "artifactType": referrer.media_type, "annotations": dict(referrer.annotations)}
        )
    if not is_listed:
        answer = _list(repository, subject, entries)
        if not answer.is_good:
            raise refusal(answer, repository.place, f"list the documents about {subject.digest}")
    return tuple(str(entry["digest"]) for entry in entries)


def _list(repository: Repository, subject: Blob, entries: Sequence[dict[str, Json]]) -> Answer:
    tag = subject.digest.replace(":", "-")
    known = repository.manifest(tag)
    kept = _entries(known.data) if known is not None else []
    new = {entry["digest"] for entry in entries}
    index = image_index([*(entry for entry in kept if entry.get("digest") not in new), *entries])
    return repository.put_manifest(tag, index, INDEX)


def _entries(data: bytes) -> list[dict[str, Json]]:
    document = json.loads(data)
    manifests = document.get("manifests") if isinstance(document, dict) else None
    return [entry for entry in manifests if isinstance(entry, dict)] if isinstance(manifests, list) else []
