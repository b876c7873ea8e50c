"""The ledger on a real SQLite file: what is remembered, what is superseded, what is told once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from gitserver.errors import Failure, Problem
from gitserver.ledger.engine import open_engine
from gitserver.ledger.records import App, Build, BuildKind, BuildState, Environment, EnvKind, NewBuild, Release
from gitserver.ledger.schema import metadata
from gitserver.ledger.store import Ledger
from gitserver.push import ZERO_OID, AppName

ONE, TWO = "1" * 40, "2" * 40


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def app(ledger: Ledger) -> App:
    ledger.add_principal("alice")
    return ledger.create_app(AppName(owner="alice", app="iris"))


def order(app: App, commit: str = ONE, **changes: object) -> NewBuild:
    new = NewBuild(
        app_id=app.id, env_kind=EnvKind.PRODUCTION, branch="main", kind=BuildKind.DEPLOY, git_ref="refs/heads/main",
        old=ZERO_OID, new=commit, commit=commit, actor="alice",
    )  # fmt: skip
    return replace(new, **changes)  # type: ignore[arg-type]  # the tests name fields that exist


def release(ledger: Ledger, environment: Environment, build: Build) -> Release:
    return ledger.add_release(
        environment_id=environment.id, image_digest="sha256:x", commit=build.commit, version_tag=None,
        config_version=0, config={}, actor="alice", why="deploy", build_id=build.id, facts={"load_s": 0.5},
    )  # fmt: skip


def production(ledger: Ledger, app: App) -> Environment:
    made = ledger.environment(app.id, EnvKind.PRODUCTION, "main", create=True)
    assert made is not None
    return made


def test_the_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'l.sqlite'}")
    with engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert difference == []


def test_a_ledger_of_a_newer_server_is_refused_and_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'l.sqlite'}"
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(Problem) as caught:
        Ledger.open(url)
    assert caught.value.failure.code == "ledger-too-new"


def test_a_newer_push_supersedes_the_waiting_one_and_leaves_the_running_one(ledger: Ledger, app: App) -> None:
    running, waiting = ledger.enqueue([order(app)])[0], None
    assert ledger.claim([running.id])
    waiting = ledger.enqueue([order(app)])[0]
    newest = ledger.enqueue([order(app, TWO, actor="bob")])[0]
    found = ledger.build(waiting.id)
    assert found is not None
    assert (found.state, found.superseded_by) == (BuildState.SUPERSEDED, newest.id)
    assert found.failure == Failure(code="superseded", fields={"build": newest.id, "actor": "bob"})
    still = ledger.build(running.id)
    assert still is not None
    assert still.state is BuildState.RUNNING


def test_a_waiting_preview_is_not_superseded_by_production(ledger: Ledger, app: App) -> None:
    preview = order(app, env_kind=EnvKind.PREVIEW, branch="x", git_ref="refs/heads/x")
    waiting = ledger.enqueue([preview])[0]
    ledger.enqueue([order(app)])
    found = ledger.build(waiting.id)
    assert found is not None
    assert found.state is BuildState.QUEUED


def test_members_of_a_group_are_claimed_together_or_not_at_all(ledger: Ledger, app: App) -> None:
    one, two = ledger.enqueue([order(app, group="g"), order(app, group="g", git_ref="refs/tags/v1")])
    assert ledger.claim([one.id])
    assert not ledger.claim([one.id, two.id])
    found = ledger.build(two.id)
    assert found is not None
    assert found.state is BuildState.QUEUED


def test_a_builds_end_is_written_once(ledger: Ledger, app: App) -> None:
    build = ledger.enqueue([order(app)])[0]
    assert ledger.finish(build.id, BuildState.FAILED, failure=Failure(code="start-crashed"))
    assert not ledger.finish(build.id, BuildState.SUCCEEDED)
    found = ledger.build(build.id)
    assert found is not None
    assert found.state is BuildState.FAILED


def test_cancelling_ends_a_waiting_build_now_and_marks_a_running_one(ledger: Ledger, app: App) -> None:
    waiting = ledger.enqueue([order(app)])[0]
    assert ledger.request_cancel(waiting.id, "bob")
    running = ledger.enqueue([order(app)])[0]
    ledger.claim([running.id])
    assert ledger.request_cancel(running.id, "bob")
    ended, marked = ledger.build(waiting.id), ledger.build(running.id)
    assert ended is not None
    assert marked is not None
    assert (ended.state, ended.cancelled_by) == (BuildState.CANCELLED, "bob")
    assert (marked.state, marked.cancelled_by) == (BuildState.RUNNING, "bob")
    assert not ledger.request_cancel(waiting.id, "bob")


def test_a_release_gets_the_next_number_and_the_environment_serves_it(ledger: Ledger, app: App) -> None:
    environment, build = production(ledger, app), ledger.enqueue([order(app)])[0]
    first, second = release(ledger, environment, build), release(ledger, environment, build)
    found = ledger.environment_by_id(environment.id)
    assert found is not None
    assert (first.number, second.number, found.release_id) == (1, 2, second.id)
    assert second.instance == f"b{build.id}"
    assert second.facts == {"load_s": 0.5}
    assert second.created_at.tzinfo is UTC


def test_a_removed_environment_takes_no_release(ledger: Ledger, app: App) -> None:
    environment, build = production(ledger, app), ledger.enqueue([order(app)])[0]
    ledger.remove_environment(environment.id)
    with pytest.raises(Problem) as caught:
        release(ledger, environment, build)
    assert caught.value.failure.code == "environment-gone"


def test_a_version_is_bound_for_ever(ledger: Ledger, app: App) -> None:
    def bind(commit: str) -> None:
        ledger.add_version(
            app.id, tag="v1", object_oid=commit, commit=commit, image_digest="sha256:x", config_version=0, actor="a"
        )

    bind(ONE)
    with pytest.raises(Problem) as caught:
        bind(TWO)
    assert caught.value.failure.code == "version-exists"
    found = ledger.find_version(app.id, "v1")
    assert found is not None
    assert found.commit == ONE


def test_configuration_is_numbered_within_its_scope(ledger: Ledger, app: App) -> None:
    ledger.add_config(app.id, EnvKind.PRODUCTION, {"A": "1"}, actor="alice", why="set A")
    ledger.add_config(app.id, EnvKind.PREVIEW, {"B": "1"}, actor="alice", why="set B")
    second = ledger.add_config(app.id, EnvKind.PRODUCTION, {}, actor="alice", why="unset A")
    assert second.number == 2
    assert ledger.config(app.id, EnvKind.PREVIEW).values == {"B": "1"}
    first = ledger.config_version(app.id, EnvKind.PRODUCTION, 1)
    assert first is not None
    assert first.values == {"A": "1"}


def test_a_destroyed_apps_name_is_free_again_and_its_id_never(ledger: Ledger, app: App) -> None:
    ledger.destroy_app(app.id)
    again = ledger.create_app(app.name)
    assert again.id != app.id
    assert ledger.app(app.id) is None
    assert ledger.destroyed_apps() == [app.id]


def test_the_snapshot_holds_what_an_address_can_lead_to(ledger: Ledger, app: App) -> None:
    environment, build = production(ledger, app), ledger.enqueue([order(app)])[0]
    ledger.add_image("sha256:x", app.id, ONE, {})
    served = release(ledger, environment, build)
    gone = ledger.environment(app.id, EnvKind.PREVIEW, "x", create=True)
    assert gone is not None
    ledger.remove_environment(gone.id)
    snapshot = ledger.snapshot()
    assert [one.name for one in snapshot.apps] == [app.name]
    assert [one.branch for one in snapshot.environments] == ["main"]
    assert snapshot.releases == {served.id: served}
    assert snapshot.images == ((app.id, ONE, "sha256:x"),)


def test_two_ledgers_on_one_file_write_at_once_without_losing_a_row(ledger: Ledger, app: App, tmp_path: Path) -> None:
    other = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")

    def write(which: Ledger) -> None:
        for number in range(25):
            which.enqueue([order(app, git_ref=f"refs/heads/{number}")])

    threads = [threading.Thread(target=write, args=(which,)) for which in (ledger, other, ledger, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ledger.builds(app.id, limit=1000)) == 100
    other.close()


def test_times_without_a_zone_are_refused(ledger: Ledger, app: App) -> None:
    environment = production(ledger, app)
    with pytest.raises(sa.exc.StatementError):
        ledger.touch_environment(environment.id, datetime(2026, 1, 1))  # noqa: DTZ001 -- the mistake itself
