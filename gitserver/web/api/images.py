"""An app's images: what is in them, the images themselves, and whether a second build makes them again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from buildpacks.image.archive import archive_length, read_archive
from buildpacks.image.document import parse_document, parse_layers, table, table_list
from buildpacks.image.oci import document_digest
from buildpacks.image.rebase import stack_name
from buildpacks.image.sbom import sbom
from buildpacks.image.settle import sendable
from buildpacks.image.store import LayerStore
from buildpacks.image.variants import variant_document, variant_names
from buildpacks.order import BuildFailed
from buildpacks.packs.second_image import NAMES
from buildpacks.stack.store import StackStore
from gitserver.errors import Json, Problem
from gitserver.images import find_image, release_of, uses_of
from gitserver.ledger.records import App, BuildKind, EnvKind, Image, NewBuild
from gitserver.web import schema as s
from gitserver.web.documents import BUILD, as_list, build_document, moment_text
from gitserver.web.routes import Access, Answer, ByteStream, Call, Registry

registry = Registry()
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")  # of an image reference; a git tag may hold more
_STATUS = "var/lib/dpkg/status"
_BRIEF = {
    "digest": s.text("sha256:..., the image's id"),
    "commit": s.text("40 hex digits"),
    "created_at": s.moment(),
    "stack": s.text("the stack that it lies on, `host` or `dockerfile`"),
    "size_bytes": s.whole("of the files in its own layers"),
    "used_by": s.array(s.text(), "what leads to it now: production, preview:BRANCH, a version"),
}
IMAGE = s.record(_BRIEF)
_LAYER = s.record(
    {
        "title": s.text(),
        "kind": s.choice("layer", "slice", "app"),
        "diff_id": s.text("sha256 of its tar"),
        "size_bytes": s.whole("of its files"),
        "tar_bytes": s.whole("of its tar; 0 when it was never counted"),
    }
)
_VARIANT = s.record(
    {
        "variant": s.choice(*NAMES),
        "digest": s.text("sha256:..., the id of its image"),
        "name": s.text("as an engine that loads its archive calls it"),
        "size_bytes": s.whole("of the files in its own layers"),
        "more_bytes": s.whole("of the files in layers that the image itself has not"),
    }
)
_ASKED = {"variant": s.choice(*NAMES, description="another image of the same release, not the one that serves")}
_DETAILS = s.record(
    {
        **_BRIEF,
        "name": s.text("as an engine that loads its archive calls it"),
        "base": s.maybe(s.record({"reference": s.text(), "image_id": s.text(), "layers": s.whole()})),
        "python": s.maybe(s.text("version")),
        "buildpacks": s.array(s.text()),
        "layers": s.array(_LAYER, "bottom to top, above the base"),
        "variants": s.array(_VARIANT, "other images of the same release"),
    }
)


@registry.route(
    "GET",
    "/api/v1/apps/<owner>/<app>/images",
    Access.APP_OWNER,
    query={"limit": s.whole("how many, newest first", minimum=1, maximum=500)},
    answers=s.record({"images": s.array(IMAGE)}),
)
def list_images(call: Call) -> Answer:
    """An app's images that are kept, newest first"""
    limit = call.query.get("limit", 50)
    assert isinstance(limit, int)
    uses = uses_of(call.services.ledger, call.app)
    newest = {image.digest: image for image in reversed(call.services.ledger.images(call.app.id))}
    shown = sorted(newest.values(), key=lambda image: image.created_at, reverse=True)[:limit]
    return Answer(document=as_list("images", [_brief(image, uses.get(image.digest, [])) for image in shown]))


@registry.route("GET", "/api/v1/apps/<owner>/<app>/images/<path:ref>", Access.APP_OWNER, query=_ASKED, answers=_DETAILS)
def show_image(call: Call) -> Answer:
    """What an image is made of; the reference is a version, a release, a commit, a digest or `production`"""
    found = find_image(call.services.ledger, call.app, call.args["ref"])
    image = _asked(call, found)
    uses = uses_of(call.services.ledger, call.app).get(found.digest, [])
    base = table(image.config.get("stack"))
    diff_ids = base.get("diff_ids")
    return Answer(
        document={
            **_brief(image, uses),
            "name": image_names(call.app, image, uses)[0],
            "base": {
                "reference": str(base.get("reference")), "image_id": str(base.get("image_id")),
                "layers": len(diff_ids) if isinstance(diff_ids, list) else 0,
            } if base else None,
            "python": str(table(image.config.get("python")).get("version", "")) or None,
            "buildpacks": [f"{pack['id']} {pack['version']}" for pack in table_list(image.config.get("buildpacks"))],
            "layers": [
                {
                    "title": layer.title, "kind": layer.kind, "diff_id": layer.diff_id, "size_bytes": layer.size_bytes,
                    "tar_bytes": layer.tar_bytes,
                }
                for layer in parse_layers(image.config)
            ],
            "variants": _variants(call.app, found, uses),
        }
    )  # fmt: skip


@registry.route(
    "GET",
    "/api/v1/apps/<owner>/<app>/images/<path:ref>/archive",
    Access.APP_OWNER,
    query=_ASKED,
    answers=None,
    media="application/x-tar",
)
def read_image_archive(call: Call) -> ByteStream:
    """The whole image as one file that `docker load` and `ctr images import` take"""
    settings = call.services.settings
    found = find_image(call.services.ledger, call.app, call.args["ref"])
    image = _asked(call, found)
    names = image_names(call.app, image, uses_of(call.services.ledger, call.app).get(found.digest, []))
    with _told():
        sent = sendable(image.config, LayerStore(root=settings.state), StackStore(root=settings.state / "stacks"))
        size_bytes = archive_length(sent, names)
    call.record("image.archive", app=str(call.app.name), image=image.digest)
    return ByteStream(chunks=read_archive(sent, names), media="application/x-tar", size_bytes=size_bytes)


@registry.route(
    "GET", "/api/v1/apps/<owner>/<app>/images/<path:ref>/sbom", Access.APP_OWNER, query=_ASKED, answers=s.mapping({})
)
def show_sbom(call: Call) -> Answer:
    """The bill of materials of an image, CycloneDX 1.6"""
    image = _asked(call, find_image(call.services.ledger, call.app, call.args["ref"]))
    with _told():
        document = json.loads(sbom(image.config, str(call.app.name), _dpkg_status(call, image)))
    assert isinstance(document, dict)
    return Answer(document=document)


@registry.route(
    "POST", "/api/v1/apps/<owner>/<app>/images/<path:ref>/verify", Access.APP_OWNER, answers=BUILD, status=202
)
def verify_image(call: Call) -> Answer:
    """Build the image's commit once more, with empty caches, and compare; nothing is released"""
    image = find_image(call.services.ledger, call.app, call.args["ref"])
    if image.config.get("base") == "dockerfile":
        raise Problem("not-verifiable", commit=image.commit[:7])
    return _errand(call, image, BuildKind.VERIFY)


@registry.route(
    "POST", "/api/v1/apps/<owner>/<app>/images/<path:ref>/push", Access.APP_OWNER, answers=BUILD, status=202
)
def push_image(call: Call) -> Answer:
    """Send an image to the server's registry, as a build does"""
    if not call.services.settings.registry:
        raise Problem("no-registry")
    return _errand(call, find_image(call.services.ledger, call.app, call.args["ref"]), BuildKind.UPLOAD)


def image_names(app: App, image: Image, uses: list[str]) -> list[str]:
    """`algo/alice-iris:0123456789ab`, then one name for each version of it, `...:v1-gpu` of a variant."""
    name, variant = f"algo/{app.name.owner}-{app.name.app}", image.config.get("variant")
    ending = f"-{variant}" if variant else ""
    versions = [use + ending for use in uses if use != EnvKind.PRODUCTION.value and _TAG.fullmatch(use + ending)]
    return [f"{name}:{image.digest[7:19]}", *(f"{name}:{version}" for version in versions)]


def _asked(call: Call, image: Image) -> Image:
    """The image itself, or the variant that the query names. Raises Problem('no-such-variant')."""
    name = call.query.get("variant")
    if name is None:
        return image
    with _told():
        doc = variant_document(image.config, str(name))
        return replace(image, digest=document_digest(doc), config=doc)


def _variants(app: App, image: Image, uses: list[str]) -> list[Json]:
    layers = set(parse_layers(image.config))
    found: list[Json] = []
    for name in variant_names(image.config):
        doc = variant_document(image.config, name)
        made = replace(image, digest=document_digest(doc), config=doc)
        sizes = {layer: layer.size_bytes for layer in parse_layers(doc)}
        found.append(
            {
                "variant": name, "digest": made.digest, "name": image_names(app, made, uses)[0],
                "size_bytes": sum(sizes.values()),
                "more_bytes": sum(size for layer, size in sizes.items() if layer not in layers),
            }
        )  # fmt: skip
    return found


def _errand(call: Call, image: Image, kind: BuildKind) -> Answer:
    release = release_of(call.services.ledger, call.app, image.digest)
    order = NewBuild(
        app_id=call.app.id,
        env_kind=EnvKind.PRODUCTION,
        # No branch can be called so: an errand waits for nobody's push, and nobody's push waits for it
        branch=f"({kind.value} {image.digest[7:19]})",
        kind=kind,
        git_ref=f"refs/deploy/{kind.value}",
        old=image.commit,
        new=image.commit,
        commit=image.commit,
        actor=call.caller.name,
        options={"image": image.digest, **({"config": str(release.config_version)} if release is not None else {})},
    )
    build = call.services.pushes.submit([order])[0]
    call.record(f"image.{kind.value}", app=str(call.app.name), image=image.digest, build=build.id)
    return Answer(document=build_document(build), status=202)


def _brief(image: Image, uses: list[str]) -> dict[str, Json]:
    return {
        "digest": image.digest,
        "commit": image.commit,
        "created_at": moment_text(image.created_at),
        "stack": stack_name(image.config),
        "size_bytes": sum(layer.size_bytes for layer in parse_layers(image.config)),
        "used_by": list[Json](uses),
    }


def _dpkg_status(call: Call, image: Image) -> str:
    """The Debian packages of the image's base; nothing for a base that has none."""
    stacks = StackStore(root=call.services.settings.state / "stacks")
    wanted = parse_document(image.config).base
    base = stacks.image(wanted.image_id)
    if base is None:
        raise BuildFailed("stack-image-gone", reference=wanted.reference)
    try:
        return (stacks.rootfs(base) / _STATUS).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


@contextmanager
def _told() -> Iterator[None]:
    """What an image cannot be assembled for, as an answer."""
    try:
        yield
    except BuildFailed as failed:
        raise Problem(failed.code, log=failed.log, **failed.fields) from failed
