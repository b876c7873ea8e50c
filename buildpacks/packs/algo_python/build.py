"""Python and its packages as one launch layer, made only when what was asked for has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.credentials import open_indexes
from buildpacks.packs.algo_python.install import install, known_size, layer_key
from buildpacks.packs.algo_python.interpreter import Interpreter, choose
from buildpacks.packs.algo_python.manager import SETTING, Manager, read_manager
from buildpacks.packs.algo_python.resolve import Extra, inputs_key, make_lock, needed, pins, read_extras, wants_both
from buildpacks.packs.algo_python.wanted import Wanted, read_wanted
from buildpacks.packs.cnb import PASS, Context, PackFailed, detail, human_size, step, warn

_MAX_CHANGES = 10


class Question(NamedTuple):
    """What a lock answers: the key of everything that was asked, and the Python that it is asked for."""

    inputs: str
    python: Interpreter


class Answer(NamedTuple):
    """A lock, the key of the question that it answers, and the Python that it is for."""

    lock: str
    inputs: str
    python: Interpreter


def build(context: Context) -> int:
    """Write the layers `deps` (launch) and `python` (build). Raises PackFailed."""
    opened = open_indexes(context.env, context.env.get("TMPDIR") or f"{context.layers}/scratch")
    try:
        return _build(
            Context(
                app=context.app, layers=context.layers, platform=context.platform, plan=context.plan,
                buildpack=context.buildpack, env=opened.env,
            )
        )  # fmt: skip
    finally:
        if opened.netrc:
            os.unlink(opened.netrc)  # noqa: PTH108 -- no pathlib in buildpacks


def _build(context: Context) -> int:
    old = context.restored("deps")
    manager = read_manager(context.app, context.env.get(SETTING, ""))
    asked = read_extras(context.wants("python"))
    extras = needed(asked, manager)
    wanted = read_wanted(context.app, manager.files, manager.python)
    python = _choose(context, manager, wanted, str(old.get("python", "")))
    _tell_python(python, wanted, str(old.get("python", "")))
    for extra in extras:
        if extra.why:
            detail(f"Added {extra.spec}: {extra.why}")
    inputs = inputs_key(manager, extras, python, context.env)
    if not _is_answered(context, old, inputs):
        _tell_changes(manager.changes)
    try:
        locked = _lock_and_install(context, manager, extras, Question(inputs, python), old)
    except PackFailed as failed:
        from buildpacks.packs.algo_python.dead import find_other_python

        other = find_other_python(context, manager, wanted, python, failed)
        if other is None:
            raise
        import shutil

        shutil.rmtree(f"{context.layers}/deps", ignore_errors=True)
        question = Question(inputs_key(manager, extras, other, context.env), other)
        locked = _lock_and_install(context, manager, extras, question, old)
    if wants_both(context.env):
        from buildpacks.packs.algo_python.gpu_layer import add_gpu_layer  # late: few apps ask for a second image

        add_gpu_layer(context, manager, extras, locked.python, locked.lock)
    _warn_of_skew(asked, locked.lock)
    _tell_others(context, locked.python)
    return PASS


def _choose(context: Context, manager: Manager, wanted: Wanted, previous: str) -> Interpreter:
    try:
        return choose(wanted, context.env, previous)
    except PackFailed as failed:
        from buildpacks.packs.algo_python.dead import refuse_dead_pins  # late: for pushes that end here

        refuse_dead_pins(context, manager, wanted, failed)
        raise


def _tell_python(python: Interpreter, wanted: Wanted, previous: str) -> None:
    step(f"Detected Python {python.minor} ({wanted.reason})")
    if wanted.exact and wanted.exact != python.full:
        detail(f"{wanted.reason} asks for {wanted.exact}: {python.full} is here, of the same minor version")
    if wanted.note:
        warn(wanted.note)
    if previous and not previous.startswith(f"{python.minor}."):
        detail(f"Python changes from {previous.rpartition('.')[0]} to {python.minor}: {wanted.reason}")


def _tell_changes(changes: Sequence[str]) -> None:
    for change in changes[:_MAX_CHANGES]:
        detail(change)
    if len(changes) > _MAX_CHANGES:
        detail(f"and {len(changes) - _MAX_CHANGES} more lines of that kind")


def _is_answered(context: Context, old: Mapping[str, object], inputs: str) -> bool:
    return old.get("inputs") == inputs and context.env.get("ALGO_UPGRADE") != "1"


def _lock_and_install(
    context: Context, manager: Manager, extras: Sequence[Extra], question: Question, old: Mapping[str, object]
) -> Answer:
    known = str(old["lock"]) if _is_answered(context, old, question.inputs) else None
    lock = make_lock(context, manager, extras, question.python) if known is None else known
    locked = Answer(lock, *question)
    _make_layer(context, manager, locked, old)
    return locked


def _make_layer(context: Context, manager: Manager, locked: Answer, old: Mapping[str, object]) -> None:
    python = locked.python
    key = layer_key(locked.lock, python, context.env)
    metadata: dict[str, object] = {
        "inputs": locked.inputs, "key": key, "lock": locked.lock, "python": python.full,
        "size": old.get("size", 0),
    }  # fmt: skip
    if old.get("key") == key:
        is_same = manager.file and old.get("inputs") == locked.inputs
        reason = f"{manager.file} unchanged" if is_same else "the same versions as before"
        step(f"Dependencies: reused, {reason} ({human_size(int(str(old['size'])))}, 0 bytes moved)")
    elif (size := known_size(context.env, key)) is not None:
        metadata["size"] = size
        step(f"Dependencies: reused, this server has these versions already ({human_size(size)}, 0 bytes moved)")
    else:
        from buildpacks.packs.algo_python.variants import env_for_install  # late: most pushes install nothing

        started_at = time.monotonic()
        tuned = Context(
            app=context.app, layers=context.layers, platform=context.platform, plan=context.plan,
            buildpack=context.buildpack, env=env_for_install(context.env, locked.lock),
        )  # fmt: skip
        size_bytes = metadata["size"] = install(tuned, locked.lock, python, manager)
        seconds = time.monotonic() - started_at
        count = len(pins(locked.lock))
        what = f"installed {count} packages ({human_size(size_bytes)}, {seconds:.1f} s)" if count else "none declared"
        step(f"Dependencies: {what}")
    context.write_layer("deps", ["launch"], metadata)


def _warn_of_skew(extras: Sequence[Extra], lock: str) -> None:
    written = [extra for extra in extras if extra.written_by]
    if not written:
        return
    from buildpacks.packs.skewed import check_skew  # late: for pushes with a model file that says who wrote it

    versions = pins(lock)
    for extra in written:
        loaded = versions.get(extra.name) or versions.get(f"{extra.name}-cpu", "")
        line = check_skew(extra.why.split(" was ", 1)[0], extra.name, extra.written_by, loaded, kind=extra.kind)
        if line:
            warn(line)


def _tell_others(context: Context, python: Interpreter) -> None:
    context.write_env("python", "env.build", "ALGO_PYTHON.override", f"{python.full} {python.image_path}")
    context.write_env("python", "env.build", "ALGO_COMPILER.override", python.compiling())
    context.write_layer("python", ["build"], {})
    labels = [
        {"key": "algo.python", "value": python.full}, {"key": "algo.python-executable", "value": python.image_path},
    ]  # fmt: skip
    context.write_toml("launch.toml", {"labels": labels})
