"""Records of the ledger as the API shows them, each beside its schema.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote

from gitserver import explain
from gitserver.errors import Json
from gitserver.ledger.records import App, Build, BuildKind, Environment, EnvKind, Release, SshKey, Token, Version
from gitserver.push import branch_slug
from gitserver.settings import Settings
from gitserver.web import schema as s

Document = dict[str, Json]

RELEASE = s.record(
    {
        "number": s.whole("counts the releases of its environment from 1"),
        "environment": s.text("production, or preview:BRANCH"),
        "serving": s.flag("whether its environment serves it now"),
        "summary": s.text("what happened, in a few words"),
        "why": s.text("deploy, publish, rollback to ..., redeploy, config, stack upgrade"),
        "actor": s.text("who"),
        "created_at": s.moment(),
        "commit": s.text("40 hex digits"),
        "image_digest": s.text("sha256:..."),
        "config_version": s.whole(),
        "version_tag": s.maybe(s.text()),
        "build_id": s.maybe(s.whole()),
        "facts": s.mapping({}, "what the smoke test saw: load_s, predict_ms, memory_mib, model"),
    }
)
BUILD = s.record(
    {
        "id": s.whole(),
        "kind": s.choice(*BuildKind),
        "state": s.choice("queued", "running", "succeeded", "failed", "cancelled", "superseded"),
        "environment": s.text("production, or preview:BRANCH"),
        "git_ref": s.text(),
        "commit": s.text("40 hex digits"),
        "actor": s.text(),
        "created_at": s.moment(),
        "started_at": s.maybe(s.moment()),
        "ended_at": s.maybe(s.moment()),
        "image_digest": s.maybe(s.text()),
        "superseded_by": s.maybe(s.whole()),
        "cancelled_by": s.maybe(s.text()),
        "failure": s.maybe(s.mapping({}, "error, title, next, move, code, fields, log")),
    }
)
VERSION = s.record(
    {
        "tag": s.text(),
        "commit": s.text(),
        "image_digest": s.text(),
        "config_version": s.whole(),
        "actor": s.text(),
        "created_at": s.moment(),
        "serving": s.flag("whether production serves it now"),
        "url": s.text("where this version answers"),
    }
)
PREVIEW = s.record(
    {
        "branch": s.text(),
        "url": s.text(),
        "created_at": s.moment(),
        "expires_at": s.maybe(s.moment()),
        "release": s.maybe(RELEASE),
    }
)
APP = s.record(
    {
        "name": s.text("OWNER/APP"),
        "public": s.flag("whether calls need no token"),
        "created_at": s.moment(),
        "url": s.text("where production answers"),
        "git_url": s.text(),
        "ssh_url": s.text(),
        "production": s.maybe(RELEASE),
        "previews": s.whole("how many"),
    }
)
TOKEN = s.record(
    {
        "id": s.text(),
        "label": s.text(),
        "last4": s.text("the last four characters of the secret"),
        "created_at": s.moment(),
        "expires_at": s.maybe(s.moment()),
    }
)
KEY = s.record(
    {"fingerprint": s.text("SHA256:..."), "label": s.text(), "public_key": s.text(), "created_at": s.moment()}
)


def endpoint_url(settings: Settings, app: App, ref: str | None = None) -> str:
    """Where production, a version or a branch of an app answers."""
    base = f"{settings.url}/{app.name}"
    return base if ref is None else f"{base}@{quote(branch_slug(ref), safe='')}"


def environment_label(kind: EnvKind, branch: str) -> str:
    """`production` or `preview:BRANCH`."""
    return kind.value if kind is EnvKind.PRODUCTION else f"preview:{branch}"


def app_document(
    settings: Settings, app: App, environments: Sequence[Environment], serving: Release | None
) -> Document:
    """An app; serving is the release of its production."""
    production = next((env for env in environments if env.kind is EnvKind.PRODUCTION), None)
    return {
        "name": str(app.name),
        "public": app.is_public,
        "created_at": moment_text(app.created_at),
        "url": endpoint_url(settings, app),
        "git_url": f"{settings.url}/{app.name}.git",
        "ssh_url": f"ssh://git@{settings.ssh}/{app.name}.git",
        "production": release_document(serving, production, None) if serving and production else None,
        "previews": sum(env.kind is EnvKind.PREVIEW for env in environments),
    }


def release_document(release: Release, environment: Environment | None, before: Release | None) -> Document:
    """A release. environment None: it is gone. before: the previous release there, which tells what a change was."""
    label = environment_label(environment.kind, environment.branch) if environment else "removed preview"
    return {
        "number": release.number,
        "environment": label,
        "serving": environment is not None and environment.release_id == release.id,
        "summary": summarise(release, before),
        "why": release.why,
        "actor": release.actor,
        "created_at": moment_text(release.created_at),
        "commit": release.commit,
        "image_digest": release.image_digest,
        "config_version": release.config_version,
        "version_tag": release.version_tag,
        "build_id": release.build_id,
        "facts": dict(release.facts),
    }


def summarise(release: Release, before: Release | None) -> str:
    """`Deploy 4f2c9e1`, `Publish v1.2.0`, `Rollback to v1.1.0`, `Config set A, unset B`. Names, never values."""
    what = release.version_tag or release.commit[:7]
    if release.why == "config":
        return f"Config {_config_change(release, before)}"
    if release.why.startswith("rollback"):  # the worker says to which release or version
        return f"{release.why.capitalize()} ({what})" if what not in release.why else release.why.capitalize()
    return f"{release.why.capitalize()} {what}"


def _config_change(release: Release, before: Release | None) -> str:
    if before is None:
        return f"version {release.config_version}"
    changed = sorted(name for name, value in release.config.items() if before.config.get(name) != value)
    gone = sorted(set(before.config) - set(release.config))
    parts = [f"{verb} {', '.join(names)}" for verb, names in (("set", changed), ("unset", gone)) if names]
    return ", ".join(parts) or f"version {release.config_version}"


def build_document(build: Build) -> Document:
    """A build; its failure in words."""
    failure = explain.as_api(build.failure)[1] if build.failure is not None else None
    return {
        "id": build.id,
        "kind": build.kind.value,
        "state": build.state.value,
        "environment": environment_label(build.env_kind, build.branch),
        "git_ref": build.git_ref,
        "commit": build.commit,
        "actor": build.actor,
        "created_at": moment_text(build.created_at),
        "started_at": _moment_or_none(build.started_at),
        "ended_at": _moment_or_none(build.ended_at),
        "image_digest": build.image_digest,
        "superseded_by": build.superseded_by,
        "cancelled_by": build.cancelled_by,
        "failure": failure,
    }


def version_document(settings: Settings, app: App, version: Version, serving: Release | None) -> Document:
    """A version; serving is the release of production."""
    return {
        "tag": version.tag,
        "commit": version.commit,
        "image_digest": version.image_digest,
        "config_version": version.config_version,
        "actor": version.actor,
        "created_at": moment_text(version.created_at),
        "serving": serving is not None and serving.version_tag == version.tag,
        "url": endpoint_url(settings, app, version.tag),
    }


def preview_document(settings: Settings, app: App, preview: Environment, release: Release | None) -> Document:
    """A preview and what it serves."""
    return {
        "branch": preview.branch,
        "url": endpoint_url(settings, app, preview.branch),
        "created_at": moment_text(preview.created_at),
        "expires_at": _moment_or_none(preview.expires_at),
        "release": release_document(release, preview, None) if release else None,
    }


def token_document(token: Token) -> Document:
    """A token without its secret."""
    return {
        "id": token.id,
        "label": token.label,
        "last4": token.last4,
        "created_at": moment_text(token.created_at),
        "expires_at": _moment_or_none(token.expires_at),
    }


def key_document(key: SshKey) -> Document:
    """A registered SSH key."""
    return {
        "fingerprint": key.fingerprint,
        "label": key.label,
        "public_key": key.public_key,
        "created_at": moment_text(key.created_at),
    }


def as_list(name: str, items: Sequence[Mapping[str, Json]]) -> Document:
    """`{name: [...]}`: a list that can be given neighbours later."""
    return {name: [dict(item) for item in items]}


def moment_text(moment: datetime) -> str:
    """`2026-01-01T00:00:00Z`."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _moment_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else moment_text(moment)
