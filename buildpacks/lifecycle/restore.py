"""The restore phase: what buildpacks find of the previous build in their layers folder.

| build | cache | launch | toml     | contents |
|-------|-------|--------|----------|----------|
| any   | yes   | any    | restored | restored |
| yes   | no    | any    | no       | no       |
| no    | no    | yes    | restored | no       |
Toml and contents come both or not at all; a restored toml has no [types]: the buildpack opts in again. A layer's SBOM
files come with its toml, those of a phase never.

Source  buildpacks/spec buildpack.md 0.12, "Layer Types"; platform.md, "restorer"; contracts 1.6
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH103, PTH112

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from buildpacks.lifecycle.descriptor import Buildpack
from buildpacks.lifecycle.failure import ExitCode, LifecycleError
from buildpacks.lifecycle.job import Job
from buildpacks.lifecycle.toml_writer import render_toml


def restore(job: Job, group: Sequence[Buildpack]) -> None:
    """Write the layers folders of a group as their last build left them.

    Nothing but the store comes back from a build for another execution environment.
    Raises  LifecycleError 42 when the disk or the cache fails
    """
    try:
        _restore(job, group)
    except OSError as error:  # shutil's own is one
        raise LifecycleError(ExitCode.RESTORE, "restore-failed", message=str(error)) from error


def _restore(job: Job, group: Sequence[Buildpack]) -> None:
    previous = {str(item.get("key", "")): item for item in job.previous}
    cached = {str(item.get("key", "")): item for item in _read_cache_metadata(job.cache, job.exec_env)}
    for pack in group:
        folder = os.path.join(job.layers, pack.escaped_id)
        os.makedirs(folder, exist_ok=True)
        old, kept = previous.get(pack.id, {}), cached.get(pack.id, {})
        store = _mapping(_mapping(old.get("store")).get("metadata"))
        if store:
            _write(os.path.join(folder, "store.toml"), {"metadata": store})
        old_layers = _layers(old) if job.previous_exec_env == job.exec_env else {}
        kept_layers = _layers(kept)
        for name, layer in old_layers.items():
            if layer.get("launch") and not layer.get("build") and not layer.get("cache"):
                _write(os.path.join(folder, f"{name}.toml"), {"metadata": _mapping(layer.get("data"))})
                if job.sboms and layer.get("sboms"):
                    _restore_sboms(os.path.join(job.sboms, pack.escaped_id, name), folder, name)
        for name, layer in kept_layers.items():
            # Q: contents of a launch layer come back only when they are those that the image has.
            if layer.get("launch") and layer.get("sha") != old_layers.get(name, {}).get("sha"):
                continue
            source = os.path.join(job.cache, "layers", pack.escaped_id, name)
            if os.path.isdir(source):
                import shutil  # late: few buildpacks cache layers

                shutil.copytree(source, os.path.join(folder, name), symlinks=True)
                _write(os.path.join(folder, f"{name}.toml"), {"metadata": _mapping(layer.get("data"))})
                if layer.get("sboms"):
                    _restore_sboms(os.path.join(job.cache, "sbom", pack.escaped_id, name), folder, name)


def _restore_sboms(source: str, folder: str, layer: str) -> None:
    from buildpacks.lifecycle.sbom import restore_sboms  # late: few buildpacks write any

    restore_sboms(source, folder, layer)


def _read_cache_metadata(cache: str, exec_env: str) -> Sequence[Mapping[str, object]]:
    if not cache:
        return ()
    try:
        with open(os.path.join(cache, "metadata.json"), encoding="utf-8") as file:
            document = json.load(file)
    except FileNotFoundError:
        return ()
    except ValueError:
        return ()  # a cache is allowed to be gone; the build makes everything again
    if not isinstance(document, dict) or document.get("exec-env", exec_env) != exec_env:
        return ()
    found = document.get("buildpacks", [])
    return [item for item in found if isinstance(item, dict)]


def _layers(item: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    layers = _mapping(item.get("layers"))
    return {str(name): _mapping(layer) for name, layer in sorted(layers.items())}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _write(path: str, document: Mapping[str, object]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(render_toml(document))
