"""Build plans and orders: which group builds, and what each buildpack is told."""

from __future__ import annotations

import pytest

from buildpacks.lifecycle.descriptor import Buildpack, GroupEntry, Target
from buildpacks.lifecycle.failure import LifecycleError
from buildpacks.lifecycle.ordering import expand_order, is_for_target
from buildpacks.lifecycle.plan import (
    Offer,
    Require,
    Resolution,
    Section,
    after_build,
    find_for_provider,
    parse_plan,
    resolve_plan,
)


def offer(pack_id: str, *sections: tuple[str, str], optional: bool = False) -> Offer:
    """Sections as ('provides names', 'requires names')."""
    return Offer(
        pack_id=pack_id,
        optional=optional,
        sections=tuple(
            Section(provides=tuple(gives.split()), requires=tuple(Require(name=n) for n in wants.split()))
            for gives, wants in sections
        ),
    )


def resolved(*offers: Offer) -> Resolution:
    resolution = resolve_plan(offers)
    assert resolution is not None
    return resolution


@pytest.mark.conformance("1.3-plan")
def test_what_is_required_later_is_provided_earlier() -> None:
    assert resolved(offer("a", ("x", "")), offer("b", ("", "x"))).pack_ids == ("a", "b")


@pytest.mark.conformance("1.3-plan")
def test_a_provider_after_its_requirer_does_not_count() -> None:
    assert resolve_plan([offer("b", ("", "x")), offer("a", ("x", ""))]) is None


def test_a_buildpack_may_meet_its_own_requirement() -> None:
    assert resolved(offer("a", ("x", "x"))).pack_ids == ("a",)


@pytest.mark.conformance("1.3-plan")
def test_a_required_buildpack_that_provides_what_nobody_wants_fails_the_group() -> None:
    assert resolve_plan([offer("a", ("x", "")), offer("b", ("", ""))]) is None


@pytest.mark.conformance("1.3-plan")
def test_an_optional_one_that_is_not_needed_is_left_out() -> None:
    assert resolved(offer("a", ("x", ""), optional=True), offer("b", ("", ""))).pack_ids == ("b",)


def test_leaving_one_out_can_leave_out_the_next() -> None:
    group = (
        offer("a", ("x", "y"), optional=True),
        offer("b", ("", "x"), optional=True),
        offer("c", ("", "")),
    )
    assert resolved(*group).pack_ids == ("c",)


@pytest.mark.conformance("1.3-plan")
def test_alternatives_are_tried_depth_first() -> None:
    resolution = resolved(offer("a", ("x", ""), ("y", "")), offer("b", ("", "y")))
    assert [(entry.name, entry.providers) for entry in resolution.entries] == [("y", ("a",))]


@pytest.mark.conformance("1.3-or")
def test_an_optional_buildpack_with_alternatives_counts_as_required_until_its_last() -> None:
    # First alternative: required, provides x that nobody wants, so the trial fails. Last: optional, so it is dropped.
    assert resolved(offer("a", ("x", ""), ("z", ""), optional=True), offer("b", ("", ""))).pack_ids == ("b",)


@pytest.mark.conformance("1.3-group")
def test_a_group_of_which_nothing_is_left_fails() -> None:
    assert resolve_plan([offer("a", ("x", ""), optional=True)]) is None


def test_entries_reach_every_provider_until_one_meets_them() -> None:
    entries = resolved(offer("a", ("x", "")), offer("b", ("x", "")), offer("c", ("", "x"))).entries
    assert [want.name for want in find_for_provider(entries, "a")] == ["x"]
    assert find_for_provider(after_build(entries, "a", ()), "b") == ()
    assert [want.name for want in find_for_provider(after_build(entries, "a", ["x"]), "b")] == ["x"]


@pytest.mark.conformance("1.4-plan-entries")
def test_unmet_of_a_name_that_was_never_asked_is_an_error() -> None:
    entries = resolved(offer("a", ("x", "x"))).entries
    with pytest.raises(LifecycleError) as caught:
        after_build(entries, "a", ["nope"])
    assert (caught.value.exit_code, caught.value.fields["message"]) == (52, "unmet names 'nope'")


def test_requires_version_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(LifecycleError) as caught:
        parse_plan({"requires": [{"name": "x", "version": "1"}]}, pack_id="p")
    assert caught.value.fields["message"] == "requires.version is gone: use requires.metadata.version"


def pack(pack_id: str, *order: tuple[GroupEntry, ...], targets: tuple[Target, ...] = ()) -> Buildpack:
    return Buildpack(
        id=pack_id, version="1.0.0", name=pack_id, api=(0, 10), directory="/x", order=order, targets=targets
    )


def entry(pack_id: str, *, optional: bool = False) -> GroupEntry:
    return GroupEntry(id=pack_id, optional=optional)


def flat(order: list[list[GroupEntry]], *packs: Buildpack) -> list[list[str]]:
    return [[candidate.buildpack.id for candidate in group] for group in expand_order(order, packs)]


@pytest.mark.conformance("1.2-order")
def test_composites_expand_depth_first_left_to_right() -> None:
    meta = pack("m", (entry("a"), entry("b")), (entry("c"),))
    assert flat([[entry("m"), entry("d")]], meta, *map(pack, "abcd")) == [["a", "b", "d"], ["c", "d"]]


@pytest.mark.conformance("1.2-order")
def test_an_optional_composite_also_yields_the_group_without_it() -> None:
    meta = pack("m", (entry("a"),))
    assert flat([[entry("m", optional=True), entry("d")]], meta, *map(pack, "ad")) == [["a", "d"], ["d"]]


def test_an_id_that_is_in_the_group_already_is_skipped() -> None:
    assert flat([[entry("a"), entry("a")]], pack("a")) == [["a"]]


@pytest.mark.parametrize(("meta", "message"), [("m", "m@ contains itself"), ("gone", "gone@ is not there")])
def test_orders_that_lead_nowhere_are_refused(meta: str, message: str) -> None:
    with pytest.raises(LifecycleError) as caught:
        flat([[entry("m")]], pack("m", (entry(meta),)))
    assert caught.value.fields["message"] == message


def test_a_target_field_that_is_absent_matches_anything() -> None:
    here = Target(os="linux", arch="amd64", distros=(("debian", "12"),))
    assert is_for_target(pack("a", targets=(Target(os="linux"),)), here)
    assert not is_for_target(pack("a", targets=(Target(os="linux", arch="arm64"),)), here)
    assert not is_for_target(pack("a", targets=(Target(os="linux", distros=(("ubuntu", "24.04"),)),)), here)
    assert is_for_target(pack("a", targets=(Target(os="linux", distros=(("debian", ""),)),)), here)
