"""One app and every name that its address can carry: branches, slugs, tags, number prefixes, commits.  Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gitserver.ledger.records import App, Environment, EnvKind, Release, Version
from gitserver.push import PRODUCTION_BRANCH, branch_slug

_COMMIT_PREFIX = re.compile(r"[0-9a-f]{7,40}")
_NUMBERS = re.compile(r"v?(\d{1,9}(?:\.\d{1,9})*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The instance of an environment's release."""

    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemand:
    """An image that no environment serves: the worker starts it for the call. Fields of the worker's `wake`."""

    app_id: int
    image: str
    scope: EnvKind
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRunning:
    """An environment before its first release."""

    branch: str


Place = Serving | OnDemand | NotRunning


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEntry:
    """An app as the route table holds it.

    owner_ids principals that may call it while it is not public
    names     branch, branch slug or tag -> where it runs
    commits   (40 hex digits, where it runs), newest image first
    numbered  numeric versions, highest first: ((1, 2, 0), where)
    listing   what exists, as a caller reads it
    """

    app: App
    owner_ids: frozenset[int]
    production: Place
    latest: Place | None
    names: Mapping[str, Place]
    commits: tuple[tuple[str, Place], ...]
    numbered: tuple[tuple[tuple[int, ...], Place], ...]
    listing: tuple[str, ...]


def make_entry(
    app: App,
    *,
    owner_ids: frozenset[int],
    environments: Sequence[Environment],
    releases: Mapping[int, Release],
    versions: Sequence[Version],
    images: Sequence[tuple[str, str]],
) -> AppEntry:
    """The entry of an app.

    releases  those that environments serve, by id; images: (commit, digest), newest first
    """
    production: Place = NotRunning(branch=PRODUCTION_BRANCH)
    by_image: dict[str, Place] = {}  # what runs already needs no second process
    branches: dict[str, Place] = {}
    served_in_production = ""
    for environment in environments:
        release = releases.get(environment.release_id) if environment.release_id is not None else None
        place: Place = NotRunning(branch=environment.branch) if release is None else _serving(release)
        if environment.kind is EnvKind.PRODUCTION:
            production = place
            served_in_production = release.image_digest if release is not None else ""
        else:
            branches[environment.branch] = place
            if release is not None:
                by_image.setdefault(release.image_digest, place)
    tags: dict[str, Place] = {}
    for version in sorted(versions, key=lambda row: row.id):
        # A version runs with production's configuration: only production itself may stand in for it
        tags[version.tag] = (
            production
            if version.image_digest == served_in_production
            else OnDemand(app_id=app.id, image=version.image_digest, scope=EnvKind.PRODUCTION, label=version.tag)
        )
        by_image[version.image_digest] = tags[version.tag]
    if served_in_production:
        by_image[served_in_production] = production
    # A commit that is neither of production nor a version gets a preview's configuration: whoever may push a branch
    # must not reach production's secrets by calling its commit (security row 52)
    commits = [
        (
            commit,
            by_image.get(digest) or OnDemand(app_id=app.id, image=digest, scope=EnvKind.PREVIEW, label=commit[:7]),
        )
        for commit, digest in images
    ]
    names: dict[str, Place] = {PRODUCTION_BRANCH: production}
    slugs = {branch_slug(branch): place for branch, place in reversed(branches.items())}
    for group in (tags, branches, slugs):  # what was named exactly so wins over a slug that looks like it
        for name, place in group.items():
            names.setdefault(name, place)
    numbered = [
        (tuple(int(part) for part in match[1].split(".")), place)
        for tag, place in tags.items()
        if (match := _NUMBERS.fullmatch(tag)) is not None
    ]
    return AppEntry(
        app=app,
        owner_ids=owner_ids,
        production=production,
        latest=next(reversed(tags.values()), None),
        names=names,
        commits=tuple(commits),
        numbered=tuple(sorted(numbered, key=lambda pair: pair[0], reverse=True)),
        listing=(PRODUCTION_BRANCH, *tags, *branches),
    )


def find_place(entry: AppEntry, ref: str) -> Place | None:
    """Where a version, branch or commit runs. Exact names win, then words, then prefixes.

    ref  `main`, a branch or its slug, a tag with or without its v, `latest`, `1.2`, `1.2.*`, 7 to 40 hex digits
    """
    exact = entry.names.get(ref)
    if exact is not None:
        return exact
    if ref == "latest":
        return entry.latest
    numbers = _NUMBERS.fullmatch(ref.removesuffix(".*"))
    if numbers is not None:
        other = entry.names.get(ref[1:] if ref.startswith("v") else f"v{ref}")
        if other is not None:
            return other
        wanted = tuple(int(part) for part in numbers[1].split("."))
        for version, place in entry.numbered:
            if version[: len(wanted)] == wanted:
                return place
    if _COMMIT_PREFIX.fullmatch(ref):
        # reversed: of two images of one commit the newer stays
        found = {commit: place for commit, place in reversed(entry.commits) if commit.startswith(ref)}
        if len(found) == 1:
            return next(iter(found.values()))
    return None


def find_longest_name(entry: AppEntry, segments: Sequence[str]) -> tuple[Place | None, int]:
    """A name with slashes at the head of a path: (place, how many segments it took after the first).

    ["feature", "x", "predict"] -> (place of feature/x, 1); the longest known name wins, so that a branch `a/b` is
    reached although a branch `a` exists
    """
    for count in range(len(segments), 1, -1):
        place = entry.names.get("/".join(segments[:count]))
        if place is not None:
            return place, count - 1
    return find_place(entry, segments[0]), 0


def _serving(release: Release) -> Serving:
    return Serving(instance=release.instance)
