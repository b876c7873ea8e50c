"""An app's images, found by what people call them, and moved to another stack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from buildpacks.image.oci import document_digest
from buildpacks.image.settle import moved
from buildpacks.image.store import LayerStore
from buildpacks.stack.store import StackStore
from buildpacks.stack.values import Stack
from gitserver.errors import Problem
from gitserver.ledger.records import App, EnvKind, Image, Release
from gitserver.ledger.store import Ledger
from gitserver.push import PRODUCTION_BRANCH

PRODUCTION = "production"  # the image that production serves
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{12,64}")
_KNOWN = 5  # how many images a refusal names
_LOOKED_AT = 1000


def find_image(ledger: Ledger, app: App, ref: str) -> Image:
    """The image that a version, a release number of production, a commit, a digest or `production` means.

    Raises  Problem('no-such-image' | 'nothing-serves-yet')
    """
    images = {image.digest: image for image in reversed(ledger.images(app.id))}  # the newest row of a digest wins
    digest = _digest_of(ledger, app, ref, images)
    if digest is None or digest not in images:
        known = [image.commit[:7] for image in list(images.values())[: -_KNOWN - 1 : -1]]
        raise Problem("no-such-image", app=str(app.name), ref=ref[:100], known=", ".join(known) or "none yet")
    return images[digest]


def uses_of(ledger: Ledger, app: App) -> dict[str, list[str]]:
    """digest -> what leads to it now: `production`, `preview:x`, `v1`."""
    uses: dict[str, list[str]] = {}
    for environment in ledger.environments(app.id):
        release = None if environment.release_id is None else ledger.release(environment.release_id)
        if release is not None:
            is_production = environment.kind is EnvKind.PRODUCTION
            name = PRODUCTION if is_production else f"preview:{environment.branch}"
            uses.setdefault(release.image_digest, []).append(name)
    for version in reversed(ledger.versions(app.id)):
        uses.setdefault(version.image_digest, []).append(version.tag)
    return uses


def find_stack(stacks: StackStore, name: str | None) -> Stack:
    """A stack by name, or the one that new builds lie on. Raises Problem('no-stack-here'), BuildFailed."""
    stack = stacks.current() if name is None else stacks.find(name)
    if stack is None:
        raise Problem("no-stack-here", found=name or "bookworm", known=", ".join(stacks.names()) or "none yet")
    return stack


def rebased(image: Image, stacks: StackStore, name: str) -> Image:
    """The same layers on the run image of another stack, as an image of its own.

    Raises  Problem('no-stack-here'), BuildFailed('rebase-no-stack' | 'rebase-misfit')
    """
    doc = moved(image.config, find_stack(stacks, name), LayerStore(root=stacks.root.parent))
    return replace(image, digest=document_digest(doc), config=doc)


def release_of(ledger: Ledger, app: App, digest: str) -> Release | None:
    """The newest release of an image: it knows the configuration that the image was built with."""
    found = (release for release in ledger.releases(app.id, limit=_LOOKED_AT) if release.image_digest == digest)
    return next(found, None)


def _digest_of(ledger: Ledger, app: App, ref: str, images: Mapping[str, Image]) -> str | None:
    if ref == PRODUCTION:
        return _production(ledger, app)
    version = ledger.find_version(app.id, ref)
    if version is not None:
        return version.image_digest
    if _DIGEST.fullmatch(ref):
        return next((digest for digest in images if digest.startswith(ref)), None)
    if ref.isascii() and ref.isdigit() and len(ref) < len("1234567"):
        return _of_release(ledger, app, int(ref))
    if _COMMIT.fullmatch(ref):
        newest_first = ledger.images(app.id)
        return next((image.digest for image in newest_first if image.commit.startswith(ref)), None)
    return None


def _production(ledger: Ledger, app: App) -> str:
    environment = ledger.environment(app.id, EnvKind.PRODUCTION, PRODUCTION_BRANCH)
    release = None
    if environment is not None and environment.release_id is not None:
        release = ledger.release(environment.release_id)
    if release is None:
        raise Problem("nothing-serves-yet", app=str(app.name))
    return release.image_digest


def _of_release(ledger: Ledger, app: App, number: int) -> str | None:
    environment = ledger.environment(app.id, EnvKind.PRODUCTION, PRODUCTION_BRANCH)
    if environment is None:
        return None
    found = ledger.releases(app.id, environment_id=environment.id, limit=_LOOKED_AT)
    return next((release.image_digest for release in found if release.number == number), None)
