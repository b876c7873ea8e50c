"""What each pushed ref means, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from gitserver.ledger.records import BuildKind, EnvKind, Version
from gitserver.remote.judge import Accepted, Facts, Judgement, NothingToDo, Refused, find_collision, judge, suggest_tag
from gitserver.remote.refs import Ref
from gitserver.remote.request import Command

ZERO, A, B, C, TAG = "0" * 40, "a" * 40, "b" * 40, "c" * 40, "d" * 40


def _version(tag: str = "v1.0.0", object_oid: str = TAG, commit: str = A) -> Version:
    return Version(
        id=1, app_id=1, tag=tag, object_oid=object_oid, commit=commit, image_digest="sha256:x", config_version=0,
        actor="alice", created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def _facts(
    *,
    refs: Mapping[str, Ref] | None = None,
    versions: tuple[Version, ...] = (),
    previews: frozenset[str] = frozenset(),
    options: Mapping[str, str] | None = None,
    ancestors: frozenset[tuple[str, str]] = frozenset(),
) -> Facts:
    return Facts(
        refs=refs or {},
        versions=versions,
        previews=previews,
        preview_limit=2,
        built={A},
        commits={A: A, B: B, C: None, TAG: A},
        options=options or {},
        is_ancestor=lambda ancestor, descendant: (ancestor, descendant) in ancestors,
    )


def _command(git_ref: str, new: str, old: str = ZERO) -> Command:
    return Command(git_ref=git_ref.encode("utf-8", "surrogateescape"), old=old, new=new)


def _one(command: Command, facts: Facts) -> Judgement:
    [judgement] = judge([command], facts, is_atomic=False)
    return judgement


def _code(judgement: Judgement) -> str:
    assert isinstance(judgement, Refused), judgement
    return judgement.failure.code


MAIN_AT_A = {"refs/heads/main": Ref(oid=A, peeled=A)}


def test_main_is_deployed_to_production() -> None:
    judgement = _one(_command("refs/heads/main", A), _facts())
    assert isinstance(judgement, Accepted)
    assert (judgement.kind, judgement.env_kind, judgement.branch) == (BuildKind.DEPLOY, EnvKind.PRODUCTION, "main")
    assert (judgement.old, judgement.commit) == (ZERO, A)


def test_another_branch_is_a_preview() -> None:
    judgement = _one(_command("refs/heads/feature/x", A), _facts())
    assert isinstance(judgement, Accepted)
    assert (judgement.env_kind, judgement.branch) == (EnvKind.PREVIEW, "feature/x")


def test_a_stale_old_is_refused_unless_the_branch_only_grew() -> None:
    command = _command("refs/heads/main", B, old=C)
    assert _code(_one(command, _facts(refs=MAIN_AT_A))) == "ref-moved"
    grown = _one(command, _facts(refs=MAIN_AT_A, ancestors=frozenset({(A, B)})))
    assert isinstance(grown, Accepted)
    assert grown.old == A


def test_a_branch_that_is_there_already_is_ok_without_a_build() -> None:
    judgement = _one(_command("refs/heads/main", A, old=C), _facts(refs=MAIN_AT_A))
    assert isinstance(judgement, NothingToDo)
    assert judgement.note == f"main is at {A[:7]} already. To build it again: git push algo main:redeploy"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (_command("refs/heads/main", ZERO, old=A), "delete-production"),
        (_command("refs/tags/v1.0.0", ZERO), "delete-version"),
        (_command("refs/heads/nowhere", ZERO), "unknown-branch"),
        (_command("refs/heads/redeploy", ZERO), "bad-ref"),
        (_command("refs/heads/main", TAG), "not-a-commit"),
        (_command("refs/tags/blob", C), "not-a-commit"),
        (_command("refs/notes/x", A), "bad-ref"),
        (_command("refs/heads/-h", A), "bad-ref"),
        (_command("refs/heads/\udcff", A), "bad-ref"),
        (_command("refs/heads/x\x1b[2J", A), "bad-ref"),
        (_command("refs/heads/redeploy", B), "redeploy-unknown"),
        (_command("refs/tags/rollback", B), "unknown-version"),
    ],
)
def test_what_means_nothing_is_refused(command: Command, code: str) -> None:
    assert _code(_one(command, _facts(refs={}, versions=(_version(),)))) == code


def test_a_new_tag_publishes_the_commit_behind_it() -> None:
    judgement = _one(_command("refs/tags/v2", TAG), _facts())
    assert isinstance(judgement, Accepted)
    assert (judgement.kind, judgement.commit, judgement.command.new) == (BuildKind.PUBLISH, A, TAG)


def test_b5_a_lone_known_tag_rolls_back_and_beside_others_does_nothing() -> None:
    facts = _facts(versions=(_version(),))
    tag = _command("refs/tags/v1.0.0", TAG)
    lone = _one(tag, facts)
    assert isinstance(lone, Accepted)
    assert (lone.kind, lone.branch, lone.commit) == (BuildKind.ROLLBACK, "main", A)
    both = judge([_command("refs/heads/main", B), tag], facts, is_atomic=False)
    assert isinstance(both[1], NothingToDo)
    meant = judge(
        [_command("refs/heads/main", B), tag],
        _facts(versions=(_version(),), options={"rollback": "true"}),
        is_atomic=False,
    )
    assert isinstance(meant[1], Accepted)


def test_a_moved_tag_is_refused_with_the_next_free_name() -> None:
    judgement = _one(_command("refs/tags/v1.0.0", B), _facts(versions=(_version(), _version("v1.0.1"))))
    assert isinstance(judgement, Refused)
    assert judgement.failure.code == "version-immutable"
    assert judgement.failure.fields == {"tag": "v1.0.0", "commit": A[:7], "next_tag": "v1.0.2"}


def test_the_rollback_option_never_publishes() -> None:
    assert _code(_one(_command("refs/tags/v9", A), _facts(options={"rollback": "true"}))) == "unknown-version"


def test_previews_have_a_limit_that_counts_this_push_too() -> None:
    commands = [_command(f"refs/heads/p{number}", A) for number in range(3)]
    judged = judge(commands, _facts(), is_atomic=False)
    assert [type(one).__name__ for one in judged] == ["Accepted", "Accepted", "Refused"]
    assert _code(judged[2]) == "preview-limit"
    full = _facts(previews=frozenset({"p0", "p1"}))
    assert isinstance(_one(commands[0], full), Accepted)


def test_the_same_ref_twice_is_refused_the_second_time() -> None:
    judged = judge([_command("refs/heads/main", A), _command("refs/heads/main", B)], _facts(), is_atomic=False)
    assert _code(judged[1]) == "ref-twice"


def test_atomic_refuses_every_ref_and_names_the_culprit() -> None:
    judged = judge([_command("refs/heads/main", A), _command("refs/notes/x", A)], _facts(), is_atomic=True)
    assert [_code(one) for one in judged] == ["group-failed", "bad-ref"]
    assert isinstance(judged[0], Refused)
    assert judged[0].failure.fields["culprit"] == "refs/notes/x"


@pytest.mark.parametrize(
    ("name", "other"),
    [("feature", "feature/x"), ("feature/x", "feature"), ("Feature", "feature"), ("a-b", "a/b"), ("A/B", "a-b")],
)
def test_names_that_meet_on_disk_or_in_an_address_collide(name: str, other: str) -> None:
    assert find_collision(name, {other}) == other


def test_a_name_does_not_collide_with_itself_or_a_stranger() -> None:
    assert find_collision("feature", {"feature", "features", "x/feature"}) is None


def test_a_branch_named_like_a_version_is_refused() -> None:
    assert _code(_one(_command("refs/heads/v1.0.0", A), _facts(versions=(_version(),)))) == "ref-collision"


@pytest.mark.parametrize(
    ("tag", "taken", "suggested"),
    [
        ("v1", {"v1"}, "v2"),
        ("v1.0.9", set(), "v1.0.10"),
        ("1.2-rc1", {"1.2-rc2"}, "1.2-rc3"),
        ("best", set(), "best-2"),
    ],
)
def test_the_next_tag_counts_its_last_number_up(tag: str, taken: set[str], suggested: str) -> None:
    assert suggest_tag(tag, taken) == suggested
