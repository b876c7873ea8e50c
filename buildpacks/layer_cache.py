"""An app's cached layers: what `cache=true` keeps from one build to the next.

    <cache>/metadata.json            of each layer: its data, its digest when it is in the image too, its SBOMs
    <cache>/layers/<id>/<layer>/     contents
    <cache>/sbom/<id>/<layer>/       SBOM files

Rules of this file
1. It is written anew by each build and appears complete or not at all.
2. Buildpacks own the folders it is copied from: a link in place of one, and what no layer may hold, is refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from buildpacks.image.tar import refuse_special, walk
from buildpacks.lifecycle.sbom import MAX_SBOM_BYTES
from buildpacks.order import BuildFailed, Json
from buildpacks.result import PackResult, Result


def copy_layers(layers_dir: Path, draft: Path, packs: Sequence[PackResult]) -> None:
    """Copy what is to be kept; before launch layers are sealed, which moves them away.

    Raises  BuildFailed('layer-refused')
    """
    shutil.rmtree(draft, ignore_errors=True)
    for pack in packs:
        for layer in pack.layers:
            if not (layer.cache and layer.has_contents):
                continue
            source = real_dir(layers_dir / pack.escaped_id / layer.name)
            for _, name, status in walk(os.fsencode(source)):
                refuse_special(name, status.st_mode)
            target = draft / "layers" / pack.escaped_id / layer.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target, symlinks=True)
            copy_sboms(
                layers_dir / pack.escaped_id, layer.name, layer.sboms, draft / "sbom" / pack.escaped_id / layer.name
            )  # fmt: skip


def put_in_place(draft: Path, final: Path, result: Result, digests: Mapping[tuple[str, str], str]) -> None:
    """Write the metadata, and make the copy the app's cache.

    digests  (buildpack id, layer) -> diff id of a launch layer: its contents come back only beside that very layer
    """
    kept: list[Json] = []
    for pack in result.packs:
        layers: dict[str, Json] = {
            layer.name: {
                "launch": layer.launch, "data": dict(layer.data), "sha": digests.get((pack.key, layer.name), ""),
                "sboms": list(layer.sboms),
            }
            for layer in pack.layers
            if layer.cache and layer.has_contents
        }  # fmt: skip
        if layers:
            kept.append({"key": pack.key, "layers": layers})
    shutil.rmtree(final, ignore_errors=True)
    if kept:
        (draft / "metadata.json").write_text(json.dumps({"buildpacks": kept, "exec-env": result.exec_env}))
        draft.rename(final)


def copy_sboms(folder: Path, name: str, endings: Sequence[str], target: Path) -> None:
    """Copy `<name>.<ending>` of a buildpack's folder to <target>/<ending>.

    Raises  BuildFailed('layer-refused') for a file that is not what the lifecycle saw
    """
    for ending in endings:
        target.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / f"{name}.{ending}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                data = file.read(MAX_SBOM_BYTES + 1)
        except OSError as error:
            raise BuildFailed("layer-refused", path=f"{name}.{ending}", kind="no plain file") from error
        if len(data) > MAX_SBOM_BYTES:
            raise BuildFailed("layer-refused", path=f"{name}.{ending}", kind="too large for an SBOM")
        (target / ending).write_bytes(data)


def real_dir(path: Path) -> Path:
    """The folder, which is no link and lies below none. Raises BuildFailed('layer-refused').

    Why  buildpacks own the folder above: by a link in its place the server would seal, and so move, one of its own
    """
    if path.is_symlink() or os.path.realpath(path) != str(path):
        raise BuildFailed("layer-refused", path=path.name, kind="a link in place of a layer")
    return path
