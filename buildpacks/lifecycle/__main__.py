"""`python -I -S <here>/__main__.py JOB.json`: detect, restore and build, in a process of its own.

It is started by path, with nothing of the site on its search path, so that it runs the same in a sandbox where only
the interpreter and the `buildpacks` folder exist, and in a build container. Exit status: the specification's codes;
the cause, as JSON, in the job's result file.
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH120

from __future__ import annotations

import json
import os
import sys
import time

if not __package__:
    # Started by path. The package is put in place by hand: in a sandbox the folder above it cannot be listed, and an
    # import lists; and nothing else that lies in that folder can be imported by accident.
    package = sys.modules["buildpacks"] = type(sys)("buildpacks")
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.realpath(__file__)))]

from buildpacks.lifecycle.build import build, make_result
from buildpacks.lifecycle.detect import detect
from buildpacks.lifecycle.failure import ExitCode, LifecycleError
from buildpacks.lifecycle.job import Job, read_job
from buildpacks.lifecycle.restore import restore

# What our buildpacks import, some of it late, when the code of a Python app has changed.
_OFTEN = (
    "ast", "hashlib", "subprocess",
    "buildpacks.packs.algo_python.detect", "buildpacks.packs.algo_python.build",
    "buildpacks.packs.algo_python.declared", "buildpacks.packs.algo_python.decoding",
    "buildpacks.packs.algo_python.requirements", "buildpacks.packs.cog_yaml", "buildpacks.packs.skewed",
    "buildpacks.packs.algo_model.detect", "buildpacks.packs.algo_model.build", "buildpacks.packs.algo_model.source",
    "buildpacks.packs.algo_model.contracts.algorithmia", "buildpacks.packs.algo_model.contracts.cog",
    "buildpacks.packs.algo_model.contracts.lists", "buildpacks.packs.algo_model.contracts.platforms",
    "buildpacks.model.pickles", "buildpacks.packs.references",
    "buildpacks.packs.algo_procfile.detect", "buildpacks.packs.algo_procfile.build", "buildpacks.packs.app_objects",
    "buildpacks.packs.subfolders", "buildpacks.packs.toolchains.unbuilt", "buildpacks.packs.webapps",
)  # fmt: skip


def create(job: Job) -> dict[str, object]:
    """All phases that happen beside the application's source, in order."""
    # Ended here, a buildpack that hangs is named; ended by whoever started this process, nobody knows which it was.
    deadline_at = time.monotonic() + job.timeout_s - min(5.0, job.timeout_s / 10) if job.timeout_s > 0 else None
    detected = detect(job)
    restore(job, detected.group)
    built = build(job, detected, deadline_at)
    return make_result(job, built)


def load_all() -> None:
    """Import what our own buildpacks import when code has changed: a process that is started ahead does it ahead."""
    from importlib import import_module

    for name in _OFTEN:
        import_module(name)


def main(argv: list[str]) -> int:
    """Run one job. A failure is an exit status, its record in the result file, and the held-back output."""
    if len(argv) != 1:
        sys.stderr.write("usage: __main__.py JOB.json\n")
        return ExitCode.ARGUMENTS
    job: Job | None = None
    try:
        job = read_job(argv[0])
        result, status = {"ok": create(job)}, 0
    except LifecycleError as error:
        sys.stdout.write(error.held_output)
        result = {"failure": {"code": error.code, "fields": error.fields, "status": int(error.exit_code)}}
        status = int(error.exit_code)
    if job is None:
        sys.stderr.write(f"{result}\n")
        return status
    sys.stdout.flush()
    with open(job.result, "w", encoding="utf-8") as file:
        json.dump(result, file)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
