"""Jobs about an image that is there already, and that change nothing of what serves: verify it, send it away.

A verification asks three questions, each with its own answer: are the layers in the store still what they were sealed
as, does a second build make the same layers and configuration, and does it lie on the same base.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from buildpacks.image.compare import base_moved, differences
from buildpacks.image.document import parse_layers
from buildpacks.image.oci import document_digest
from buildpacks.image.rebase import stack_name
from buildpacks.image.store import APP_PATH, LAYERS_PATH, LayerStore
from buildpacks.image.tar import diff_id
from buildpacks.image.variants import documents, variant_document, variant_names
from buildpacks.order import BuildFailed
from gitserver.errors import Json, Problem
from gitserver.job import Doors, Job
from gitserver.ledger.records import BuildKind, ConfigVersion, Image

ERRANDS = frozenset({BuildKind.VERIFY, BuildKind.UPLOAD})


def run_errand(job: Job, doors: Doors, state: Path) -> Image:
    """Carry a job out; the image that it was about.

    state   the server's folder
    Raises  Problem('image-gone'), and what the errand raises
    """
    image = doors.ledger.image(job.build.options["image"])
    if image is None:
        raise Problem("image-gone", digest=job.build.options["image"])
    if job.build.kind is BuildKind.VERIFY:
        verify(job, doors, image, state)
    else:
        doors.kitchen.publish(job, image)
    return image


def verify(job: Job, doors: Doors, expected: Image, state: Path) -> None:
    """Say in the job's log that the image is what its commit makes.

    state   the server's folder; the second build's store and caches lie with its other files, and go with them
    Raises  Problem('image-differs'), BuildFailed('layer-damaged' | 'layer-lost-in-store'), and what
            building and extracting raise
    """
    count = _check_store(expected, LayerStore(root=state))
    job.log.step(f"The store has all {count} layers as they were sealed")
    job.log.step(f"Building {expected.commit[:7]} a second time, with an empty store and empty caches")
    tree = doors.source.extract(job)
    again = doors.kitchen.build_again(job, tree, _config(job, doors), state / "builds" / str(job.build.id) / "scratch")
    different = _differences(expected.config, again.config)
    if different:
        for line in different:
            job.log.detail(line)
        raise Problem(
            "image-differs", commit=expected.commit[:7], expected=expected.digest[:19], found=again.digest[:19],
            what=list[Json](different),
        )  # fmt: skip
    if base_moved(expected.config, again.config):
        job.log.step(f"The same {count} layers; new builds lie on {stack_name(again.config)} by now, "
                     f"this image on {stack_name(expected.config)}")  # fmt: skip
        return
    job.log.step(f"The same image: {again.digest}")
    for name in variant_names(again.config):
        job.log.step(f"The same variant {name}: {document_digest(variant_document(again.config, name))}")


def _differences(first: Mapping[str, Json], second: Mapping[str, Json]) -> list[str]:
    """One sentence a difference, of the image that serves and of each variant."""
    ours, theirs = documents(first), documents(second)
    found = differences(first, second)
    for name in variant_names(first):
        if name in theirs:
            # What differs in the image that serves is said already.
            found += [f"variant {name}: {line}" for line in differences(ours[name], theirs[name]) if line not in found]
        else:
            found.append(f"variant {name} is not in the second build")
    return [*found, *(f"variant {name} is in the second build alone" for name in theirs if name not in ours)]


def _check_store(image: Image, store: LayerStore) -> int:
    layers = list(dict.fromkeys(layer for doc in documents(image.config).values() for layer in parse_layers(doc)))
    for layer in layers:
        folder = store.layer_path(layer.diff_id)
        if not folder.is_dir():
            raise BuildFailed("layer-lost-in-store", layer=layer.title, path=str(folder))
        image_path = f"{LAYERS_PATH}/{layer.path}" if layer.kind == "layer" else APP_PATH
        found = diff_id(folder, image_path).diff_id
        if found != layer.diff_id:
            raise BuildFailed(
                "layer-damaged", layer=layer.title, diff_id=layer.diff_id, detail=f"it is {found[:19]} now"
            )
    return len(layers)


def _config(job: Job, doors: Doors) -> ConfigVersion:
    """The configuration of then, for its BP_ variables decide what a build makes."""
    number = job.build.options.get("config")
    recorded = None
    if number is not None:
        recorded = doors.ledger.config_version(job.app.id, job.build.env_kind, int(number))
    return recorded or doors.ledger.config(job.app.id, job.build.env_kind)
