"""The build phase: every bin/build of the group in order, each in the environment that the earlier ones made.

Source  buildpacks/spec buildpack.md 0.12, "Phase #5: Build"; contracts 1.4
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH103, PTH104, PTH112

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.lifecycle.descriptor import Buildpack
from buildpacks.lifecycle.detect import Detected, read_failure
from buildpacks.lifecycle.environment import IMAGE_APP, IMAGE_LAYERS, relocate
from buildpacks.lifecycle.failure import ExitCode, LifecycleError
from buildpacks.lifecycle.job import Job
from buildpacks.lifecycle.outputs import (
    LaunchFile,
    Layer,
    json_value,
    merge_processes,
    read_launch_file,
    read_layers,
    read_store,
    read_unmet,
)
from buildpacks.lifecycle.plan import Require, after_build, find_for_provider
from buildpacks.lifecycle.program import is_own, start
from buildpacks.lifecycle.sbom import find_sboms
from buildpacks.lifecycle.script_env import script_env
from buildpacks.lifecycle.toml_writer import render_toml

FLOOD_BYTES = 8 << 20


class BuiltPack(NamedTuple):
    """What one buildpack left behind."""

    buildpack: Buildpack
    layers: tuple[Layer, ...]
    launch: LaunchFile
    store: Mapping[str, object]
    sboms: tuple[tuple[str, str], ...]


def build(job: Job, detected: Detected, deadline_at: float | None = None) -> tuple[BuiltPack, ...]:
    """Run the group. Raises LifecycleError 51 when a buildpack fails, 52 when its outputs break the rules.

    deadline_at  time.monotonic() at which a stranger's buildpack is ended
    """
    entries = detected.resolution.entries
    build_layers: list[str] = []
    built = []
    for pack in detected.group:
        folder = os.path.join(job.layers, pack.escaped_id)
        os.makedirs(folder, exist_ok=True)
        _run(job, pack, folder, build_layers, find_for_provider(entries, pack.id), deadline_at)
        entries = after_build(entries, pack.id, read_unmet(pack, folder))
        layers = read_layers(pack, folder)
        sboms = find_sboms(pack, folder, {layer.name for layer in layers})
        for layer in layers:
            path = os.path.join(folder, layer.name)
            if layer.has_contents and not (layer.launch or layer.build or layer.cache):
                os.rename(path, f"{path}.ignore")
            elif layer.has_contents and layer.build:
                build_layers.append(path)
            elif layer.cache and not layer.launch and not layer.has_contents:
                _say(f"Warning: the layer {pack.id}:{layer.name} has no contents, so nothing of it is cached")
        built.append(
            BuiltPack(
                buildpack=pack,
                layers=tuple(
                    layer._replace(sboms=tuple(ending for name, ending in sboms if name == layer.name))
                    for layer in layers
                    if layer.launch or layer.build or layer.cache
                ),
                launch=read_launch_file(pack, folder),
                store=read_store(pack, folder),
                sboms=sboms,
            )
        )
    return tuple(built)


def _run(
    job: Job, pack: Buildpack, folder: str, build_layers: Sequence[str], wants: Sequence[Require],
    deadline_at: float | None,
) -> None:  # fmt: skip
    stem = os.path.join(job.tmp, f"build-{pack.escaped_id}")
    plan_path, failure_path = f"{stem}.plan.toml", f"{stem}.failure.json"
    with open(plan_path, "w", encoding="utf-8") as file:
        file.write(render_toml({"entries": [_entry(want) for want in wants]} if wants else {}))
    paths = {"CNB_LAYERS_DIR": folder, "CNB_BP_PLAN_PATH": plan_path}
    env = script_env(job, pack, build_layers, paths, failure_path)
    argv = [os.path.join(pack.directory, "bin", "build"), folder, job.platform, plan_path]
    try:
        if is_own(argv[0]):
            # No time limit of its own: the whole lifecycle runs under the build's.
            status = start(argv, cwd=job.app, env=env, output=None).wait(None)
        else:
            status = _run_stranger(pack, argv, job.app, env, deadline_at)
    except OSError as error:
        raise LifecycleError(
            ExitCode.BUILDPACK_FAILED, "buildpack-bad", file=f"{pack.id}/bin/build", message=str(error)
        ) from error
    if status != 0:
        failure = read_failure(failure_path)
        if failure is not None:
            raise LifecycleError.from_record(ExitCode.BUILDPACK_FAILED, failure)
        raise LifecycleError(ExitCode.BUILDPACK_FAILED, "buildpack-failed", buildpack=pack.id, status=status)


def _run_stranger(
    pack: Buildpack, argv: Sequence[str], app: str, env: Mapping[str, str], deadline_at: float | None
) -> int:
    from buildpacks.lifecycle.watch import MAX_LINES, Watched

    sys.stdout.flush()
    started_at = time.monotonic()
    script = Watched(argv, cwd=app, env=env, keep_bytes=0, limit_bytes=FLOOD_BYTES, pass_on=sys.stdout.fileno())
    status = script.finish(deadline_at)
    if script.has_flooded:
        raise LifecycleError(
            ExitCode.BUILDPACK_FAILED, "buildpack-flooded", buildpack=pack.id, phase="build",
            limit_mib=FLOOD_BYTES >> 20, limit_lines=MAX_LINES,
        )  # fmt: skip
    if script.is_overdue:
        seconds = round(time.monotonic() - started_at)
        raise LifecycleError(
            ExitCode.BUILDPACK_FAILED, "buildpack-hung", buildpack=pack.id, phase="build", seconds=seconds
        )
    if script.has_left_some:
        _say(f"Warning: {pack.id} left processes running; they were ended")
    return status


def _say(text: str) -> None:
    sys.stdout.write(f"       {text}\n")
    sys.stdout.flush()


def _entry(want: Require) -> dict[str, object]:
    return {"name": want.name, "metadata": want.metadata} if want.metadata else {"name": want.name}


def make_result(job: Job, built: Sequence[BuiltPack]) -> dict[str, object]:
    """Everything that the exporter needs to know, as JSON; paths inside are those of an image, not of this build.

    Also rewrites the layers' env files to the image's paths.
    """
    moves = ((job.layers, IMAGE_LAYERS), (job.app, IMAGE_APP))
    for pack in built:
        for layer in pack.layers:
            if layer.launch and layer.has_contents:
                _relocate_env(os.path.join(job.layers, pack.buildpack.escaped_id, layer.name), moves)
    processes = []
    for process in merge_processes([pack.launch for pack in built], job.exec_env):
        item = process.as_json()
        for key in ("command", "args"):
            item[key] = [relocate(word, moves) for word in getattr(process, key)]
        item["working-dir"] = relocate(process.working_dir, moves)
        processes.append(item)
    return {
        "buildpacks": [
            {
                "key": pack.buildpack.id,
                "version": pack.buildpack.version,
                "api": ".".join(map(str, pack.buildpack.api)),
                "store": {"metadata": json_value(pack.store)},
                "layers": {layer.name: layer.as_json() for layer in pack.layers},
                "sboms": [ending for name, ending in pack.sboms if name == "launch"],
            }
            for pack in built
        ],
        "exec-env": job.exec_env,
        "processes": processes,
        "labels": dict(label for pack in built for label in pack.launch.labels),
        "slices": [list(paths) for pack in built for paths in pack.launch.slices],
    }


def _relocate_env(layer: str, moves: Sequence[tuple[str, str]]) -> None:
    folders = [os.path.join(layer, name) for name in ("env", "env.launch")]
    folders += [entry.path for entry in os.scandir(folders[1]) if entry.is_dir()] if os.path.isdir(folders[1]) else []
    for folder in folders:
        if not os.path.isdir(folder):
            continue
        for entry in os.scandir(folder):
            if not entry.is_file(follow_symlinks=False):
                continue
            with open(entry.path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                old = file.read()
            new = relocate(old, moves)
            if new != old:
                with open(entry.path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                    file.write(new)
