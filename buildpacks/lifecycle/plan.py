"""The build plan: what buildpacks provide and require, and which group satisfies it.  Pure.

Source  buildpacks/spec buildpack.md 0.12, "Phase #1: Detection"; contracts 1.3
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from buildpacks.lifecycle.failure import ExitCode, LifecycleError

MAX_TRIALS = 10_000


class Require(NamedTuple):
    """One `[[requires]]`: a name and what the requirer wants to say to whoever provides it."""

    name: str
    metadata: Mapping[str, object] = {}


class Section(NamedTuple):
    """One alternative of a buildpack: the top level of its plan, or one `[[or]]`."""

    provides: tuple[str, ...] = ()
    requires: tuple[Require, ...] = ()


class Offer(NamedTuple):
    """A buildpack that passed detection, with its alternatives in order (at least one)."""

    pack_id: str
    optional: bool
    sections: tuple[Section, ...]


class PlanEntry(NamedTuple):
    """A name that is provided and required inside the group."""

    name: str
    providers: tuple[str, ...]
    requires: tuple[Require, ...]


class Resolution(NamedTuple):
    """The group that builds, in order, and its plan."""

    pack_ids: tuple[str, ...]
    entries: tuple[PlanEntry, ...]


def parse_plan(document: Mapping[str, object], *, pack_id: str) -> tuple[Section, ...]:
    """A plan file's top level and its `[[or]]` tables.

    Raises  LifecycleError 22 for a `requires.version`, which every API refuses (Q), and for a wrong shape
    """
    alternatives = document.get("or", [])
    if not isinstance(alternatives, list):
        raise _bad(pack_id, "or is not an array of tables")
    return tuple(_parse_section(item, pack_id) for item in (document, *alternatives))


def _parse_section(table: object, pack_id: str) -> Section:
    if not isinstance(table, Mapping):
        raise _bad(pack_id, "or is not an array of tables")
    provides, requires = table.get("provides", []), table.get("requires", [])
    if not isinstance(provides, list) or not isinstance(requires, list):
        raise _bad(pack_id, "provides and requires are arrays of tables")
    wants = []
    for item in (*provides, *requires):
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str) or not item["name"]:
            raise _bad(pack_id, "every provides and requires has a name")
    for item in requires:
        if "version" in item:
            raise _bad(pack_id, "requires.version is gone: use requires.metadata.version")
        if not isinstance(item.get("metadata", {}), Mapping):
            raise _bad(pack_id, "metadata is a table")
        wants.append(Require(name=item["name"], metadata=item.get("metadata", {})))
    return Section(provides=tuple(str(item["name"]) for item in provides), requires=tuple(wants))


def _bad(pack_id: str, message: str) -> LifecycleError:
    return LifecycleError(ExitCode.DETECT, "buildpack-bad", file=f"{pack_id}: plan", message=message)


def resolve_plan(offers: Sequence[Offer]) -> Resolution | None:
    """The first combination of alternatives in which everything required is provided; None when there is none.

    An optional buildpack with alternatives counts as required for all but its last one (Q).
    """
    for trial in itertools.islice(_trials(offers), MAX_TRIALS):
        resolution = _try(trial)
        if resolution is not None:
            return resolution
    return None


class _Member(NamedTuple):
    pack_id: str
    optional: bool
    section: Section


def _trials(offers: Sequence[Offer]) -> Iterator[list[_Member]]:
    choices = [
        [
            _Member(
                pack_id=offer.pack_id,
                optional=offer.optional and position == len(offer.sections) - 1,
                section=section,
            )
            for position, section in enumerate(offer.sections)
        ]
        for offer in offers
    ]
    # product() varies the last buildpack fastest, which is the specification's depth-first search.
    for combination in itertools.product(*choices):
        yield list(combination)


def _try(trial: list[_Member]) -> Resolution | None:
    members = trial
    while True:
        unmet = _find_unmet(members)
        if unmet is None:
            break
        if not unmet.optional:
            return None
        members = [member for member in members if member is not unmet]
    if not members:
        return None
    return Resolution(pack_ids=tuple(member.pack_id for member in members), entries=_entries(members))


def _find_unmet(members: Sequence[_Member]) -> _Member | None:
    provided: set[str] = set()
    for member in members:
        provided.update(member.section.provides)
        if any(want.name not in provided for want in member.section.requires):
            return member
    required: set[str] = set()
    unmet = None
    for member in reversed(members):
        required.update(want.name for want in member.section.requires)
        if any(name not in required for name in member.section.provides):
            unmet = member  # the earliest one is dropped first, as the reference lifecycle does
    return unmet


def _entries(members: Sequence[_Member]) -> tuple[PlanEntry, ...]:
    names: dict[str, tuple[list[str], list[Require]]] = {}
    for member in members:
        for name in member.section.provides:
            names.setdefault(name, ([], []))[0].append(member.pack_id)
        for want in member.section.requires:
            names.setdefault(want.name, ([], []))[1].append(want)
    return tuple(
        PlanEntry(name=name, providers=tuple(providers), requires=tuple(requires))
        for name, (providers, requires) in names.items()
    )


def find_for_provider(entries: Sequence[PlanEntry], pack_id: str) -> tuple[Require, ...]:
    """What goes into the plan file of a buildpack: everything required whose name it provided."""
    return tuple(want for entry in entries if pack_id in entry.providers for want in entry.requires)


def after_build(entries: Sequence[PlanEntry], pack_id: str, unmet: Sequence[str]) -> tuple[PlanEntry, ...]:
    """The entries that later providers still see: those not offered to this one, and those that it left unmet.

    Raises  LifecycleError 52 for an unmet name that this buildpack was never asked for
    """
    asked = {entry.name for entry in entries if pack_id in entry.providers}
    for name in unmet:
        if name not in asked:
            raise LifecycleError(
                ExitCode.BUILD, "buildpack-bad", file=f"{pack_id}: build.toml", message=f"unmet names {name!r}"
            )
    return tuple(entry for entry in entries if pack_id not in entry.providers or entry.name in unmet)
