"""Python and its packages as one launch layer, made only when what was asked for has changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_python.install import install, layer_key
from buildpacks.packs.algo_python.interpreter import Interpreter, choose, read_wanted
from buildpacks.packs.algo_python.manager import Manager, read_manager
from buildpacks.packs.algo_python.resolve import Extra, inputs_key, make_lock, needed, pins, read_extras
from buildpacks.packs.cnb import PASS, Context, detail, human_size, step, warn


class Locked(NamedTuple):
    """The answer: a lock, and the key of the question that it answers."""

    lock: str
    inputs: str


def build(context: Context) -> int:
    """Write the layers `deps` (launch) and `python` (build). Raises PackFailed."""
    old = context.restored("deps")
    manager = read_manager(context.app)
    asked = read_extras(context.wants("python"))
    extras = needed(asked, manager)
    wanted = read_wanted(context.app, manager.files)
    python = choose(wanted, context.env, str(old.get("python", "")))
    step(f"Detected Python {python.minor} ({wanted.reason})")
    for extra in extras:
        if extra.why:
            detail(f"Added {extra.spec}: {extra.why}")
    locked = _lock(context, manager, extras, python, old)
    _warn_of_skew(asked, locked.lock)
    _make_layer(context, manager, python, locked, old)
    _tell_others(context, python)
    return PASS


def _lock(
    context: Context, manager: Manager, extras: Sequence[Extra], python: Interpreter, old: Mapping[str, object]
) -> Locked:
    inputs = inputs_key(manager, extras, python, context.env)
    if old.get("inputs") == inputs:
        return Locked(str(old["lock"]), inputs)
    return Locked(make_lock(context, manager, extras, python), inputs)


def _make_layer(
    context: Context, manager: Manager, python: Interpreter, locked: Locked, old: Mapping[str, object]
) -> None:
    key = layer_key(locked.lock, python, context.env)
    metadata: dict[str, object] = {
        "inputs": locked.inputs, "key": key, "lock": locked.lock, "python": python.full,
        "size": old.get("size", 0),
    }  # fmt: skip
    if old.get("key") == key:
        is_same = manager.file and old.get("inputs") == locked.inputs
        reason = f"{manager.file} unchanged" if is_same else "the same versions as before"
        step(f"Dependencies: reused, {reason} ({human_size(int(str(old['size'])))}, 0 bytes moved)")
    else:
        started_at = time.monotonic()
        size_bytes = metadata["size"] = install(context, locked.lock, python, manager)
        seconds = time.monotonic() - started_at
        count = len(pins(locked.lock))
        what = f"installed {count} packages ({human_size(size_bytes)}, {seconds:.1f} s)" if count else "none declared"
        step(f"Dependencies: {what}")
    context.write_layer("deps", ["launch"], metadata)


def _warn_of_skew(extras: Sequence[Extra], lock: str) -> None:
    versions = pins(lock)
    for extra in extras:
        loaded = versions.get(extra.name, extra.written_by)
        if extra.written_by and loaded != extra.written_by:
            file = extra.why.split(" was ", 1)[0]
            warn(f"{file} was written by {extra.name} {extra.written_by}, and {loaded} will load it")


def _tell_others(context: Context, python: Interpreter) -> None:
    context.write_env("python", "env.build", "ALGO_PYTHON.override", f"{python.full} {python.image_path}")
    context.write_env("python", "env.build", "ALGO_COMPILER.override", python.compiling())
    context.write_layer("python", ["build"], {})
    labels = [
        {"key": "algo.python", "value": python.full}, {"key": "algo.python-executable", "value": python.image_path},
    ]  # fmt: skip
    context.write_toml("launch.toml", {"labels": labels})
