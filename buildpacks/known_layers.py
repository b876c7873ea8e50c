"""Dependency layers by what decides their bytes: what one app has installed, another with the same lock need not.

    layers/by-key/<key>     diff id and sizes of the layer that a key stands for (algo_python/install.py, layer_key)

Rules of this file
1. Only builds that execute nothing of a repository and use the wheel cache that all apps share write notes or read
   them: an app with indexes of its own has layers of its own.
2. Only locks with a hash for each package are noted: then the lock alone decides what is installed.
3. What a build's process says of a layer without contents is a question: the answer is a layer that rule 1 allows.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from buildpacks.image.store import LayerStore
from buildpacks.image.tar import Digest
from buildpacks.order import Json
from buildpacks.packs.algo_python.install import KNOWN, is_hashed
from buildpacks.result import LayerResult, PackResult

_PACK, _LAYERS = "algo/python", frozenset({"deps", "deps-gpu"})  # both lie at the same path
_KEY = re.compile(r"[0-9a-f]{64}")
_NOTE = re.compile(r"(sha256:[0-9a-f]{64}) (\d{1,15}) (\d{1,15})\n")
_FILE = "known-layers.json"

Previous = Mapping[tuple[str, str], Mapping[str, Json]]


def write_known_layers(store: LayerStore, folder: Path) -> dict[str, str]:
    """Leave in folder key and size in bytes of each layer that is noted and there; the variable that tells where."""
    try:
        notes = sorted(_folder(store).iterdir())
    except FileNotFoundError:
        return {}
    found = {}
    for path in notes:
        digest = _read(path)
        # A look, no lease: else each build would keep every layer from the collector.
        if digest is not None and store.layer_path(digest.diff_id).is_dir():
            found[path.name] = digest.size_bytes
    (folder / _FILE).write_text(json.dumps(found))
    return {KNOWN: str(folder / _FILE)}


def add_known_layers(store: LayerStore, packs: Sequence[PackResult], previous: Previous, *, shares: bool) -> Previous:
    """The previous image's layers, with the noted one in place of a layer that a build left out for its key.

    shares  rule 1
    """
    found = dict(previous)
    for pack, layer, key in _keyed(packs):
        place = pack.key, layer.name
        before = previous.get(place, {}).get("data")
        if layer.has_contents or (isinstance(before, dict) and before.get("key") == key):
            continue
        found.pop(place, None)  # of another key: not what is meant
        digest = _read(_folder(store) / key) if shares else None
        if digest is not None:
            found[place] = {
                "sha": digest.diff_id, "size_bytes": digest.size_bytes, "tar_bytes": digest.tar_bytes,
            }  # fmt: skip
    return found


def note_layers(
    store: LayerStore, packs: Sequence[PackResult], digests: Mapping[tuple[str, str], Digest], *, shares: bool
) -> None:
    """Remember what was installed, for whoever asks for the same next. shares: rule 1."""
    for pack, layer, key in _keyed(packs):
        if not (shares and layer.has_contents and is_hashed(str(layer.data.get("lock", "")))):
            continue
        digest, folder = digests[pack.key, layer.name], _folder(store)
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{key}-{secrets.token_hex(4)}"
        draft.write_text(f"{digest.diff_id} {digest.size_bytes} {digest.tar_bytes}\n")
        draft.rename(folder / key)


def _keyed(packs: Sequence[PackResult]) -> Iterator[tuple[PackResult, LayerResult, str]]:
    for pack in packs:
        for layer in pack.layers:
            key = str(layer.data.get("key", ""))
            if pack.key == _PACK and layer.name in _LAYERS and layer.launch and _KEY.fullmatch(key):
                yield pack, layer, key


def _folder(store: LayerStore) -> Path:
    return store.root / "layers" / "by-key"


def _read(path: Path) -> Digest | None:
    try:
        found = _NOTE.fullmatch(path.read_text(encoding="ascii")) if _KEY.fullmatch(path.name) else None
    except (FileNotFoundError, UnicodeDecodeError):
        return None  # the collector was here, or it is none of ours
    return None if found is None else Digest(diff_id=found[1], size_bytes=int(found[2]), tar_bytes=int(found[3]))
