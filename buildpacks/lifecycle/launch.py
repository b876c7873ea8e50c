"""How a built image starts: image folders and a process to an argument list and an environment.

Reads the layers' env files, changes nothing, starts nothing. Targets call it in the server; nothing here may need
more than the standard library.

Source  buildpacks/spec platform.md 0.15, "launcher"; contracts 1.8
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH112

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from buildpacks.lifecycle.environment import (
    IMAGE_APP,
    IMAGE_LAYERS,
    LAUNCH_DIRS,
    add_env_dir,
    add_root_dirs,
    relocate,
)
from buildpacks.lifecycle.failure import ExitCode, LifecycleError

# Q: the launcher's own variables never reach the process.
_DROPPED = ("CNB_APP_DIR", "CNB_LAYERS_DIR", "CNB_PROCESS_TYPE", "CNB_PLATFORM_API", "CNB_DEPRECATION_MODE")


def resolve(
    layers_dir: Path,
    buildpacks: Sequence[str],
    process: Mapping[str, object],
    env: Mapping[str, str],
    *,
    user_args: Sequence[str] | None = None,
) -> tuple[list[str], dict[str, str]]:
    """What to execute for a process of an image, and with which environment.

    layers_dir  <image>/layers; the application lies beside it in <image>/app
    buildpacks  ids in build order, as they stand in the image's config
    process     {"type", "command": [...], "args": [...], ...} from the image's config
    env         what the platform gives: at least a PATH
    user_args   replace the process' args, never its command
    Raises      LifecycleError 82: launch-no-command; launch-unsupported for exec.d and profile.d (a later issue)
    """
    app_dir = layers_dir.parent / "app"
    moves = ((IMAGE_LAYERS, str(layers_dir)), (IMAGE_APP, str(app_dir)))
    words = words_of(process, user_args)
    process_env = launch_env(layers_dir, buildpacks, str(process.get("type", "web")), env)
    return [relocate(word, moves) for word in words], process_env


def launch_env(
    layers_dir: Path, buildpacks: Sequence[str], process_type: str, env: Mapping[str, str]
) -> dict[str, str]:
    """The environment alone, for layers that lie in <layers_dir>/<buildpack>/<layer>."""
    packs = [_layers(layers_dir / pack_id.replace("/", "_")) for pack_id in buildpacks]
    moves = ((IMAGE_LAYERS, str(layers_dir)), (IMAGE_APP, str(layers_dir.parent / "app")))
    return env_of_layers(packs, process_type, env, moves)


def env_of_layers(
    packs: Sequence[Sequence[str]], process_type: str, env: Mapping[str, str], moves: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Per buildpack all layers' folders, then their env/, env.launch/, env.launch/<type>/.

    packs  folders of each buildpack's layers, in build order, sorted within one
    moves  what becomes of folders in the values that layers set: where they say they are -> where they will be
    """
    result = {name: value for name, value in env.items() if name not in _DROPPED}
    for layers in packs:
        for layer in layers:
            add_root_dirs(result, layer, LAUNCH_DIRS)
        for layer in layers:
            _refuse_unsupported(layer)
            for folder in ("env", "env.launch", f"env.launch/{process_type}"):
                add_env_dir(result, os.path.join(layer, folder))
    own = {name for name in result if result[name] != env.get(name)}
    return {name: relocate(value, moves) if name in own else value for name, value in result.items()}


def words_of(process: Mapping[str, object], user_args: Sequence[str] | None = None) -> list[str]:
    """Command and arguments of a process. Raises LifecycleError 82: launch-no-command."""
    command = _words(process.get("command"))
    if not command:
        raise LifecycleError(ExitCode.LAUNCH, "launch-no-command", process=str(process.get("type", "")))
    args = list(user_args) if user_args is not None else _words(process.get("args"))
    return [*command, *args]


def _layers(pack_dir: Path) -> list[str]:
    try:
        return sorted(str(path) for path in pack_dir.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _refuse_unsupported(layer: str) -> None:
    for folder in ("exec.d", "profile.d"):
        if os.path.isdir(os.path.join(layer, folder)):
            raise LifecycleError(
                ExitCode.LAUNCH, "launch-unsupported", folder=folder, layer=os.path.join(*Path(layer).parts[-2:])
            )


def _words(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):  # Buildpack API below 0.9 has a string; such a process is started by bash
        return ["bash", "-c", value]
    if not isinstance(value, (list, tuple)):
        return []
    return [str(word) for word in value]
