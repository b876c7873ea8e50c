"""What a job will release: decided from records alone, before anything runs.  Pure but for the ledger's reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from buildpacks.order import is_for_buildpacks
from gitserver.errors import Json, Problem
from gitserver.ledger.records import (
    Build,
    BuildKind,
    ConfigVersion,
    Environment,
    EnvKind,
    Image,
    Release,
    Version,
)
from gitserver.ledger.store import Ledger
from gitserver.push import ZERO_OID, RefUpdate

BUILDS_ANEW = frozenset({BuildKind.DEPLOY, BuildKind.REDEPLOY, BuildKind.VERIFY})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePlan:
    """One release, complete but for its number.

    image        None: it has to be built first
    stack        name of the stack that the image is moved to before it starts; None: it stays where it is
    new_tag      the version that this release publishes; None when it publishes none
    """

    image: Image | None
    commit: str
    version_tag: str | None
    new_tag: str | None
    config: ConfigVersion
    why: str
    stack: str | None = None


def plan_release(build: Build, environment: Environment, ledger: Ledger) -> ReleasePlan:
    """What this job is going to make serve.

    Raises  Problem('unknown-version' | 'unknown-release' | 'nothing-serves') when there is nothing to go back to,
            Problem('image-collected') when its image is not kept any more
    """
    config = ledger.config(build.app_id, environment.kind)
    if build.kind is BuildKind.ROLLBACK:
        return _plan_rollback(build, environment, config, ledger)
    if build.kind is BuildKind.CONFIG:
        return _plan_same(environment, config, ledger, action="configure", why="config")
    if build.kind is BuildKind.REBASE:
        same = _plan_same(environment, config, ledger, action="upgrade", why="stack upgrade")
        return replace(same, stack=build.options["stack"])
    tag = RefUpdate(git_ref=build.git_ref, old=build.old, new=build.new).short_name
    is_new_version = build.kind is BuildKind.PUBLISH
    return ReleasePlan(
        image=ledger.find_image(build.app_id, build.commit) if is_new_version else None,
        commit=build.commit,
        version_tag=tag if is_new_version else None,
        new_tag=tag if is_new_version else None,
        config=config,
        why=build.kind.value,
    )


def _plan_same(
    environment: Environment, config: ConfigVersion, ledger: Ledger, *, action: str, why: str
) -> ReleasePlan:
    """What serves, once more."""
    current = _current(environment, ledger, action=action)
    return ReleasePlan(
        image=_image(current.image_digest, ledger), commit=current.commit, version_tag=current.version_tag,
        new_tag=None, config=config, why=why,
    )  # fmt: skip


def _plan_rollback(build: Build, environment: Environment, config: ConfigVersion, ledger: Ledger) -> ReleasePlan:
    number = build.options.get("release")
    if number is not None:
        back = _release_by_number(build, environment, number, ledger)
        if ledger.image(back.image_digest) is None:
            raise Problem("image-collected", release=number, commit=back.commit[:12])
        recorded = ledger.config_version(build.app_id, environment.kind, back.config_version)
        digest, commit, tag, why = back.image_digest, back.commit, back.version_tag, f"rollback to release {number}"
    else:
        version = find_version(build, ledger)
        recorded = ledger.config_version(build.app_id, environment.kind, version.config_version)
        digest, commit, tag, why = version.image_digest, version.commit, version.tag, f"rollback to {version.tag}"
    if "with-config" in build.options:
        config = recorded or _never_set(build.app_id, environment.kind, config)
    return ReleasePlan(
        image=_image(digest, ledger), commit=commit, version_tag=tag, new_tag=None, config=config, why=why
    )


def find_version(build: Build, ledger: Ledger) -> Version:
    """The version that a rollback names: by option, by tag, or by what the magic ref points to.

    Raises  Problem('unknown-version') that lists what there is
    """
    name = build.options.get("version") or RefUpdate(git_ref=build.git_ref, old=build.old, new=build.new).short_name
    known = ledger.versions(build.app_id)
    for version in known:
        if version.tag == name:
            return version
    for version in known:
        if build.new in {version.object_oid, version.commit}:
            return version
    raise Problem("unknown-version", found=name, known=[version.tag for version in known] or ["none yet"])


def platform_env(config: Mapping[str, str]) -> dict[str, str]:
    """The part of an app's configuration that buildpacks see: nothing else, for the rest may be secret."""
    return {name: value for name, value in config.items() if is_for_buildpacks(name)}


def ref_change(build: Build) -> RefUpdate | None:
    """The ref that moves when the job succeeds; None for jobs that only release again."""
    if build.kind in {BuildKind.DEPLOY, BuildKind.PUBLISH}:
        return RefUpdate(git_ref=build.git_ref, old=build.old, new=build.new)
    if build.kind is BuildKind.DELETE:
        return RefUpdate(git_ref=f"refs/heads/{build.branch}", old=build.old, new=ZERO_OID)
    return None


def _release_by_number(build: Build, environment: Environment, number: str, ledger: Ledger) -> Release:
    found = ledger.releases(build.app_id, environment_id=environment.id, limit=1000)
    for release in found:
        if str(release.number) == number:
            return release
    known: list[Json] = [str(release.number) for release in found[:20]] or ["none yet"]
    raise Problem("unknown-release", found=number, known=known)


def _current(environment: Environment, ledger: Ledger, *, action: str) -> Release:
    current = None if environment.release_id is None else ledger.release(environment.release_id)
    if current is None:
        raise Problem("nothing-serves", environment=environment.branch, action=action)
    return current


def _image(digest: str, ledger: Ledger) -> Image:
    image = ledger.image(digest)
    if image is None:
        raise Problem("image-gone", digest=digest)
    return image


def _never_set(app_id: int, scope: EnvKind, today: ConfigVersion) -> ConfigVersion:
    return ConfigVersion(app_id=app_id, scope=scope, number=0, values={}, actor="", why="", created_at=today.created_at)
