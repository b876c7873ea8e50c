"""Loading an image into an engine: look, send what it lacks, look again, and once more with everything where it failed.

Rules of this file
1. An engine that says "Loaded image" may not have it (engine_load.py): what is served must be what was built.
2. The containerd store takes 20 ms a look, and 20 ms an image for a list: images are remembered and only those that
   spare bytes now are looked at again. The list is asked for once, and not when what has to go is little anyway.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from buildpacks.image.archive import read_archive
from buildpacks.image.values import OutboundImage
from gitserver.errors import Problem
from gitserver.targets.containers import EngineImage, Sent, StoreKind
from gitserver.targets.engine_load import (
    Counted,
    Sending,
    complete_sending,
    expected_id,
    find_difference,
    find_donors,
    load_timeout_s,
    plan_sending,
)
from gitserver.targets.engine_trouble import is_out_of_space

OUR_LABEL = {"algo.image": "1"}  # buildpacks/image/labels.py: on every image that we make
_LOCKS = 64
_LOOK_AT = 200  # images of a list; beyond it a layer may be sent that was there
_REMEMBERED = 2000
_LITTLE_BYTES = 1024 * 1024  # sent sooner than looked for
Log = Callable[[str], None]


class ImageDoor(Protocol):
    """What loading needs of an engine. Each raises Problem as containers.Engine says."""

    host: str

    def image(self, name: str) -> EngineImage | None:
        """By id or tag; None when there is none."""
        ...

    def image_ids(self, labels: Mapping[str, str], repository: str = "") -> Sequence[str]:
        """Ids of all that carry these labels, newest first; of one repository when it is named."""
        ...

    def name_image(self, image: str, tag: str) -> None:
        """Give an image that is there another tag."""
        ...

    def remove_image(self, image: str) -> None:
        """By id or tag."""
        ...

    def send(self, archive: Iterable[bytes], timeout_s: float, log: Log) -> str:
        """Load an archive: '' when the answer names no failure, else the engine's words."""
        ...


class Loader:
    """Remembers which layers the images of one engine have. Threads may call it."""

    def __init__(self, door: ImageDoor) -> None:
        self._door = door
        self._chains: dict[str, tuple[str, ...]] = {}  # image id -> diff ids: by content, so it never changes
        self._has_looked = False
        # Held while an image is sent: a second load of the same one then finds it there.
        self._gates = tuple(threading.Lock() for _ in range(_LOCKS))

    def ensure(self, image: OutboundImage, tag: str, store: StoreKind, log: Log) -> Sent:
        """As containers.Engine.ensure."""
        with self._gates[hash(image.image_id) % _LOCKS]:
            if self._is_there(image, tag, store):
                return Sent(image=expected_id(image, store), sent_bytes=0, layers_sent=0)
            sending, sent_bytes = plan_sending(image, store, self._known(image, tag, store)), 0
            while True:
                counted = Counted(read_archive(image, [tag], skip=sending.skip, empty=sending.empty))
                refusal = self._send(image, tag, store, sending, counted, log)
                sent_bytes += counted.sent_bytes
                if not refusal:
                    image_id = expected_id(image, store)
                    self._remember(image_id, tuple(layer.diff_id for layer in image.layers))
                    return Sent(image=image_id, sent_bytes=sent_bytes, layers_sent=len(sending.layers))
                if is_out_of_space(refusal):
                    raise Problem("engine-out-of-space", host=self._door.host, detail=refusal)
                if sending.is_complete:
                    raise Problem("image-load-failed", image=tag, detail=refusal)
                log(f"The engine did not take the new layers alone ({refusal}); sending the whole image")
                sending = complete_sending(image)

    def _is_there(self, image: OutboundImage, tag: str, store: StoreKind) -> bool:
        if not find_difference(image, store, self._door.image(tag)):
            return True
        found = self._door.image(expected_id(image, store))
        if found is None or find_difference(image, store, found):
            return False
        self._door.name_image(found.id, tag)
        return True

    def _known(self, image: OutboundImage, tag: str, store: StoreKind) -> list[tuple[str, ...]]:
        """Layers of images that are there now and spare the most."""
        known = self._still_there(image, store)
        if not self._has_looked and plan_sending(image, store, known).tar_bytes > _LITTLE_BYTES:
            self._look(image, tag, store)
            known = self._still_there(image, store)
        return known

    def _still_there(self, image: OutboundImage, store: StoreKind) -> list[tuple[str, ...]]:
        """The best of what is remembered, each looked at: an image may have been removed behind our back."""
        while True:
            chains = dict(self._chains)
            donors = find_donors(image, store, chains)
            gone = [name for name in donors if not self._has(name, chains[name])]
            if not gone:
                return [chains[name] for name in donors]
            for name in gone:
                self._chains.pop(name, None)

    def _has(self, image_id: str, chain: tuple[str, ...]) -> bool:
        found = self._door.image(image_id)
        return found is not None and tuple(found.diff_ids) == chain

    def _look(self, image: OutboundImage, tag: str, store: StoreKind) -> None:
        """Learn what the engine has, the app's own images first, until little is left to send."""
        # In the containerd store ours alone: the blobs of others may be compressed, and then ours are not there.
        labels = OUR_LABEL if store is StoreKind.CONTAINERD else {}
        for repository in (tag.rpartition(":")[0], ""):
            for name in self._door.image_ids(labels, repository)[:_LOOK_AT]:
                if name in self._chains or (found := self._door.image(name)) is None or not found.diff_ids:
                    continue
                self._remember(name, tuple(found.diff_ids))
                if plan_sending(image, store, dict(self._chains).values()).tar_bytes <= _LITTLE_BYTES:
                    return
        self._has_looked = True

    def _remember(self, image_id: str, chain: tuple[str, ...]) -> None:
        self._chains[image_id] = chain
        while len(self._chains) > _REMEMBERED:
            self._chains.pop(next(iter(self._chains)), None)

    def _send(
        self, image: OutboundImage, tag: str, store: StoreKind, sending: Sending, counted: Counted, log: Log
    ) -> str:
        """One attempt: '' when the engine then has the image, else why not; what it made of it is removed."""
        is_loaded = False
        try:
            refusal = self._door.send(counted, load_timeout_s(sending), log)
            refusal = refusal or find_difference(image, store, self._door.image(tag))
            is_loaded = not refusal
            return refusal
        finally:
            if not is_loaded:
                self._drop(image, tag, store)

    def _drop(self, image: OutboundImage, tag: str, store: StoreKind) -> None:
        """What a failed load left is removed; a whole image of that name, from another server's load, stays."""
        with contextlib.suppress(Problem):  # the failure of the load is what people must hear of
            for name in (tag, expected_id(image, store)):
                found = self._door.image(name)
                if found is not None and find_difference(image, store, found):
                    self._door.remove_image(name)
