"""The corridor: the whole way of a push, from a durable record to a serving endpoint, on one screen.

    record -> tree -> image -> release process -> ready instance
           -> [ refs locked -> release written -> calls routed -> refs moved ]

Rules of this file
1. Each line makes one frozen value out of earlier ones; none reaches back.
2. Everything before the bracket can fail and leaves no trace: the old release serves, the ref stays. What the app's
   own release process did elsewhere (a migrated database) is the app's to undo.
3. Inside the bracket nothing of the user's runs. A crash in it is rolled forward from the record (worker.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gitserver import plan
from gitserver.job import Doors, Job
from gitserver.ledger.records import BuildKind, Environment, Image, Release
from gitserver.plan import ReleasePlan
from gitserver.targets.contract import Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A release that is ready and that nobody calls yet. A deletion has neither plan nor instance."""

    job: Job
    environment: Environment
    release: ReleasePlan | None
    image: Image | None
    running: Running | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a job made serve, and the release that it replaced."""

    job: Job
    release: Release | None
    replaced: Release | None


def prepare(job: Job, doors: Doors) -> Candidate:
    """Everything of a push that takes time: the pushed tree becomes an instance that has answered its smoke test.

    Raises  Problem, BuildFailed with the cause; nothing of the attempt stays behind
    """
    environment = doors.environment(job)
    if job.build.kind is BuildKind.DELETE:
        return Candidate(job=job, environment=environment, release=None, image=None, running=None)
    release = plan.plan_release(job.build, environment, doors.ledger)
    image = release.image
    if image is None:
        tree = doors.source.extract(job)
        image = doors.kitchen.build(job, environment, tree, release.config)
    elif release.stack is not None:
        image = doors.kitchen.rebase(job, image, release.stack)
    elif release.new_tag is not None:
        doors.kitchen.name_version(job, image)
    doors.run_release(job, environment, image, release.config.values)
    running = doors.start(job, environment, image, release.config.values)
    return Candidate(job=job, environment=environment, release=release, image=image, running=running)


def switch(candidates: Sequence[Candidate], doors: Doors) -> list[Served]:
    """All candidates (of one app) serve and their refs have moved, or none of it happened.

    Raises  Problem('ref-moved') when somebody else's push came first, Problem('environment-gone' | 'app-gone')
    """
    written: list[Candidate] = []
    with doors.source.moving_refs([candidate.job for candidate in candidates]) as refs:
        try:
            served = []
            for candidate in candidates:
                written.append(candidate)
                served.append(_record(candidate, doors))
            doors.routes.reload()
            refs.commit()
        except BaseException:
            for candidate in written:
                doors.ledger.take_back(candidate.job.build.id, candidate.environment)
            doors.routes.reload()
            raise
    return served


def _record(candidate: Candidate, doors: Doors) -> Served:
    job, environment, release, image = candidate.job, candidate.environment, candidate.release, candidate.image
    # Read anew: an atomic push may release twice into one environment (main and a tag), and the first is replaced too.
    current = doors.ledger.environment_by_id(environment.id) or environment
    replaced = None if current.release_id is None else doors.ledger.release(current.release_id)
    if release is None or image is None or candidate.running is None:
        doors.ledger.remove_environment(environment.id)
        return Served(job=job, release=None, replaced=replaced)
    doors.ledger.add_image(image.digest, image.app_id, release.commit, image.config)
    if release.new_tag is not None:
        doors.ledger.add_version(
            job.app.id, tag=release.new_tag, object_oid=job.build.new, commit=release.commit,
            image_digest=image.digest, config_version=release.config.number, actor=job.build.actor,
        )  # fmt: skip
    written = doors.ledger.add_release(
        environment_id=environment.id, image_digest=image.digest, commit=release.commit,
        version_tag=release.version_tag, config_version=release.config.number, config=release.config.values,
        actor=job.build.actor, why=release.why, build_id=job.build.id, facts=candidate.running.facts,
    )  # fmt: skip
    doors.ledger.note_release(job.build.id, image_digest=image.digest, release_id=written.id)
    return Served(job=job, release=written, replaced=replaced)
