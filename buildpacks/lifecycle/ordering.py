"""Orders with composites in them, expanded to the flat groups that detection tries.  Pure.

Source  buildpacks/spec buildpack.md 0.12, "Order Resolution"; contracts 1.2
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from buildpacks.lifecycle.descriptor import Buildpack, GroupEntry, Target
from buildpacks.lifecycle.failure import ExitCode, LifecycleError

MAX_GROUPS = 1000  # a composite of composites multiplies; past this it is a mistake, not an order


class Candidate(NamedTuple):
    """A buildpack in a group that is being tried."""

    buildpack: Buildpack
    optional: bool


def expand_order(
    order: Sequence[Sequence[GroupEntry]], buildpacks: Sequence[Buildpack]
) -> tuple[tuple[Candidate, ...], ...]:
    """Every flat group, in the order in which they are tried: depth first, left to right.

    Raises  LifecycleError 1 when an entry names a buildpack that is not there, two ids differ by the case of their
            letters alone, or the order explodes
    """
    _refuse_twins(buildpacks)
    index = {(pack.id.lower(), pack.version): pack for pack in buildpacks}
    newest = {pack.id.lower(): pack for pack in buildpacks}
    groups: list[tuple[Candidate, ...]] = []
    for group in order:
        for flat in _expand_group(tuple(group), index, newest, frozenset()):
            groups.append(flat)
            if len(groups) > MAX_GROUPS:
                raise LifecycleError(ExitCode.GENERIC, "buildpack-bad", file="order.toml", message="too many groups")
    return tuple(groups)


def _refuse_twins(buildpacks: Sequence[Buildpack]) -> None:
    seen: dict[str, str] = {}
    for pack in buildpacks:
        other = seen.setdefault(pack.id.lower(), pack.id)
        if other != pack.id:
            raise LifecycleError(
                ExitCode.GENERIC, "buildpack-bad", file=pack.id, message=f"its id is {other} in other letters"
            )


def _expand_group(
    entries: tuple[GroupEntry, ...],
    index: Mapping[tuple[str, str], Buildpack],
    newest: Mapping[str, Buildpack],
    inside: frozenset[str],
) -> Iterator[tuple[Candidate, ...]]:
    if not entries:
        yield ()
        return
    first, rest = entries[0], entries[1:]
    key = first.id.lower()
    pack = index.get((key, first.version)) if first.version else newest.get(key)
    if pack is None or key in inside:
        message = "contains itself" if key in inside else "is not there"
        raise LifecycleError(
            ExitCode.GENERIC, "buildpack-bad", file="order.toml", message=f"{first.id}@{first.version} {message}"
        )
    if not pack.order:
        heads: list[tuple[Candidate, ...]] = [(Candidate(buildpack=pack, optional=first.optional),)]
    else:
        heads = [head for sub in pack.order for head in _expand_group(sub, index, newest, inside | {key})]
        if first.optional:
            heads.append(())
    for head in heads:
        for tail in _expand_group(rest, index, newest, inside):
            yield _without_repeats(head + tail)


def _without_repeats(group: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    # Q: an id that is already in the group is skipped.
    seen: set[str] = set()
    kept = []
    for candidate in group:
        if candidate.buildpack.id not in seen:
            seen.add(candidate.buildpack.id)
            kept.append(candidate)
    return tuple(kept)


def is_for_target(pack: Buildpack, target: Target) -> bool:
    """The buildpack runs on this platform: a field absent on either side matches."""
    if not pack.targets:
        return True
    return any(_matches(wanted, target) for wanted in pack.targets)


def _matches(wanted: Target, have: Target) -> bool:
    for left, right in ((wanted.os, have.os), (wanted.arch, have.arch), (wanted.variant, have.variant)):
        if left and right and left != right:
            return False
    if not wanted.distros or not have.distros:
        return True
    name, version = have.distros[0]
    return any(
        (not left or not name or left == name) and (not right or not version or right == version)
        for left, right in wanted.distros
    )
