"""What a collection takes away: everything that lies here, less what is needed, less what is young.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gitserver.errors import Json


class Kind(StrEnum):
    """What can be taken away; the value is the word in the report."""

    IMAGE = "image folder"
    VIEW = "view"
    LAYER = "layer"
    NOTE = "note"
    DRAFT = "draft"
    BLOB = "compressed layer"
    BASE = "stack image"
    ENGINE_IMAGE = "engine image"
    MODEL_FILE = "model file"


# Nothing is taken apart before what leads to it: a folder of links goes before the layers that it links to.
ORDER = tuple(Kind)
_TOLD = 1000  # of the things that went, by name; counts tell of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that lies here.

    name        for people: the beginning of a digest, a tag
    serves      digest of the image, layer or base image that alone needs it; '' when only its age counts
    path        where; None for what lies in the engine
    changed_at  seconds since 1970; 0 for what has no age
    size_bytes  as its owner says; 0 for files, which are measured when it is known what goes
    handle      what the engine is told; '' for files
    """

    kind: Kind
    name: str
    serves: str
    path: Path | None = None
    changed_at: float = 0.0
    size_bytes: int = 0
    handle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Digests of images, layers and base images that stay."""

    images: frozenset[str]
    layers: frozenset[str]
    bases: frozenset[str]

    def wants(self, found: Found) -> bool:
        """Whether something is needed."""
        match found.kind:
            case Kind.IMAGE | Kind.ENGINE_IMAGE:
                return found.serves in self.images
            case Kind.LAYER | Kind.VIEW | Kind.NOTE | Kind.BLOB:
                return found.serves in self.layers
            case Kind.BASE:
                return found.serves in self.bases
            case Kind.DRAFT | Kind.MODEL_FILE:
                return False


def plan_collection(inventory: Iterable[Found], needed: Needed, now_s: float, lease_s: float) -> tuple[Found, ...]:
    """What goes, in the order in which it goes.

    now_s, lease_s  seconds; what changed within the last lease_s stays, for a running build may have adopted it
    """
    gone = [found for found in inventory if not needed.wants(found) and now_s - found.changed_at >= lease_s]
    return tuple(sorted(gone, key=lambda found: (ORDER.index(found.kind), found.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a collection took away, or would take away.

    images       digests whose records went
    freed_bytes  on the disk of the state folder; engine_bytes: as the engine says, layers shared with others included
    kept         what could not be taken away, each with the reason
    """

    dry_run: bool
    images: Sequence[str]
    gone: Sequence[Found]
    freed_bytes: int
    engine_bytes: int
    kept: Sequence[str]

    def document(self) -> dict[str, Json]:
        """As the API shows it."""
        counts: Mapping[str, int] = Counter(found.kind.value for found in self.gone)
        return {
            "dry_run": self.dry_run,
            "images": list[Json](self.images),
            "gone": [{"what": found.kind.value, "name": found.name} for found in self.gone[:_TOLD]],
            "counts": {kind.value: counts[kind.value] for kind in ORDER if counts.get(kind.value)},
            "freed_bytes": self.freed_bytes,
            "engine_bytes": self.engine_bytes,
            "kept": list[Json](self.kept),
        }
