"""Each pushed ref gets its meaning or its refusal (design section 2, contracts/git.md B1 to B6). Pure.

Rules of this file
1. A ref that means nothing is refused, never stored (B2).
2. Facts come in as values; the same facts give the same verdicts.
3. A verdict names what the worker has to do; it does nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from gitserver import explain
from gitserver.errors import Failure, Json, Problem
from gitserver.ledger.records import BuildKind, EnvKind, Version
from gitserver.push import PRODUCTION_BRANCH, ZERO_OID, RefClass, branch_slug, check_git_ref, classify
from gitserver.remote.refs import Ref
from gitserver.remote.request import Command

_BRANCHES, _TAGS = "refs/heads/", "refs/tags/"
_MAX_REFS = 10_000
_LAST_NUMBER = re.compile(r"(\d+)(?=\D*\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the verdicts depend on.

    refs         branches and tags that the repository holds
    versions     of the app, newest first
    previews     branches that have a preview, or a build that will make one
    built        commits of which an image exists
    commits      every pushed object id -> the commit behind it, None when there is none
    is_ancestor  whether the first commit is in the second one's history
    """

    refs: Mapping[str, Ref]
    versions: Sequence[Version]
    previews: Collection[str]
    preview_limit: int
    built: Collection[str]
    commits: Mapping[str, str | None]
    options: Mapping[str, str]
    is_ancestor: Callable[[str, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job: kind for the environment (env_kind, branch), from old to new, serving commit."""

    command: Command
    git_ref: str
    kind: BuildKind
    env_kind: EnvKind
    branch: str
    old: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Told as `ng`."""

    command: Command
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingToDo:
    """Told as `ok`, with a line that says why nothing happened."""

    command: Command
    note: str


Judgement = Accepted | Refused | NothingToDo


def judge(commands: Sequence[Command], facts: Facts, *, is_atomic: bool) -> list[Judgement]:
    """One judgement per command, in their order. With is_atomic a refusal refuses all, naming the culprit (B8)."""
    judgements: list[Judgement] = []
    taken: set[str] = set()
    for command in commands:
        try:
            judgement = _judge(command, facts, is_lone=len(commands) == 1, taken=taken)
        except Problem as problem:
            judgement = Refused(command=command, failure=problem.failure)
        if isinstance(judgement, Accepted):
            taken.add(judgement.git_ref)
        judgements.append(judgement)
    culprit = next((one for one in judgements if isinstance(one, Refused)), None)
    return judgements if culprit is None or not is_atomic else [_join(one, culprit) for one in judgements]


def suggest_tag(tag: str, taken: Collection[str]) -> str:
    """The next free name: `v1.0.0` -> `v1.0.1`; without a number `tag-2`."""
    number = _LAST_NUMBER.search(tag)
    for step in range(1, 1000):
        if number is None:
            found = f"{tag}-{step + 1}"
        else:
            found = f"{tag[: number.start()]}{int(number[1]) + step}{tag[number.end() :]}"
        if found not in taken:
            return found
    return f"{tag}-next"


def find_collision(name: str, others: Collection[str]) -> str | None:
    """The name among others that cannot live beside this one: a folder of it, or the same but for case, '/' and '-'.

    Why     refs are files, and branches are labels of addresses, where case and '/' are lost
    """
    folded, slug = name.casefold(), branch_slug(name).casefold()
    for other in others:
        if other == name:
            continue
        beside = other.casefold()
        if branch_slug(beside) == slug or beside.startswith(folded + "/") or folded.startswith(beside + "/"):
            return other
    return None


def _judge(command: Command, facts: Facts, *, is_lone: bool, taken: Collection[str]) -> Judgement:
    try:
        git_ref = check_git_ref(command.git_ref.decode())
    except UnicodeDecodeError as error:
        raise Problem("bad-ref", found=command.git_ref.decode(errors="replace")[:200]) from error
    if git_ref in taken:
        raise Problem("ref-twice", found=git_ref)
    kind = classify(git_ref)
    if command.is_delete:
        return _judge_delete(command, git_ref, kind, facts)
    if command.new not in facts.commits:
        raise Problem("objects-missing", detail=command.new)
    match kind:
        case RefClass.PRODUCTION | RefClass.PREVIEW:
            return _judge_branch(command, git_ref, kind, facts, taken)
        case RefClass.VERSION:
            return _judge_tag(command, git_ref, facts, is_lone=is_lone, taken=taken)
        case RefClass.REDEPLOY:
            return _judge_redeploy(command, git_ref, facts)
        case RefClass.ROLLBACK:
            return _judge_rollback(command, git_ref, facts)


def _judge_delete(command: Command, git_ref: str, kind: RefClass, facts: Facts) -> Accepted:
    name = git_ref.split("/", 2)[2]
    match kind:
        case RefClass.PRODUCTION:
            raise Problem("delete-production", branch=name)
        case RefClass.VERSION:
            raise Problem("delete-version", tag=name)
        case RefClass.REDEPLOY | RefClass.ROLLBACK:
            raise Problem("bad-ref", found=git_ref)
        case RefClass.PREVIEW:
            pass
    current = _current(git_ref, facts)
    if current == ZERO_OID and name not in facts.previews:
        raise Problem("unknown-branch", found=name, known=_names(facts.previews))
    if command.old not in (current, ZERO_OID):
        raise Problem("ref-moved", ref=name, found=current[:7], expected=command.old[:7])
    return _accept(command, git_ref, BuildKind.DELETE, EnvKind.PREVIEW, name, current, current)


def _judge_branch(
    command: Command, git_ref: str, kind: RefClass, facts: Facts, taken: Collection[str]
) -> Accepted | NothingToDo:
    name, current, commit = git_ref.removeprefix(_BRANCHES), _current(git_ref, facts), facts.commits[command.new]
    if commit != command.new:
        raise Problem("not-a-commit", ref=name, commit=(commit or "")[:7])
    if current == commit:
        return NothingToDo(command=command, note=f"{name} is at {commit[:7]} already. To build it again: git push algo "
                           f"{name}:redeploy")  # fmt: skip
    if current not in (command.old, ZERO_OID) and not facts.is_ancestor(current, commit):
        raise Problem("ref-moved", ref=name, found=current[:7], expected=command.old[:7])
    if kind is RefClass.PRODUCTION:
        return _accept(command, git_ref, BuildKind.DEPLOY, EnvKind.PRODUCTION, name, current, commit)
    branches = {ref.removeprefix(_BRANCHES) for ref in (*facts.refs, *taken) if ref.startswith(_BRANCHES)}
    tags = {version.tag for version in facts.versions}
    _refuse_collision(name, {*branches, *facts.previews, PRODUCTION_BRANCH}, same_name_among=tags)
    if name not in facts.previews:
        previews = {*facts.previews, *(ref.removeprefix(_BRANCHES) for ref in taken if ref.startswith(_BRANCHES))}
        previews.discard(PRODUCTION_BRANCH)
        if len(previews) >= facts.preview_limit:
            raise Problem("preview-limit", limit=facts.preview_limit, known=_names(previews), oldest=min(previews))
        _refuse_too_many(facts)
    return _accept(command, git_ref, BuildKind.DEPLOY, EnvKind.PREVIEW, name, current, commit)


def _judge_tag(
    command: Command, git_ref: str, facts: Facts, *, is_lone: bool, taken: Collection[str]
) -> Accepted | NothingToDo:
    tag = git_ref.removeprefix(_TAGS)
    known = next((version for version in facts.versions if version.tag == tag), None)
    tags = {version.tag for version in facts.versions}
    stored = _current(git_ref, facts)
    if known is not None and known.object_oid == command.new:
        if is_lone or "rollback" in facts.options:
            return _roll_back(command, git_ref, known)
        return NothingToDo(command=command, note=f"{tag} is a version already. To roll back to it: git push algo {tag}")
    if known is not None or stored not in (ZERO_OID, command.new):
        at = known.commit if known is not None else facts.refs[git_ref].peeled
        raise Problem("version-immutable", tag=tag, commit=at[:7], next_tag=suggest_tag(tag, tags))
    if "rollback" in facts.options:
        raise Problem("unknown-version", found=tag, known=_tags(facts))
    commit = facts.commits[command.new]
    if commit is None:
        raise Problem("not-a-commit", ref=tag, commit="")
    branches = {ref.removeprefix(_BRANCHES) for ref in (*facts.refs, *taken) if ref.startswith(_BRANCHES)}
    tags |= {ref.removeprefix(_TAGS) for ref in (*facts.refs, *taken) if ref.startswith(_TAGS)}
    _refuse_collision(tag, tags, same_name_among={*branches, *facts.previews, PRODUCTION_BRANCH})
    _refuse_too_many(facts)
    return _accept(command, git_ref, BuildKind.PUBLISH, EnvKind.PRODUCTION, PRODUCTION_BRANCH, stored, commit)


def _judge_redeploy(command: Command, git_ref: str, facts: Facts) -> Accepted:
    commit = facts.commits[command.new]
    tip = _current(_BRANCHES + PRODUCTION_BRANCH, facts)
    if commit is None or (commit != tip and commit not in facts.built):
        raise Problem("redeploy-unknown", commit=command.new[:7])
    return _accept(command, git_ref, BuildKind.REDEPLOY, EnvKind.PRODUCTION, PRODUCTION_BRANCH, tip, commit)


def _judge_rollback(command: Command, git_ref: str, facts: Facts) -> Accepted:
    commit = facts.commits[command.new]
    by_object = (version for version in facts.versions if version.object_oid == command.new)
    by_commit = (version for version in facts.versions if version.commit == commit)
    known = next(by_object, None) or next(by_commit, None)
    if known is None:
        raise Problem("unknown-version", found=command.new[:7], known=_tags(facts))
    return _roll_back(command, git_ref, known)


def _roll_back(command: Command, git_ref: str, version: Version) -> Accepted:
    return _accept(
        command, git_ref, BuildKind.ROLLBACK, EnvKind.PRODUCTION, PRODUCTION_BRANCH, ZERO_OID, version.commit
    )


def _accept(
    command: Command, git_ref: str, kind: BuildKind, env_kind: EnvKind, branch: str, old: str, commit: str
) -> Accepted:
    return Accepted(
        command=command, git_ref=git_ref, kind=kind, env_kind=env_kind, branch=branch, old=old, commit=commit
    )


def _current(git_ref: str, facts: Facts) -> str:
    return facts.refs[git_ref].oid if git_ref in facts.refs else ZERO_OID


def _refuse_collision(name: str, others: Collection[str], *, same_name_among: Collection[str]) -> None:
    other = name if name in same_name_among else find_collision(name, others)
    if other is not None:
        raise Problem("ref-collision", found=name, other=other)


def _refuse_too_many(facts: Facts) -> None:
    if len(facts.refs) >= _MAX_REFS:
        raise Problem("too-many-refs", found=len(facts.refs) + 1, limit=_MAX_REFS)


def _names(branches: Collection[str]) -> list[Json]:
    return list[Json](sorted(branches)[:20])


def _tags(facts: Facts) -> list[Json]:
    return [version.tag for version in facts.versions[:20]]


def _join(judgement: Judgement, culprit: Refused) -> Refused:
    if isinstance(judgement, Refused):
        return judgement
    name = culprit.command.git_ref.decode(errors="replace")
    return Refused(
        command=judgement.command,
        failure=Failure(code="group-failed", fields={"culprit": name, "cause": explain.title(culprit.failure)}),
    )
