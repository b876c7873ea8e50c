"""What an engine is sent of an image, and whether it then has that image.  Pure.

An engine is believed in nothing: after every load its image is looked at again, by id and by layers, because both
stores can say "Loaded image" of one that they do not have (contracts/buildpacks.md 4.1).

    graphdriver   a layer may be an entry of no bytes when the whole chain up to it is there, in that order
    containerd    a blob may be left out when it is there, wherever it stands; an entry of no bytes would be a layer
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from buildpacks.image.archive import archive_manifest
from buildpacks.image.oci import digest_of
from buildpacks.image.values import ImageLayer, OutboundImage
from buildpacks.order import BuildFailed
from gitserver.errors import Json
from gitserver.targets.containers import EngineImage, StoreKind

# A busy disk unpacks at this rate at the least; an engine that is slower is taken for one that hangs.
_SLOW_BYTES_PER_S = 10 * 1024 * 1024
_DONORS = 3  # base, dependencies and model may have come with different images; each is looked at before it is trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Which layers go with their bytes. skip, empty: diff ids, as buildpacks.image.archive takes them."""

    layers: Sequence[ImageLayer]
    skip: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()

    @property
    def tar_bytes(self) -> int:
        """Bytes of the layers that go."""
        return sum(layer.tar_bytes for layer in self.layers)

    @property
    def is_complete(self) -> bool:
        """Nothing is left out: the engine needs nothing of what it has."""
        return not self.skip and not self.empty


@dataclass(slots=True)
class Counted:
    """Passes chunks on and counts them. sent_bytes: what went so far."""

    chunks: Iterable[bytes]
    sent_bytes: int = 0

    def __iter__(self) -> Iterator[bytes]:
        """The chunks. Raises BuildFailed('layer-damaged') for one that cannot be read from our own disk."""
        try:
            for chunk in self.chunks:
                self.sent_bytes += len(chunk)
                yield chunk
        except OSError as unread:
            # The HTTP client would take it for a broken connection.
            raise BuildFailed("layer-damaged", layer=str(unread.filename), detail=str(unread.strerror)) from unread


def plan_sending(image: OutboundImage, store: StoreKind, known: Iterable[Sequence[str]]) -> Sending:
    """Leave out what the engine has.

    known  diff ids, bottom to top, of images that are in the engine now
    """
    diff_ids = [layer.diff_id for layer in image.layers]
    match store:
        case StoreKind.GRAPHDRIVER:
            shared = max((_shared(diff_ids, chain) for chain in known), default=0)
            # A layer that comes twice has one entry in the archive: the second time it may be needed.
            empty = frozenset(diff_ids[:shared]) - frozenset(diff_ids[shared:])
            return Sending(layers=_with_bytes(image, empty), empty=empty)
        case StoreKind.CONTAINERD:
            skip = frozenset(diff_ids) & frozenset(diff_id for chain in known for diff_id in chain)
            return Sending(layers=_with_bytes(image, skip), skip=skip)


def find_donors(image: OutboundImage, store: StoreKind, chains: Mapping[str, Sequence[str]]) -> list[str]:
    """Which images of an engine spare the most bytes, the best first, three at the most.

    chains  image id -> its diff ids
    """
    donors: list[str] = []
    needed_bytes = plan_sending(image, store, ()).tar_bytes
    while len(donors) < _DONORS:
        given = [chains[name] for name in donors]
        needed = {name: plan_sending(image, store, [*given, chain]).tar_bytes for name, chain in chains.items()}
        best = min(needed, key=needed.__getitem__, default="")
        if not best or needed[best] >= needed_bytes:
            break
        donors.append(best)
        needed_bytes = needed[best]
    return donors


def complete_sending(image: OutboundImage) -> Sending:
    """Everything, for an engine about which there is a doubt."""
    return Sending(layers=_with_bytes(image, frozenset()))


def expected_id(image: OutboundImage, store: StoreKind) -> str:
    """What the engine will call the image: its configuration, or its manifest, by content."""
    match store:
        case StoreKind.GRAPHDRIVER:
            return image.image_id
        case StoreKind.CONTAINERD:
            return digest_of(archive_manifest(image))


def find_difference(image: OutboundImage, store: StoreKind, found: EngineImage | None) -> str:
    """'' when the engine has exactly this image, unpacked; else what is different, in words."""
    if found is None:
        return "it is not there"
    expected = expected_id(image, store)
    if found.id != expected:
        return f"its id is {found.id}, not {expected}"
    if list(found.diff_ids) != [layer.diff_id for layer in image.layers]:
        # The containerd store answers without layers for an image that it could not unpack.
        return f"{len(found.diff_ids)} of its {len(image.layers)} layers are there"
    return ""


def find_refusal(events: Iterable[Mapping[str, Json]], log: Callable[[str], None] = lambda _: None) -> str:
    """'' when the answer of a load names no failure; else the engine's words. All of the answer is read.

    events  the objects of its JSON stream
    log     is told nothing but the engine's warnings
    """
    refusal = ""
    for event in events:
        detail, stream = event.get("errorDetail"), event.get("stream")
        if isinstance(detail, dict):
            refusal = refusal or str(detail.get("message", "")).strip() or "it gave no reason"
        elif event.get("error"):
            refusal = refusal or str(event["error"]).strip()
        elif set(event) == {"message"}:  # a refusal of the request itself, which the SDK passes on as an event
            refusal = refusal or str(event["message"]).strip()
        if isinstance(stream, str) and stream.lower().startswith("error unpacking"):
            refusal = refusal or stream.strip()
        elif isinstance(stream, str) and stream.lower().startswith("warning"):
            log(stream.strip())
    return refusal


def load_timeout_s(sending: Sending) -> float:
    """How long an engine may be silent over what it was sent: it unpacks without a word."""
    return 60 + sending.tar_bytes / _SLOW_BYTES_PER_S


def _shared(wanted: Sequence[str], chain: Sequence[str]) -> int:
    count = 0
    for mine, theirs in zip(wanted, chain, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _with_bytes(image: OutboundImage, omitted: frozenset[str]) -> tuple[ImageLayer, ...]:
    once = {layer.diff_id: layer for layer in image.layers}
    return tuple(layer for diff_id, layer in once.items() if diff_id not in omitted)
