"""Jobs about an image that is there already, and that change nothing of what serves: verify it, send it away.

A verification asks three questions, each with its own answer: are the layers in the store still what they were sealed
as, does a second build make the same layers and configuration, and does it lie on the same base.
"""

from __future__ import annotations

from pathlib import Path

from buildpacks.image.compare import base_moved, differences
from buildpacks.image.document import parse_layers
from buildpacks.image.rebase import stack_name
from buildpacks.image.store import APP_PATH, LAYERS_PATH, LayerStore
from buildpacks.image.tar import diff_id
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
    different = differences(expected.config, again.config)
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


def _check_store(image: Image, store: LayerStore) -> int:
    layers = parse_layers(image.config)
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
