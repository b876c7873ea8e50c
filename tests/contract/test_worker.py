"""The worker: durable jobs to their end, whatever happens on the way. Real ledger, real refs, pretended processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from buildpacks.order import BuildFailed
from gitserver.errors import Problem
from gitserver.job import Job
from gitserver.ledger.records import BuildKind, BuildState, EnvKind
from gitserver.push import ZERO_OID
from gitserver.source import GitSource
from tests.services.corridor import Corridor


@pytest.fixture
def corridor(tmp_path: Path) -> Iterator[Corridor]:
    made = Corridor(tmp_path / "state")
    yield made
    made.close()


def preview(corridor: Corridor, commit: str, branch: str = "x") -> dict[str, object]:
    ref = f"refs/heads/{branch}"
    return {"env_kind": EnvKind.PREVIEW, "branch": branch, "git_ref": ref, "old": corridor.ref(ref)}


def test_an_accepted_push_serves_and_then_its_ref_moves(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    (build,) = corridor.carry_out(corridor.order(commit))
    assert build.state is BuildState.SUCCEEDED
    assert corridor.ref("refs/heads/main") == commit
    assert corridor.serving() == commit
    assert corridor.target.instances() == (f"b{build.id}",)
    assert corridor.target.kept == {f"b{build.id}"}
    assert "-----> Release 1 is serving" in corridor.log(build.id)


def test_what_the_target_keeps_for_itself_does_not_reach_the_ledger(corridor: Corridor) -> None:
    (build,) = corridor.carry_out(corridor.order(corridor.commit("one")))
    assert build.release_id is not None
    release = corridor.ledger.release(build.release_id)
    assert release is not None
    assert release.facts == {"load_s": 0.1}


def test_a_failed_build_leaves_ref_and_release_and_the_same_commit_is_built_again(corridor: Corridor) -> None:
    first, second = corridor.commit("one"), corridor.commit("two")
    corridor.carry_out(corridor.order(first))
    corridor.kitchen.fail = BuildFailed("nothing-to-serve", found=["README"])
    (failed,) = corridor.carry_out(corridor.order(second))
    assert failed.state is BuildState.FAILED
    assert failed.failure is not None
    assert failed.failure.code == "nothing-to-serve"
    assert (corridor.ref("refs/heads/main"), corridor.serving()) == (first, first)
    (again,) = corridor.carry_out(corridor.order(second, old=first))
    assert again.state is BuildState.SUCCEEDED
    assert corridor.serving() == second


def test_a_release_that_does_not_come_up_leaves_the_old_one_and_no_image(corridor: Corridor) -> None:
    first, second = corridor.commit("one"), None
    (old,) = corridor.carry_out(corridor.order(first))
    second = corridor.commit("two", first)
    corridor.target.refuse = lambda _spec: Problem("start-crashed", how="status 1", log=("boom",))
    (failed,) = corridor.carry_out(corridor.order(second))
    assert failed.failure is not None
    assert (failed.failure.code, failed.failure.log) == ("start-crashed", ("boom",))
    assert corridor.serving() == first
    assert corridor.target.instances() == (f"b{old.id}",)
    assert corridor.ledger.find_image(corridor.app.id, second) is None
    corridor.target.refuse = lambda _spec: None
    (again,) = corridor.carry_out(corridor.order(second))
    assert again.state is BuildState.SUCCEEDED
    assert corridor.kitchen.built == [first, second, second]


def test_the_replaced_instance_ends_after_the_switch(corridor: Corridor) -> None:
    first = corridor.commit("one")
    corridor.carry_out(corridor.order(first))
    (second,) = corridor.carry_out(corridor.order(corridor.commit("two", first)))
    corridor.close()
    assert corridor.target.instances() == (f"b{second.id}",)


def test_a_push_that_somebody_overtook_is_refused_and_its_candidate_ends(corridor: Corridor) -> None:
    first, other = corridor.commit("one"), corridor.commit("other")
    order = corridor.order(other)  # main was absent when this client looked
    (served,) = corridor.carry_out(corridor.order(first))
    (late,) = corridor.carry_out(order)
    assert late.failure is not None
    assert late.failure.code == "ref-moved"
    assert corridor.ref("refs/heads/main") == first
    assert corridor.target.instances() == (f"b{served.id}",)


def test_a_queued_push_that_contains_what_overtook_it_is_accepted(corridor: Corridor) -> None:
    first = corridor.commit("one")
    later = corridor.order(corridor.commit("two", first))  # started from nothing, contains `first`
    corridor.carry_out(corridor.order(first))
    (build,) = corridor.carry_out(later)
    assert build.state is BuildState.SUCCEEDED


def test_an_atomic_push_whose_second_ref_fails_keeps_nothing(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    broken = corridor.commit("broken")
    corridor.target.refuse = lambda spec: Problem("start-crashed", how="status 1") if broken[:7] in spec.label else None
    good, bad = corridor.carry_out(
        corridor.order(commit, group="g"), corridor.order(broken, group="g", **preview(corridor, broken))
    )
    assert bad.failure is not None
    assert good.failure is not None
    assert (good.failure.code, bad.failure.code) == ("group-failed", "start-crashed")
    assert good.failure.fields["culprit"] == "x"
    assert (corridor.ref("refs/heads/main"), corridor.ref("refs/heads/x")) == (ZERO_OID, ZERO_OID)
    assert corridor.target.instances() == ()


def test_an_atomic_push_moves_all_its_refs_at_once(corridor: Corridor) -> None:
    one, two = corridor.commit("one"), corridor.commit("two")
    corridor.carry_out(corridor.order(one, group="g"), corridor.order(two, group="g", **preview(corridor, two)))
    assert (corridor.ref("refs/heads/main"), corridor.ref("refs/heads/x")) == (one, two)
    assert corridor.serving("x", EnvKind.PREVIEW) == two


def test_an_atomic_push_of_main_and_a_tag_leaves_one_production_instance(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    tag = corridor.order(commit, kind=BuildKind.PUBLISH, git_ref="refs/tags/v1", old=ZERO_OID, group="g")
    _, tagged = corridor.carry_out(corridor.order(commit, group="g"), tag)
    corridor.close()
    assert (corridor.ref("refs/heads/main"), corridor.ref("refs/tags/v1")) == (commit, commit)
    assert corridor.target.instances() == (f"b{tagged.id}",)
    assert corridor.target.kept == {f"b{tagged.id}"}


def test_a_version_of_a_built_commit_is_published_without_a_build_and_rolled_back_to(corridor: Corridor) -> None:
    first = corridor.commit("one")
    corridor.carry_out(corridor.order(first))
    tag = corridor.order(first, kind=BuildKind.PUBLISH, git_ref="refs/tags/v1", old=ZERO_OID)
    (published,) = corridor.carry_out(tag)
    corridor.carry_out(corridor.order(corridor.commit("two", first)))
    (back,) = corridor.carry_out(replace(tag, kind=BuildKind.ROLLBACK))
    assert published.state is back.state is BuildState.SUCCEEDED
    assert corridor.kitchen.built.count(first) == 1
    assert corridor.serving() == first
    assert corridor.ref("refs/tags/v1") == first
    assert "rollback to v1" in corridor.log(back.id)
    assert corridor.ref("refs/heads/main") != first, "a rollback moves no branch"


def test_a_rollback_to_a_number_that_never_was_lists_what_there_is(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    corridor.carry_out(corridor.order(commit))
    (build,) = corridor.carry_out(
        corridor.order(commit, kind=BuildKind.ROLLBACK, git_ref="refs/deploy/rollback", options={"release": "9"})
    )
    assert build.failure is not None
    assert build.failure.code == "unknown-release"
    assert "There is no release 9; valid targets are 1." in corridor.log(build.id)


def test_configuration_is_a_new_release_of_the_same_image(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    corridor.carry_out(corridor.order(commit))
    corridor.ledger.add_config(corridor.app.id, EnvKind.PRODUCTION, {"A": "1"}, actor="alice", why="set A")
    (build,) = corridor.carry_out(corridor.order(commit, kind=BuildKind.CONFIG, git_ref="refs/deploy/config"))
    assert corridor.kitchen.built == [commit]
    assert corridor.target.running[f"b{build.id}"].env == {"A": "1"}


def test_sec_53_no_value_of_the_configuration_is_told_when_a_process_prints_it(corridor: Corridor) -> None:
    secret = "CANARY-5eCr3t-value"
    corridor.ledger.add_config(corridor.app.id, EnvKind.PRODUCTION, {"API_KEY": secret}, actor="a", why="set")
    corridor.target.refuse = lambda _spec: Problem("load-failed", type="ValueError", message=secret, log=(secret,))
    (build,) = corridor.carry_out(corridor.order(corridor.commit("one")))
    assert build.failure is not None
    assert secret not in corridor.log(build.id)
    assert secret not in str(build.failure)
    assert "[masked]" in corridor.log(build.id)


def test_deleting_a_branch_ends_its_preview(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    (made,) = corridor.carry_out(corridor.order(commit, **preview(corridor, commit)))
    assert corridor.target.instances() == (f"b{made.id}",)
    corridor.carry_out(corridor.order(commit, **preview(corridor, commit), kind=BuildKind.DELETE, new=ZERO_OID))
    corridor.close()
    assert corridor.target.instances() == ()
    assert corridor.ref("refs/heads/x") == ZERO_OID


def test_a_preview_past_its_time_is_removed_by_the_sweep(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    corridor.carry_out(corridor.order(commit, **preview(corridor, commit)))
    environment = corridor.ledger.environment(corridor.app.id, EnvKind.PREVIEW, "x")
    assert environment is not None
    corridor.ledger.touch_environment(environment.id, datetime.now(UTC) - timedelta(seconds=1))
    corridor.world.sweep_previews({})
    queued = corridor.ledger.queued()
    assert [(build.kind, build.branch) for build in queued] == [(BuildKind.DELETE, "x")]
    with corridor.working():
        corridor.wait(queued[0].id)
    assert corridor.ref("refs/heads/x") == ZERO_OID
    assert corridor.serving("x", EnvKind.PREVIEW) is None


def test_builds_of_one_environment_run_one_after_the_other_and_others_beside_them(corridor: Corridor) -> None:
    corridor.kitchen.gate.clear()
    first, second, other = corridor.commit("one"), corridor.commit("two"), corridor.commit("other")
    tag = corridor.order(second, kind=BuildKind.REDEPLOY, git_ref="refs/heads/redeploy")
    builds = corridor.ledger.enqueue([corridor.order(first), tag, corridor.order(other, **preview(corridor, other))])
    with corridor.working():
        corridor.wait(builds[0].id, until=[BuildState.RUNNING])
        corridor.wait(builds[2].id, until=[BuildState.RUNNING])
        waiting = corridor.ledger.build(builds[1].id)
        assert waiting is not None
        assert waiting.state is BuildState.QUEUED
        assert f"queued behind {builds[0].id} (alice)" in corridor.log(builds[1].id)
        deadline_at = time.monotonic() + 10
        while corridor.kitchen.at_work < 2 and time.monotonic() < deadline_at:
            time.sleep(0.01)
        corridor.kitchen.gate.set()
        for build in builds:
            corridor.wait(build.id)
    assert corridor.kitchen.most_at_work == 2


def test_cancelling_a_running_build_ends_it_and_says_who(corridor: Corridor) -> None:
    corridor.kitchen.gate.clear()
    (build,) = corridor.ledger.enqueue([corridor.order(corridor.commit("one"))])
    with corridor.working() as worker:
        corridor.wait(build.id, until=[BuildState.RUNNING])
        corridor.ledger.request_cancel(build.id, "bob")
        worker.kick()
        ended = corridor.wait(build.id)
    assert ended.state is BuildState.CANCELLED
    assert ended.failure is not None
    assert ended.failure.fields["actor"] == "bob"
    assert corridor.target.instances() == ()


def test_a_build_that_ran_when_the_worker_stopped_is_done_again_by_the_next(corridor: Corridor) -> None:
    corridor.kitchen.gate.clear()
    commit = corridor.commit("one")
    (build,) = corridor.ledger.enqueue([corridor.order(commit)])
    with corridor.working():
        corridor.wait(build.id, until=[BuildState.RUNNING])
    found = corridor.ledger.build(build.id)
    assert found is not None
    assert found.state is BuildState.RUNNING, "a restart is not the pusher's failure"
    corridor.kitchen.gate.set()
    with corridor.working():
        assert corridor.wait(build.id).state is BuildState.SUCCEEDED
    assert corridor.serving() == commit
    assert "The server was restarted; this build begins again" in corridor.log(build.id)


def test_a_crash_between_serving_and_moving_the_ref_is_rolled_forward(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    (build,) = corridor.carry_out(corridor.order(commit))
    assert build.release_id is not None
    # What a kill -9 in the bracket leaves: a written release, a ref that has not moved, a build that runs.
    corridor.git("update-ref", "-d", "refs/heads/main")
    (crashed,) = corridor.ledger.enqueue([corridor.order(commit)])
    corridor.ledger.claim([crashed.id])
    corridor.ledger.note_release(crashed.id, image_digest=f"sha256:{commit}", release_id=build.release_id)
    with corridor.working():
        assert corridor.wait(crashed.id).state is BuildState.SUCCEEDED
    assert corridor.ref("refs/heads/main") == commit
    assert corridor.kitchen.built == [commit], "nothing is built again"


def test_a_failure_of_ours_ends_the_build_in_words_and_the_worker_goes_on(corridor: Corridor) -> None:
    def explode(_spec: object) -> Problem | None:
        raise RuntimeError("a bug")

    corridor.target.refuse = explode
    (broken,) = corridor.carry_out(corridor.order(corridor.commit("one")))
    assert broken.failure is not None
    assert broken.failure.code == "internal"
    corridor.target.refuse = lambda _spec: None
    (good,) = corridor.carry_out(corridor.order(corridor.commit("two")))
    assert good.state is BuildState.SUCCEEDED


def test_after_a_start_every_environment_serves_its_last_good_release(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    (build,) = corridor.carry_out(corridor.order(commit))
    corridor.target.stop(f"b{build.id}", grace_s=0)
    corridor.target.running["b999"] = corridor.target.running.get("b999")  # type: ignore[assignment]  # a stray
    corridor.world.restore()
    assert corridor.target.instances() == (f"b{build.id}",)
    assert corridor.target.kept == {f"b{build.id}"}


def test_a_version_that_nothing_serves_is_woken_once_and_named_by_image_and_configuration(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    corridor.carry_out(corridor.order(commit))
    digest = f"sha256:{commit}"
    first = corridor.world.wake(corridor.app.id, digest, EnvKind.PRODUCTION, "v1")
    again = corridor.world.wake(corridor.app.id, digest, EnvKind.PRODUCTION, "v1")
    assert first == again
    assert first.instance == f"i{corridor.app.id}-{commit[:16]}-production-c0"


def test_a_destroyed_app_leaves_no_instance_and_no_repository(corridor: Corridor) -> None:
    corridor.carry_out(corridor.order(corridor.commit("one")))
    corridor.ledger.destroy_app(corridor.app.id)
    corridor.world.destroy(corridor.app.id)
    assert corridor.target.instances() == ()
    assert not corridor.repo.exists()


def test_an_app_that_lives_is_not_cleared_away_whoever_asks(corridor: Corridor) -> None:
    corridor.carry_out(corridor.order(corridor.commit("one")))
    with pytest.raises(Problem):
        corridor.world.destroy(corridor.app.id)
    assert corridor.repo.exists()
    assert len(corridor.target.instances()) == 1


class _BrokenSource(GitSource):
    """Refs can be locked, and then the disk refuses to move them."""

    @contextmanager
    def moving_refs(self, jobs: Sequence[Job]) -> Iterator[Any]:
        with super().moving_refs(jobs):
            yield self

    def commit(self) -> None:
        raise Problem("ref-transaction-failed", detail="no space")


def test_refs_that_cannot_move_after_the_switch_bring_the_old_release_back(corridor: Corridor) -> None:
    first = corridor.commit("one")
    (old,) = corridor.carry_out(corridor.order(first))
    second = corridor.commit("two", first)
    good = corridor.world.source
    corridor.world.source = _BrokenSource(corridor.settings, corridor.ledger)
    tag = corridor.order(second, kind=BuildKind.PUBLISH, git_ref="refs/tags/v1", old=ZERO_OID)
    pushed, tagged = corridor.carry_out(corridor.order(second, group="g"), replace(tag, group="g"))
    assert pushed.failure is not None
    assert pushed.failure.code == "ref-transaction-failed"
    assert corridor.serving() == first
    assert corridor.target.instances() == (f"b{old.id}",)
    assert corridor.ledger.find_version(corridor.app.id, "v1") is None
    assert (pushed.release_id, tagged.release_id) == (None, None)
    corridor.world.source = good
    (again,) = corridor.carry_out(corridor.order(second))
    assert again.state is BuildState.SUCCEEDED
    newest = corridor.ledger.releases(corridor.app.id)[0]
    assert (newest.commit, newest.build_id) == (second, again.id)


def test_a_preview_whose_ref_cannot_be_deleted_stays(corridor: Corridor) -> None:
    commit = corridor.commit("one")
    corridor.carry_out(corridor.order(commit, **preview(corridor, commit)))
    corridor.world.source = _BrokenSource(corridor.settings, corridor.ledger)
    order = corridor.order(commit, **preview(corridor, commit), kind=BuildKind.DELETE, new=ZERO_OID)
    (build,) = corridor.carry_out(order)
    assert build.state is BuildState.FAILED
    assert corridor.serving("x", EnvKind.PREVIEW) == commit
