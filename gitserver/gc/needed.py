"""Which images have to stay: what serves, what can be gone back to, what a job is about to use.  Pure.

Rules of this file
1. A version is immutable: its image stays as long as its app.
2. An environment keeps the images of its newest releases, by number and by age, whichever is more.
3. A queued or running job keeps every image of its commit: a rollback, a version of a commit that was built before.
4. What runs now keeps its image, whatever the records say.
5. In doubt it stays: a young image may belong to a job whose last line is not written yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from buildpacks.image.document import table, table_list
from gitserver.errors import Json
from gitserver.ledger.records import Build, Image, Release, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How far back an environment can go, and how old a thing must be before it may be taken away."""

    releases: int
    days: int
    lease: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything that can need an image, read at one moment.

    images     every row; one digest may have several
    apps       ids that live
    releases   of each living environment, newest first
    serving    ids of the releases that environments serve now
    versions   of every app
    jobs       queued and running builds
    instances  names of what runs: `b<build>`, `i<app>-<16 hex>-...`
    made_by    build id -> the image that it released
    """

    images: Sequence[Image]
    apps: frozenset[int]
    releases: Mapping[int, Sequence[Release]]
    serving: frozenset[int]
    versions: Sequence[Version]
    jobs: Sequence[Build]
    instances: Sequence[str]
    made_by: Mapping[int, str]


def needed_digests(records: Records, retention: Retention, now: datetime) -> frozenset[str]:
    """Digests of the images that stay."""
    needed = {version.image_digest for version in records.versions if version.app_id in records.apps}
    for releases in records.releases.values():
        needed |= {release.image_digest for release in _retained(releases, records.serving, retention, now)}
    commits = {(job.app_id, job.commit) for job in records.jobs}
    needed |= {job.image_digest for job in records.jobs if job.image_digest is not None}
    for image in records.images:
        if (image.app_id, image.commit) in commits or now - image.created_at < retention.lease:
            needed.add(image.digest)
    return frozenset(needed | _running(records))


def diff_ids(images: Iterable[Mapping[str, Json]]) -> frozenset[str]:
    """The layers of image documents, and those that only a variant of them has."""
    return frozenset(str(layer.get("diff_id")) for doc in images for layer in _layers(doc))


def base_ids(images: Iterable[Mapping[str, Json]]) -> frozenset[str]:
    """Image ids of the stacks' run images that image documents lie on."""
    stacks = (doc.get("stack") for doc in images)
    return frozenset(str(stack.get("image_id")) for stack in stacks if isinstance(stack, dict))


def _layers(doc: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    yield from table_list(doc.get("layers"))
    for variant in table(doc.get("variants")).values():
        yield from table_list(table(variant).get("layers"))


def _retained(
    releases: Sequence[Release], serving: frozenset[int], retention: Retention, now: datetime
) -> Iterable[Release]:
    oldest = now - timedelta(days=retention.days)
    for position, release in enumerate(releases):
        if position < retention.releases or release.created_at >= oldest or release.id in serving:
            yield release


def _running(records: Records) -> set[str]:
    """Images of instances: one that still drains belongs to no environment any more."""
    needed = set()
    for instance in records.instances:
        kind, _, rest = instance[:1], "", instance[1:]
        if kind == "b" and rest.isdigit() and int(rest) in records.made_by:
            needed.add(records.made_by[int(rest)])
        if kind == "i":
            digits = rest.split("-")[1] if "-" in rest else ""
            needed |= {image.digest for image in records.images if image.digest.startswith(f"sha256:{digits}")}
    return needed
