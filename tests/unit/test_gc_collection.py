"""What stays and what goes: tables over pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gitserver.errors import Json
from gitserver.gc.collection import Found, Kind, Needed, Report, plan_collection
from gitserver.gc.needed import Records, Retention, base_ids, diff_ids, needed_digests
from gitserver.ledger.records import Build, BuildKind, BuildState, EnvKind, Image, Release, Version

NOW = datetime(2026, 5, 1, tzinfo=UTC)
OLD = NOW - timedelta(days=100)
RETENTION = Retention(releases=2, days=30, lease=timedelta(hours=6))


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def image(letter: str, *, app: int = 1, commit: str = "", at: datetime = OLD) -> Image:
    return Image(digest=digest(letter), app_id=app, commit=commit or letter * 40, config={}, created_at=at)


def release(number: int, letter: str, *, at: datetime = OLD, build: int = 0) -> Release:
    return Release(
        id=number, app_id=1, environment_id=1, number=number, image_digest=digest(letter), commit=letter * 40,
        version_tag=None, config_version=0, config={}, actor="alice", why="deploy", build_id=build or number, facts={},
        created_at=at,
    )  # fmt: skip


def version(letter: str, *, app: int = 1) -> Version:
    return Version(
        id=1, app_id=app, tag="v1", object_oid=letter * 40, commit=letter * 40, image_digest=digest(letter),
        config_version=0, actor="alice", created_at=OLD,
    )  # fmt: skip


def job(letter: str) -> Build:
    return Build(
        id=9, app_id=1, env_kind=EnvKind.PRODUCTION, branch="main", kind=BuildKind.ROLLBACK, git_ref="refs/deploy/x",
        old="", new="", commit=letter * 40, actor="alice", group=None, quarantine=None, options={},
        state=BuildState.QUEUED, created_at=NOW, started_at=None, ended_at=None, image_digest=None, release_id=None,
        failure=None, superseded_by=None, cancelled_by=None,
    )  # fmt: skip


def records(images: Sequence[Image], **more: Any) -> Records:
    nothing: dict[str, Any] = {
        "apps": frozenset({1}), "releases": {}, "serving": frozenset(), "versions": (), "jobs": (), "instances": (),
        "made_by": {},
    }  # fmt: skip
    return Records(images=images, **(nothing | more))


FOUR = [image(letter) for letter in "abcd"]
HISTORY = [release(4, "d"), release(3, "c"), release(2, "b"), release(1, "a")]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (records(FOUR), ""),
        (records(FOUR, releases={1: HISTORY}), "cd"),
        (records(FOUR, releases={1: HISTORY}, serving=frozenset({1})), "acd"),
        (records(FOUR, releases={1: [release(4, "d"), release(3, "d"), release(2, "b", at=NOW)]}), "bd"),
        (records(FOUR, releases={1: HISTORY[:1], 2: HISTORY[3:]}), "ad"),
        (records(FOUR, versions=[version("a")]), "a"),
        (records(FOUR, versions=[version("a", app=2)]), ""),
        (records(FOUR, jobs=[job("b")]), "b"),
        (records([image("a", app=2, commit="b" * 40)], jobs=[job("b")]), ""),
        (records([*FOUR, image("e", at=NOW - timedelta(hours=1))]), "e"),
        (records(FOUR, instances=["b7"], made_by={7: digest("c")}), "c"),
        (records(FOUR, instances=["b7", "bx", "other"], made_by={}), ""),
        (records(FOUR, instances=[f"i1-{'b' * 16}-production-c3"]), "b"),
    ],
    ids=[
        "nothing needs anything", "the newest releases stay", "what serves stays however old",
        "young releases stay beyond the number", "each environment keeps its own", "a version stays for ever",
        "a version of an app that is gone does not", "a queued job keeps the images of its commit",
        "of its own app alone", "a young image stays", "an instance that still drains keeps its image",
        "instances without a record keep nothing", "a version that a call woke keeps its image",
    ],
)  # fmt: skip
def test_which_images_stay(what: Records, expected: str) -> None:
    assert needed_digests(what, RETENTION, NOW) == {digest(letter) for letter in expected}


def found(kind: Kind, letter: str, *, age_h: float = 100.0) -> Found:
    return Found(kind=kind, name=letter, serves=digest(letter), changed_at=NOW.timestamp() - age_h * 3600)


NEEDED = Needed(images=frozenset({digest("a")}), layers=frozenset({digest("b")}), bases=frozenset({digest("c")}))


@pytest.mark.parametrize(
    ("kind", "stays"),
    [
        (Kind.IMAGE, "a"), (Kind.ENGINE_IMAGE, "a"), (Kind.LAYER, "b"), (Kind.VIEW, "b"), (Kind.NOTE, "b"),
        (Kind.BLOB, "b"), (Kind.BASE, "c"), (Kind.DRAFT, ""), (Kind.MODEL_FILE, ""),
    ],
)  # fmt: skip
def test_each_kind_is_kept_by_what_needs_it(kind: Kind, stays: str) -> None:
    gone = plan_collection([found(kind, letter) for letter in "abcd"], NEEDED, NOW.timestamp(), 6 * 3600)
    assert {one.name for one in gone} == set("abcd") - set(stays)


def test_what_is_young_stays_for_a_running_build_may_have_adopted_it() -> None:
    inventory = [found(Kind.LAYER, "d", age_h=5.9), found(Kind.LAYER, "e", age_h=6.1), found(Kind.DRAFT, "f", age_h=1)]
    assert [one.name for one in plan_collection(inventory, NEEDED, NOW.timestamp(), 6 * 3600)] == ["e"]


def test_what_leads_to_a_layer_goes_before_it() -> None:
    inventory = [found(Kind.LAYER, "x"), found(Kind.VIEW, "x"), found(Kind.IMAGE, "y"), found(Kind.IMAGE, "x")]
    gone = plan_collection(inventory, NEEDED, NOW.timestamp(), 0)
    assert [(one.kind, one.name) for one in gone] == [
        (Kind.IMAGE, "x"), (Kind.IMAGE, "y"), (Kind.VIEW, "x"), (Kind.LAYER, "x"),
    ]  # fmt: skip


def test_layers_and_bases_are_read_from_documents_of_any_age() -> None:
    docs: list[dict[str, Json]] = [
        {"base": "host", "layers": [{"diff_id": "sha256:1"}]},
        {"stack": {"image_id": "sha256:b"}, "layers": [{"diff_id": "sha256:2"}, {"diff_id": "sha256:1"}]},
        {"base": "dockerfile", "layers": []},
        {},
    ]
    assert diff_ids(docs) == {"sha256:1", "sha256:2"}
    assert base_ids(docs) == {"sha256:b"}


def test_a_report_counts_everything_and_names_the_first_thousand() -> None:
    gone = [found(Kind.LAYER, "a")] * 1500 + [found(Kind.IMAGE, "b")]
    told = Report(dry_run=True, images=[], gone=gone, freed_bytes=7, engine_bytes=0, kept=[]).document()
    assert told["counts"] == {"image folder": 1, "layer": 1500}
    listed = told["gone"]
    assert isinstance(listed, list)
    assert len(listed) == 1000
