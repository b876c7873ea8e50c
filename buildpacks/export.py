"""A finished lifecycle becomes an image: launch layers, slices, application, config.

Layer order is the specification's: launch layers by group then name, slices, the rest of the application.

Source  buildpacks/spec buildpack.md "Phase #6: Export"; contracts 1.7
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from buildpacks.image.config import FORMAT
from buildpacks.image.document import table, table_list
from buildpacks.image.launching import launch_of
from buildpacks.image.oci import document_digest
from buildpacks.image.store import APP_PATH, LayerStore
from buildpacks.image.tar import Digest
from buildpacks.image.variants import VariantLayer, make_variants, variant_layers
from buildpacks.kitchen import Workshop
from buildpacks.known_layers import add_known_layers, note_layers
from buildpacks.launch_layers import refuse_other_starts, seal_launcher, seal_layer, seal_sboms
from buildpacks.layer_cache import copy_layers, put_in_place
from buildpacks.lifecycle.launch import DEFAULT_EXEC_ENV, LAUNCHER_LAYER
from buildpacks.lifecycle.sbom import SBOM_LAYER
from buildpacks.model_notes import LABEL as MODEL_FACTS
from buildpacks.model_notes import save_known
from buildpacks.order import BigFile, BuildOrder, BuiltImage, Json
from buildpacks.result import Result
from buildpacks.slices import match_slice

_MAX_LABEL_BYTES = 64 * 1024
_VERSION = re.compile(r"3\.\d{1,2}\.\d{1,2}")
_OURS = ("algo.serve", "algo.model", "algo.python-executable", MODEL_FACTS)


def export(order: BuildOrder, workshop: Workshop, result: Result) -> BuiltImage:
    """Seal every layer and compose the image. Raises BuildFailed: layer-refused, what seal_layer raises."""
    store = LayerStore(root=order.store_dir)
    previous = add_known_layers(store, result.packs, previous_layers(order.previous), shares=workshop.shares)
    layers: list[Json] = []
    lifecycle: list[Json] = []
    cache_draft = order.cache_dir / "layers.new"
    copy_layers(workshop.layers, cache_draft, result.packs)
    digests: dict[tuple[str, str], Digest] = {}
    apart: list[VariantLayer] = []
    for pack in result.packs:
        kept: dict[str, Json] = {}
        for layer in pack.layers:
            if not layer.launch:
                continue
            digest = digests[pack.key, layer.name] = seal_layer(store, workshop.layers, pack, layer, previous)
            record: dict[str, Json] = {
                "sha": digest.diff_id, "data": dict(layer.data), "size_bytes": digest.size_bytes,
                "tar_bytes": digest.tar_bytes,
                "launch": True, "build": layer.build, "cache": layer.cache,
                **({"sboms": list(layer.sboms)} if layer.sboms else {}),
            }  # fmt: skip
            entry = _entry(digest, "layer", f"{pack.escaped_id}/{layer.image_name}")
            if layer.variant:
                apart.append(VariantLayer(layer.variant, pack.key, layer.name, record, entry))
                continue
            kept[layer.name] = record
            layers.append(entry)
        lifecycle.append(
            {"key": pack.key, "version": pack.version, "api": pack.api, "store": dict(pack.store), "layers": kept}
        )
    note_layers(store, result.packs, digests, shares=workshop.shares)
    save_known(order, result.labels.get(MODEL_FACTS, ""))
    put_in_place(
        cache_draft, order.cache_dir / "layers", result, {key: digest.diff_id for key, digest in digests.items()}
    )
    sboms = seal_sboms(store, workshop.layers, order.work_dir / "sboms", result.packs)
    launcher = seal_launcher(store, order.work_dir / "launcher", [*digests.values()])
    for added, path in ((sboms, SBOM_LAYER), (launcher, LAUNCHER_LAYER)):
        if added is not None:
            layers.append(_entry(added, "layer", path))
    layers += _slices(order, store, result.slices)
    layers.append(_entry(store.seal(order.app_dir, APP_PATH), "app", ""))
    config: dict[str, Json] = {
        "format": FORMAT,
        **order.ground.document(),
        "python": _python(result.labels),
        "layers": layers,
        "processes": [dict(process) for process in result.processes],
        "buildpacks": [{"id": pack.key, "version": pack.version, "api": pack.api} for pack in result.packs],
        "labels": {key: value for key, value in sorted(result.labels.items()) if key not in _OURS},
        "model": _model(result.labels),
        "lifecycle": {
            "buildpacks": lifecycle,
            **({} if result.exec_env == DEFAULT_EXEC_ENV else {"exec-env": result.exec_env}),
        },
    }
    if result.slices:
        config["slices"] = [list(paths) for paths in result.slices]
    if workshop.choice is not None:
        config["choice"] = dict(workshop.choice)
    if apart:
        config["variants"] = make_variants(apart)
        refuse_other_starts(store, config)
    if order.ground.stack is not None:
        config["launch"] = launch_of(store, config)
    return BuiltImage(digest=document_digest(config), config=config)


def previous_layers(config: Mapping[str, Json] | None) -> dict[tuple[str, str], Mapping[str, Json]]:
    """(buildpack id, layer name) -> its record in a previous image's config."""
    found: dict[tuple[str, str], Mapping[str, Json]] = {}
    for pack in previous_packs(config):
        layers = pack.get("layers")
        for name, layer in layers.items() if isinstance(layers, dict) else ():
            if isinstance(layer, dict):
                found[str(pack.get("key")), name] = layer
    return found


def previous_packs(config: Mapping[str, Json] | None) -> list[dict[str, Json]]:
    """Buildpacks in a previous image's lifecycle metadata, with its variants' layers beside the image's own.

    Empty for none and for a config of another shape.
    """
    packs = table_list(table(None if config is None else config.get("lifecycle")).get("buildpacks"))
    apart = variant_layers(config)
    return [
        {**pack, "layers": {**table(pack.get("layers")), **apart[str(pack.get("key"))]}}
        if str(pack.get("key")) in apart
        else pack
        for pack in packs
    ]


def _entry(digest: Digest, kind: str, path: str) -> dict[str, Json]:
    return {
        "diff_id": digest.diff_id, "kind": kind, "path": path, "size_bytes": digest.size_bytes,
        "tar_bytes": digest.tar_bytes,
    }  # fmt: skip


def _slices(order: BuildOrder, store: LayerStore, slices: Sequence[Sequence[str]]) -> list[Json]:
    """Every big file is a slice of its own, whatever globs say; then each `[[slices]]` with what it still matches."""
    made: list[Json] = []
    for repo_path, big in sorted(order.big_files.items()):
        path = order.app_dir / repo_path
        if _is_link_of(path, big):
            digest = store.seal_blob(big, repo_path)
            path.unlink()
            made.append(_entry(digest, "slice", repo_path))
    for number, globs in enumerate(slices):
        matched = match_slice(order.app_dir, globs)
        if not matched:
            continue
        draft = order.work_dir / f"slice-{number}"
        draft.mkdir()
        for repo_path in matched:
            target = draft / repo_path
            target.parent.mkdir(parents=True, exist_ok=True)
            (order.app_dir / repo_path).rename(target)
        made.append(_entry(store.seal(draft, APP_PATH), "slice", ":".join(globs)))
    return made


def _is_link_of(path: Path, big: BigFile) -> bool:
    try:
        here, blob = path.lstat(), big.host_path.lstat()
    except FileNotFoundError:
        return False  # a buildpack removed or moved it
    return (here.st_dev, here.st_ino) == (blob.st_dev, blob.st_ino)


def _python(labels: Mapping[str, str]) -> dict[str, Json] | None:
    version, path = labels.get("algo.python", ""), labels.get("algo.python-executable", "")
    return {"version": version, "path": path} if _VERSION.fullmatch(version) and path.startswith("/") else None


def _model(labels: Mapping[str, str]) -> Json:
    """{"serve": what the shim is told, "facts": what the model file says} for images that serve a model."""
    try:
        serve, facts = (_load_label(labels.get(name, "null")) for name in ("algo.serve", "algo.model"))
    except ValueError:
        return None
    return {"serve": serve, "facts": facts} if isinstance(serve, dict) else None


def _load_label(text: str) -> Json:
    if len(text) > _MAX_LABEL_BYTES or not re.match(r"[\[{n]", text):
        raise ValueError("not a document")
    value: Json = json.loads(text)
    return value
