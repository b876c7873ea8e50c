"""Launch layers as the image gets them: each sealed, with the two that the lifecycle itself adds.

    <layers>/<id>/<layer>       what buildpacks made
    <layers>/sbom/launch        their SBOM files, where any buildpack wrote some
    <layers>/_launcher/run      launcher.py, where any layer has exec.d programs

Source  buildpacks/spec buildpack.md "Phase #6: Export", platform.md "exporter"; contracts 1.7
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from buildpacks.image.launching import exec_env_of, launch_of
from buildpacks.image.store import LAYERS_PATH, LayerStore
from buildpacks.image.tar import Digest, tar_length
from buildpacks.image.variants import variant_document, variant_names
from buildpacks.layer_cache import copy_sboms, real_dir
from buildpacks.lifecycle import launcher
from buildpacks.lifecycle.launch import LAUNCHER_FILE, LAUNCHER_LAYER, has_programs
from buildpacks.lifecycle.sbom import SBOM_LAYER
from buildpacks.order import BuildFailed, Json
from buildpacks.result import LayerResult, PackResult

_SETTINGS = ("env", "env.launch")

Previous = Mapping[tuple[str, str], Mapping[str, Json]]


def seal_layer(store: LayerStore, layers_dir: Path, pack: PackResult, layer: LayerResult, previous: Previous) -> Digest:
    """A launch layer's digest: sealed now, or the previous image's when its buildpack left no contents.

    Raises  BuildFailed: layer-refused, layer-leads-out, layer-empty, layer-lost
    """
    path = f"{LAYERS_PATH}/{pack.escaped_id}/{layer.image_name}"
    if layer.has_contents:
        source = real_dir(layers_dir / pack.escaped_id / layer.name)
        _refuse_ways_out(source, pack.key, layer.name)
        return store.seal(source, path)
    if layer.cache:  # Q: its contents were there to be restored
        raise BuildFailed("layer-empty", buildpack=pack.key, layer=layer.name)
    old = previous.get((pack.key, layer.name), {})
    sha = str(old.get("sha", ""))
    if not sha or not store.has_layer(sha):
        raise BuildFailed("layer-lost", buildpack=pack.key, layer=layer.name)
    size_bytes, tar_bytes = (int(str(old.get(name, 0))) for name in ("size_bytes", "tar_bytes"))
    if tar_bytes == 0:  # sealed before images had a length
        tar_bytes = tar_length(store.layer_path(sha), path)
    return Digest(diff_id=sha, size_bytes=size_bytes, tar_bytes=tar_bytes)


def _refuse_ways_out(layer: Path, pack: str, name: str) -> None:
    """Refuse links among a layer's settings that lead out of it.

    Why  the server reads these files, with its own rights, into an environment that the app can print
    """
    folders = [layer / folder for folder in _SETTINGS]
    folders += [Path(entry.path) for entry in _entries(layer / "env.launch") if entry.is_dir()]
    for folder in folders:
        for path in (folder, *(Path(entry.path) for entry in _entries(folder))):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(layer):
                raise BuildFailed("layer-leads-out", buildpack=pack, layer=name, path=str(path.relative_to(layer)))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def seal_sboms(store: LayerStore, layers_dir: Path, draft: Path, packs: Sequence[PackResult]) -> Digest | None:
    """The layer of all SBOM files about what the image holds; None: nobody wrote any."""
    for pack in packs:
        folder, target = layers_dir / pack.escaped_id, draft / pack.escaped_id
        copy_sboms(folder, "launch", pack.sboms, target)
        for layer in pack.layers:
            if layer.launch:
                copy_sboms(folder, layer.name, layer.sboms, target / layer.name)
    return store.seal(draft, f"{LAYERS_PATH}/{SBOM_LAYER}") if draft.is_dir() else None


def seal_launcher(store: LayerStore, draft: Path, layers: Sequence[Digest]) -> Digest | None:
    """The layer of launcher.py; None: no layer has programs for it to run."""
    if not any(has_programs(str(store.layer_path(layer.diff_id))) for layer in layers):
        return None
    draft.mkdir()
    shutil.copyfile(str(launcher.__file__), draft / LAUNCHER_FILE)
    return store.seal(draft, f"{LAYERS_PATH}/{LAUNCHER_LAYER}")


def refuse_other_starts(store: LayerStore, doc: Mapping[str, Json]) -> None:
    """Refuse a variant's layer that would start the image otherwise, by settings of its own.

    Why     what is known of the image that serves, its launch too, is then known of its variants
    Raises  BuildFailed('variant-starts-otherwise', variant)
    """
    launch = launch_of(store, doc)
    for name in variant_names(doc):
        if launch_of(store, variant_document(doc, name)) != launch:
            raise BuildFailed("variant-starts-otherwise", variant=name)


def previous_exec_env(config: Mapping[str, Json] | None) -> str:
    """The execution environment that a previous image was built for."""
    return exec_env_of(config or {})


def previous_sboms(config: Mapping[str, Json] | None, store: LayerStore) -> Path | None:
    """Where the SBOM files of a previous image lie; None: it has none, or they are not in the store any more."""
    layers = config.get("layers") if config is not None else None
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and layer.get("path") == SBOM_LAYER and layer.get("kind") == "layer":
            diff_id = str(layer["diff_id"])
            return store.layer_path(diff_id) if store.has_layer(diff_id) else None
    return None
