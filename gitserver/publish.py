"""Every image that was built goes to the operator's registry, before it serves: `PREFIX/owner/app`.

Tags: the commit's first twelve digits, and the version when a version was pushed. A bill of materials and the build's
provenance go along as documents about the image. A second image of the same release has the same tags with its
variant's name behind them: `v1.2-gpu`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from buildpacks.image import provenance, sbom
from buildpacks.image.provenance import Origin
from buildpacks.image.push import Pushed, PushOrder, push_image
from buildpacks.image.reference import is_tag, parse_place
from buildpacks.image.referrers import Referrer
from buildpacks.image.registry import Registry, RegistryOptions, transport
from buildpacks.image.settle import sendable
from buildpacks.image.store import LayerStore
from buildpacks.image.values import Blob
from buildpacks.image.variants import documents
from buildpacks.order import BuildFailed, Json
from buildpacks.stack.store import StackStore
from gitserver.errors import Problem
from gitserver.job import Job
from gitserver.ledger.records import Image
from gitserver.push import AppName

_VERSION_REF = "refs/tags/"
_COMMIT_DIGITS = 12
_LOGIN_CODES = {"registry-login-wrong", "registry-login-missing", "registry-denied"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """Where images go, as the operator said it.

    place          `HOST[:PORT]/PREFIX`
    plain_http     that host is spoken to without TLS
    docker_config  the folder of `docker login`'s config.json; None: no login
    builder        a URI for this server, named in provenance
    """

    place: str
    plain_http: bool = False
    docker_config: Path | None = None
    ca_bundle: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict)
    builder: str = "urn:algopush:server"


def settings_from(
    *, registry: str, plain_http: bool, docker_config: str, environment: Mapping[str, str]
) -> RegistrySettings:
    """The server's settings as they concern registries. environment: Settings.build_env (certificates, proxies)."""
    ca_bundle, proxies = transport(environment)
    return RegistrySettings(
        place=registry,
        plain_http=plain_http,
        docker_config=Path(docker_config) if docker_config else None,
        ca_bundle=ca_bundle,
        proxies=proxies,
    )


def registry_options(settings: RegistrySettings) -> RegistryOptions:
    """How the operator's registry is reached. Raises Problem('registry-setting-bad')."""
    registry, _ = _place(settings)
    return RegistryOptions(
        plain_http=frozenset({registry}) if settings.plain_http else frozenset(),
        docker_config=settings.docker_config,
        ca_bundle=settings.ca_bundle,
        proxies=settings.proxies,
    )


class Publisher:
    """Pushes images to the operator's registry. Safe for threads: all builds share its connections."""

    def __init__(self, settings: RegistrySettings, state: Path) -> None:
        """state: the server's folder (layers/, stacks/, blobs/). Raises Problem('registry-setting-bad')."""
        self._settings, self._state = settings, state
        self._options = registry_options(settings)
        self._name, self._prefix = _place(settings)
        self._registry: Registry | None = None
        self._lock = threading.Lock()

    def publish(self, job: Job, image: Image) -> None:
        """Push the image of a job, and say so in its log.

        An image of a Dockerfile is left where it is, in the engine.
        Raises  BuildFailed: what push_image raises, no-stack
        """
        if image.config.get("base") == "dockerfile":
            job.log.detail(f"Not pushed to {self._name}: an image of a Dockerfile stays in the container engine")
            return
        for variant, doc in documents(image.config).items():
            self._publish_one(job, image.commit, doc, variant)

    def _publish_one(self, job: Job, commit_sha: str, doc: Mapping[str, Json], variant: str) -> None:
        """variant: '' for the image that serves. Of what both have, the second push sends nothing."""
        started = time.monotonic()
        stacks = StackStore(root=self._state / "stacks")
        repository = self.repository_of(job.app.name)
        origin = Origin(
            app=str(job.app.name),
            commit_sha=commit_sha,
            builder=self._settings.builder,
            build_id=str(job.build.id),
            started_at=job.build.started_at or job.build.created_at,
            finished_at=datetime.now(UTC),
            parameters={},
        )
        order = PushOrder(
            image=sendable(doc, LayerStore(root=self._state), stacks),
            repository=repository,
            tags=_tags(commit_sha, job.build.git_ref, f"-{variant}" if variant else "", job.log.detail),
            referrers=partial(_documents, doc, origin, repository, dpkg_status(stacks, doc)),
            log=job.log.detail,
            stop=job.cancelled,
        )
        pushed = self._push(order)
        job.log.step(_told(pushed, order.tags, time.monotonic() - started))

    def repository_of(self, app_name: AppName) -> str:
        """`PREFIX/owner/app`. With '-' in place of the last '/', a-b/c and a/b-c would be one."""
        return "/".join(filter(None, (self._prefix, app_name.owner, app_name.app)))

    def close(self) -> None:
        """Close the connections to the registry."""
        with self._lock:
            if self._registry is not None:
                self._registry.close()

    def _push(self, order: PushOrder) -> Pushed:
        registry, is_fresh = self._connected()
        try:
            return push_image(order, registry, self._state / "blobs")
        except BuildFailed as failed:
            if failed.code not in _LOGIN_CODES:
                raise
            self._disconnect(registry)
            if is_fresh:
                raise
        # The login was read when the server first pushed: an operator may have logged in again since.
        registry, _ = self._connected()
        return push_image(order, registry, self._state / "blobs")

    def _connected(self) -> tuple[Registry, bool]:
        with self._lock:
            is_fresh = self._registry is None
            self._registry = self._registry or Registry(self._name, self._options)
            return self._registry, is_fresh

    def _disconnect(self, registry: Registry) -> None:
        with self._lock:
            if self._registry is registry:
                registry.close()
                self._registry = None


def dpkg_status(stacks: StackStore, doc: Mapping[str, Json]) -> str:
    """The list of Debian packages of the run image that a document lies on; '' when it has none."""
    stack = doc.get("stack")
    base = stacks.image(str(stack.get("image_id"))) if isinstance(stack, dict) else None
    if base is None:
        return ""
    path = stacks.rootfs(base) / "var/lib/dpkg/status"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _documents(
    doc: Mapping[str, Json], origin: Origin, repository: str, status: str, subject: Blob
) -> Sequence[Referrer]:
    return (
        Referrer(media_type=sbom.MEDIA_TYPE, data=sbom.sbom(doc, origin.app, status)),
        Referrer(media_type=provenance.MEDIA_TYPE, data=provenance.provenance(doc, origin, repository, subject)),
    )


def _tags(commit_sha: str, git_ref: str, ending: str, log: Callable[[str], None]) -> tuple[str, ...]:
    commit = f"{commit_sha[:_COMMIT_DIGITS]}{ending}"
    if not git_ref.startswith(_VERSION_REF):
        return (commit,)
    version = f"{git_ref.removeprefix(_VERSION_REF)}{ending}"
    if is_tag(version):
        return commit, version
    log(f"The image has the tag {commit} alone: registries take no tag {version}")
    return (commit,)


def _told(pushed: Pushed, tags: Sequence[str], seconds: float) -> str:
    reused = pushed.layers_known + pushed.layers_mounted
    sent = f"{pushed.layers_sent} layers sent ({pushed.sent_bytes / 1e6:.1f} MB), {reused} were there"
    return f"Pushed: {pushed.registry}/{pushed.repository}:{tags[-1]} in {seconds:.1f} s, {sent}"


def _place(settings: RegistrySettings) -> tuple[str, str]:
    try:
        return parse_place(settings.place)
    except BuildFailed as failed:
        raise Problem("registry-setting-bad", found=settings.place[:200]) from failed
