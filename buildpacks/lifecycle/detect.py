"""The detect phase: every bin/detect once, in parallel; the first group that passes, with its build plan.

Source  buildpacks/spec buildpack.md 0.12, "Phase #1: Detection"; contracts 1.3
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.lifecycle.descriptor import Buildpack, Target, read_buildpack, read_order, read_toml
from buildpacks.lifecycle.environment import is_for_exec_env
from buildpacks.lifecycle.failure import ExitCode, LifecycleError
from buildpacks.lifecycle.job import Job
from buildpacks.lifecycle.ordering import Candidate, expand_order, is_for_target
from buildpacks.lifecycle.plan import Offer, Resolution, Section, parse_plan, resolve_plan
from buildpacks.lifecycle.program import Program, is_own, start
from buildpacks.lifecycle.script_env import script_env

TYPE_CHECKING = False  # imported late: with buildpacks of ours alone nobody is watched
if TYPE_CHECKING:
    from buildpacks.lifecycle.watch import Watched

FAIL = 100
MAX_OUTPUT_BYTES = 64 * 1024
FLOOD_BYTES = 4 << 20


class Verdict(NamedTuple):
    """How one bin/detect ended. status 0 passed, 100 failed, anything else is an error."""

    status: int
    sections: tuple[Section, ...]
    output: str
    failure: Mapping[str, object] | None


class Detected(NamedTuple):
    """The group that builds and its plan."""

    group: tuple[Buildpack, ...]
    resolution: Resolution


class _Run(NamedTuple):
    """A started detection; program is Watched for a stranger's, whose output is then in no file."""

    program: Program | Watched
    plan_path: str
    output_path: str
    failure_path: str


def detect(job: Job) -> Detected:
    """The first group of the order that passes.

    Raises  LifecycleError 20 or 21 (some buildpack erred) when none does; with the code and fields that a buildpack
            left in its failure file, when one did
    """
    buildpacks = [read_buildpack(directory) for directory in job.buildpacks]
    verdicts: dict[str, Verdict] = {}
    for group in expand_order(read_order(job.order), buildpacks):
        resolution = _try_group(job, group, verdicts)
        if resolution is not None:
            by_id = {candidate.buildpack.id: candidate.buildpack for candidate in group}
            return Detected(group=tuple(by_id[pack_id] for pack_id in resolution.pack_ids), resolution=resolution)
    raise _none_detected(verdicts)


def _try_group(job: Job, group: Sequence[Candidate], verdicts: dict[str, Verdict]) -> Resolution | None:
    group = [candidate for candidate in group if is_for_exec_env(candidate.buildpack.exec_env, job.exec_env)]
    target = Target(
        os=job.target.get("os", ""),
        arch=job.target.get("arch", ""),
        variant=job.target.get("variant", ""),
        distros=((job.target.get("distro", ""), job.target.get("distro_version", "")),),
    )
    for candidate in group:
        if not candidate.optional and not is_for_target(candidate.buildpack, target):
            verdicts[_key(candidate)] = Verdict(
                status=1, sections=(), output=f"{_key(candidate)} is not made for this platform\n", failure=None
            )
    _run_missing(job, group, verdicts)
    offers = []
    for candidate in group:
        verdict = verdicts[_key(candidate)]
        if verdict.status == 0:
            offers.append(Offer(pack_id=candidate.buildpack.id, optional=candidate.optional, sections=verdict.sections))
        elif not candidate.optional:
            return None
    resolution = resolve_plan(offers)
    if resolution is not None:  # of a group that does not pass, the failure itself says more
        _tell_of_dropped(group, verdicts)
    return resolution


def _run_missing(job: Job, group: Sequence[Candidate], verdicts: dict[str, Verdict]) -> None:
    # Each buildpack runs once per build. All of a group run at once: their output goes to files, so no pipe can fill.
    runs = {_key(c): _start(job, c.buildpack) for c in group if _key(c) not in verdicts}
    deadline_at = time.monotonic() + job.detect_timeout_s
    for key, run in runs.items():
        if isinstance(run.program, Program):
            status = run.program.wait(max(0.0, deadline_at - time.monotonic()))
            if status is None:
                status = run.program.kill()
            verdicts[key] = _read_verdict(key, run, status)
            continue
        status = run.program.finish(deadline_at)
        ended = _how_it_was_ended(key, run.program, job.detect_timeout_s)
        verdicts[key] = ended or _read_verdict(key, run, status)


def _how_it_was_ended(key: str, program: Watched, timeout_s: float) -> Verdict | None:
    """The verdict on a detection that did not end by itself; None: it did."""
    if not program.has_flooded and not program.is_overdue:
        return None
    fields: dict[str, object] = {"buildpack": key, "phase": "detect"}
    if program.has_flooded:
        from buildpacks.lifecycle.watch import MAX_LINES

        limits = {"limit_mib": FLOOD_BYTES >> 20, "limit_lines": MAX_LINES}
        failure: dict[str, object] = {"code": "buildpack-flooded", "fields": fields | limits}
    else:
        failure = {"code": "buildpack-hung", "fields": fields | {"seconds": timeout_s}}
    return Verdict(status=1, sections=(), output=program.kept.decode("utf-8", "replace"), failure=failure)


def _tell_of_dropped(group: Sequence[Candidate], verdicts: Mapping[str, Verdict]) -> None:
    """An optional buildpack that errs is dropped; that it was meant to be there is said, with its last lines."""
    for candidate in group:
        key, verdict = _key(candidate), verdicts[_key(candidate)]
        if verdict.status in {0, FAIL}:
            continue
        sys.stdout.write(f"       Warning: {key} is left out: its detection ended with status {verdict.status}\n")
        for line in verdict.output.splitlines()[-10:]:
            sys.stdout.write(f"       {line}\n")
    sys.stdout.flush()


def _start(job: Job, pack: Buildpack) -> _Run:
    stem = os.path.join(job.tmp, f"detect-{pack.escaped_id}")
    run_paths = (f"{stem}.plan.toml", f"{stem}.out", f"{stem}.failure.json")
    os.close(os.open(run_paths[0], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))  # Q: there, empty, private
    env = script_env(job, pack, (), {"CNB_BUILD_PLAN_PATH": run_paths[0]}, run_paths[2])
    argv = [os.path.join(pack.directory, "bin", "detect"), job.platform, run_paths[0]]
    program: Program | Watched
    try:
        if is_own(argv[0]):
            with open(run_paths[1], "wb") as output:
                program = start(argv, cwd=job.app, env=env, output=output.fileno())
        else:
            from buildpacks.lifecycle.watch import Watched

            program = Watched(argv, cwd=job.app, env=env, keep_bytes=MAX_OUTPUT_BYTES, limit_bytes=FLOOD_BYTES)
    except OSError as error:
        raise LifecycleError(
            ExitCode.DETECT, "buildpack-bad", file=f"{pack.id}/bin/detect", message=str(error)
        ) from error
    return _Run(program=program, plan_path=run_paths[0], output_path=run_paths[1], failure_path=run_paths[2])


def _read_verdict(key: str, run: _Run, status: int) -> Verdict:
    if isinstance(run.program, Program):
        with open(run.output_path, "rb") as file:
            data = file.read(MAX_OUTPUT_BYTES)
    else:
        data = run.program.kept
    output = data.decode("utf-8", "replace")
    if status != 0:
        return Verdict(status=status, sections=(), output=output, failure=read_failure(run.failure_path))
    document = read_toml(run.plan_path, exit_code=ExitCode.DETECT)
    return Verdict(status=0, sections=parse_plan(document, pack_id=key), output=output, failure=None)


def read_failure(path: str) -> Mapping[str, object] | None:
    """What a buildpack left in ALGO_FAILURE_FILE: {"code", "fields"}; None when there is nothing sensible."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read(MAX_OUTPUT_BYTES))
    except (OSError, ValueError):
        return None
    if isinstance(value, dict) and isinstance(value.get("code"), str) and isinstance(value.get("fields"), dict):
        return value
    return None


def _none_detected(verdicts: Mapping[str, Verdict]) -> LifecycleError:
    # An error says more than "not mine"; of several, the first in the order's sequence.
    ranked = sorted(verdicts.items(), key=lambda item: item[1].status in {0, FAIL})
    erred = any(verdict.status not in {0, FAIL} for verdict in verdicts.values())
    exit_code = ExitCode.NONE_DETECTED_WITH_ERRORS if erred else ExitCode.NONE_DETECTED
    output = "".join(verdict.output for _, verdict in ranked if verdict.output)
    for _, verdict in ranked:
        if verdict.failure is not None:
            return LifecycleError.from_record(exit_code, verdict.failure, output)
    record = {"code": "none-detected", "fields": {"buildpacks": sorted(verdicts)}}
    return LifecycleError.from_record(exit_code, record, output)


def _key(candidate: Candidate) -> str:
    return f"{candidate.buildpack.id}@{candidate.buildpack.version}"
