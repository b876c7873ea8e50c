"""Another stack beside a real one: the same files and a few more, so that a release can move and tell where it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from buildpacks.image.tar import memory_layer
from buildpacks.image.values import CONFIG, LAYER, MANIFEST
from buildpacks.order import Json
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import BaseLayer, Stack


def add_second_stack(store: StackStore, name: str, files: Mapping[str, bytes] | None = None, **changes: Any) -> Stack:
    """A stack like the current one, with files below /etc of its own. It does not become the current one.

    changes  fields of Stack
    """
    first = store.current()
    assert first is not None
    tar = memory_layer("etc", {"stack-name": name.encode(), **(files or {})})
    layer = BaseLayer(diff_id=f"sha256:{hashlib.sha256(tar).hexdigest()}", blob=store.put_blob([tar], media_type=LAYER))
    rootfs = first.run.config["rootfs"]
    assert isinstance(rootfs, dict)
    diff_ids = rootfs["diff_ids"]
    assert isinstance(diff_ids, list)
    config: dict[str, Json] = {**first.run.config, "rootfs": {**rootfs, "diff_ids": [*diff_ids, layer.diff_id]}}
    config.pop("history", None)
    blob = store.put_blob([json.dumps(config, sort_keys=True).encode()], media_type=CONFIG)
    manifest = store.put_blob([json.dumps({"config": blob.digest}).encode()], media_type=MANIFEST)
    run = replace(
        first.run, reference=f"algo/{name}-run", image_id=blob.digest, manifest_digest=manifest.digest, config=config,
        layers=(*first.run.layers, layer),
    )  # fmt: skip
    stack = replace(first, name=name, run=run, **changes)
    store.add(stack)
    return stack
