"""What the ledger remembers, as frozen rows. Pure: importing this brings no database along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gitserver.errors import Failure, Json
from gitserver.push import AppName


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who may act: a person or a machine. Rights never come from the name."""

    id: int
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A secret's public half: `algo_<id>_<secret>`, of which only SHA-256 of the secret is stored."""

    id: str
    principal_id: int
    secret_sha256: str
    label: str
    last4: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SshKey:
    """A public key of a principal; fingerprint is OpenSSH's `SHA256:...`."""

    id: int
    principal_id: int
    fingerprint: str
    public_key: str
    label: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app. Its id, never its name, leads to its directories and its user id on the machine."""

    id: int
    name: AppName
    is_public: bool
    created_at: datetime


class EnvKind(StrEnum):
    """production, or one preview per branch."""

    PRODUCTION = "production"
    PREVIEW = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where a branch of an app runs. release_id is what it serves now, None before the first success."""

    id: int
    app_id: int
    kind: EnvKind
    branch: str
    release_id: int | None
    created_at: datetime
    expires_at: datetime | None


class BuildKind(StrEnum):
    """Everything that changes what serves is one of these durable jobs; the last two change nothing."""

    DEPLOY = "deploy"  # branch push: build when needed, release, move the branch
    PUBLISH = "publish"  # new tag: version record, production release, tag ref
    ROLLBACK = "rollback"  # known tag, or `algo rollback`: recorded image, no build
    REDEPLOY = "redeploy"  # build an unchanged commit again
    CONFIG = "config"  # same image, new configuration
    DELETE = "delete"  # a branch went: preview torn down
    REBASE = "rebase"  # same layers on another stack, no build: `algo stack upgrade`
    VERIFY = "verify"  # builds again beside everything and compares; releases nothing
    UPLOAD = "upload"  # an image that is there goes to the registry once more; releases nothing


class BuildState(StrEnum):
    """QUEUED -> RUNNING -> one of the rest, which are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"

    @property
    def is_final(self) -> bool:
        """Nothing will change any more."""
        return self not in {BuildState.QUEUED, BuildState.RUNNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBuild:
    """A job to be done, complete at birth.

    group      jobs with the same group finish together or not at all (an atomic push); None stands alone
    quarantine name of the folder beside the objects where the pushed pack waits; None when nothing was sent
    options    push options already checked against the whitelist
    """

    app_id: int
    env_kind: EnvKind
    branch: str
    kind: BuildKind
    git_ref: str
    old: str
    new: str
    commit: str
    actor: str
    group: str | None = None
    quarantine: str | None = None
    options: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A durable job. fields of NewBuild, plus how far it got.

    superseded_by  id of the newer job that took its place
    cancelled_by   who asked for its end; set while RUNNING, the worker acts on it
    """

    id: int
    app_id: int
    env_kind: EnvKind
    branch: str
    kind: BuildKind
    git_ref: str
    old: str
    new: str
    commit: str
    actor: str
    group: str | None
    quarantine: str | None
    options: Mapping[str, str]
    state: BuildState
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    image_digest: str | None
    release_id: int | None
    failure: Failure | None
    superseded_by: int | None
    cancelled_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Append-only: release `number` of an environment.

    why     deploy, publish, rollback, redeploy, config
    config  the values the process was given; config_version is their number
    facts   what the smoke test saw: load_s, predict_ms, memory_mib, model
    """

    id: int
    app_id: int
    environment_id: int
    number: int
    image_digest: str
    commit: str
    version_tag: str | None
    config_version: int
    config: Mapping[str, str]
    actor: str
    why: str
    build_id: int
    facts: Mapping[str, Json]
    created_at: datetime

    @property
    def instance(self) -> str:
        """The name of the process (container, pod) that serves it: of its build, known before the release is."""
        return f"b{self.build_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """An immutable tag: one commit, one image, for ever. object_oid is the tag object, or the commit itself."""

    id: int
    app_id: int
    tag: str
    object_oid: str
    commit: str
    image_digest: str
    config_version: int
    actor: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigVersion:
    """The app's configuration as of a change. scope is production or preview: previews never see the former's."""

    app_id: int
    scope: EnvKind
    number: int
    values: Mapping[str, str]
    actor: str
    why: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a build made. config is the image's own document (entry point, processes, layers)."""

    digest: str
    app_id: int
    commit: str
    config: Mapping[str, Json]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that an address can lead to, read at one moment.

    releases  those that environments serve now, by id
    images    (app_id, commit, digest), newest first
    tokens    not revoked; expiry is judged at the call
    """

    apps: tuple[App, ...]
    environments: tuple[Environment, ...]
    releases: Mapping[int, Release]
    versions: tuple[Version, ...]
    images: tuple[tuple[int, str, str], ...]
    tokens: tuple[Token, ...]
    principals: Mapping[int, Principal]
