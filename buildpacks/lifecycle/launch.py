"""How a built image starts: image folders and a process to an argument list and an environment.

Everything that can be known before a start is computed here, once, so that most processes are executed as they are: no
launcher runs. Two things cannot. A shell process is one bash that sources the layers' profile scripts and becomes the
process; programs in exec.d answer only when they are asked, so they are run by launcher.py, which becomes the process.

Reads the layers' env files, changes nothing, starts nothing. Targets call it in the server; nothing here may need
more than the standard library.

Source  buildpacks/spec platform.md 0.15, "launcher"; contracts 1.8; docs/decisions/0019
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH112, PTH113

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from buildpacks.lifecycle.environment import (
    IMAGE_APP,
    IMAGE_LAYERS,
    LAUNCH_DIRS,
    add_env_dir,
    add_root_dirs,
    is_for_exec_env,
    relocate,
)
from buildpacks.lifecycle.failure import ExitCode, LifecycleError

# Q: the launcher's own variables never reach the process, and neither do its folders.
_DROPPED = ("CNB_APP_DIR", "CNB_LAYERS_DIR", "CNB_PROCESS_TYPE", "CNB_PLATFORM_API", "CNB_DEPRECATION_MODE")
_NOT_ON_PATH = frozenset({"/cnb/process", "/cnb/lifecycle"})
DEFAULT_EXEC_ENV = "production"
# The layer of an image that holds launcher.py; no buildpack's id begins with an underscore.
LAUNCHER_LAYER, LAUNCHER_FILE = "_launcher/run", "launcher.py"


class Place(NamedTuple):
    """Where the parts of an image lie, and where its process will find them.

    packs        folders of each buildpack's layers, in build order, sorted within one
    moves        what becomes of folders: where they say they are, or lie now -> where the process sees them
    app, layers  as the process sees them
    has_profile  the application has a .profile
    python       what runs launcher.py there: Python 3.11 or newer
    """

    packs: Sequence[Sequence[str]]
    moves: Sequence[tuple[str, str]]
    app: str
    layers: str
    has_profile: bool
    python: str = "python3"


def resolve(
    layers_dir: Path,
    buildpacks: Sequence[str],
    process: Mapping[str, object],
    env: Mapping[str, str],
    *,
    user_args: Sequence[str] | None = None,
    python: str = "python3",
    exec_env: str = DEFAULT_EXEC_ENV,
) -> tuple[list[str], dict[str, str]]:
    """What to execute for a process of an image that lies in a folder here, and with which environment.

    layers_dir  <image>/layers; the application lies beside it in <image>/app
    buildpacks  ids in build order, as they stand in the image's config
    process     {"type", "command": [...], "args": [...], ...} from the image's config
    env         what the platform gives: at least a PATH
    user_args   replace the process' args, never its command; a shell process' are followed by them
    python      runs programs in exec.d
    exec_env    where it starts: a process that is made for others does not
    Raises      LifecycleError 82: launch-no-command, launch-no-process
    """
    app_dir = str(layers_dir.parent / "app")
    moves = ((IMAGE_LAYERS, str(layers_dir)), (IMAGE_APP, app_dir))
    place = Place(
        packs=[_layers(layers_dir / pack_id.replace("/", "_")) for pack_id in buildpacks],
        moves=moves,
        app=app_dir,
        layers=str(layers_dir),
        has_profile=os.path.isfile(os.path.join(app_dir, ".profile")),
        python=python,
    )
    moved = dict(process)
    for key in ("command", "args"):
        moved[key] = [relocate(word, moves) for word in _words(process.get(key))]
    moved["working-dir"] = working_dir(process, place)
    return start_of(place, moved, env, user_args=user_args, exec_env=exec_env)


def working_dir(process: Mapping[str, object], place: Place) -> str:
    """Where a process works: below the application, unless it names another folder."""
    value = process.get("working-dir")
    return os.path.join(place.app, relocate(value, place.moves) if isinstance(value, str) else "").rstrip("/") or "/"


def start_of(
    place: Place,
    process: Mapping[str, object],
    env: Mapping[str, str],
    *,
    user_args: Sequence[str] | None = None,
    exec_env: str = DEFAULT_EXEC_ENV,
) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a process, whose own words are true in its place already. Raises as resolve."""
    kind, listed = str(process.get("type", "")), _words(process.get("exec-env"))
    if not is_for_exec_env(listed, exec_env):
        raise LifecycleError(ExitCode.LAUNCH, "launch-no-process", exec_env=exec_env, types=[kind])
    folder = working_dir(process, place)
    if process.get("direct", True):
        argv = words_of(process, user_args)
    else:
        argv = _shell(place, process, kind, folder, user_args or ())
    programs = [relocate(path, place.moves) for path in _scripts(place, "exec.d", kind)]
    if programs:
        launcher = f"{place.layers}/{LAUNCHER_LAYER}/{LAUNCHER_FILE}"
        argv = [place.python, "-I", "-S", launcher, place.app, *programs, "--", *argv]
    return argv, env_of_layers(place.packs, kind, env, place.moves)


def env_of_layers(
    packs: Sequence[Sequence[str]], process_type: str, env: Mapping[str, str], moves: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """Per buildpack all layers' folders, then their env/, env.launch/, env.launch/<type>/.

    packs  folders of each buildpack's layers, in build order, sorted within one
    moves  what becomes of folders in the values that layers set: where they say they are -> where they will be
    """
    result = {name: value for name, value in env.items() if name not in _DROPPED}
    if "PATH" in result:
        result["PATH"] = os.pathsep.join(
            folder for folder in result["PATH"].split(os.pathsep) if folder not in _NOT_ON_PATH
        )
    for layers in packs:
        for layer in layers:
            add_root_dirs(result, layer, LAUNCH_DIRS)
        for layer in layers:
            for folder in _typed("env.launch", process_type, before=("env",)):
                add_env_dir(result, os.path.join(layer, folder))
    own = {name for name in result if result[name] != env.get(name)}
    return {name: relocate(value, moves) if name in own else value for name, value in result.items()}


def words_of(process: Mapping[str, object], user_args: Sequence[str] | None = None) -> list[str]:
    """Command and arguments of a direct process. Raises LifecycleError 82: launch-no-command."""
    args = list(user_args) if user_args is not None else _words(process.get("args"))
    return [*_command(process), *args]


def has_programs(layer: str) -> bool:
    """The layer has an exec.d: its image needs launcher.py."""
    return os.path.isdir(os.path.join(layer, "exec.d"))


def _command(process: Mapping[str, object]) -> list[str]:
    command = _words(process.get("command"))
    if not command:
        raise LifecycleError(ExitCode.LAUNCH, "launch-no-command", process=str(process.get("type", "")))
    return command


def _shell(place: Place, process: Mapping[str, object], kind: str, folder: str, user_args: Sequence[str]) -> list[str]:
    """One bash that sources the profile scripts in the application's folder and then becomes the command's bash.

    Q: with arguments every word is expanded by the shell, one by one; without, the command is a script.
    """
    command, args = " ".join(_command(process)), [*_words(process.get("args")), *user_args]
    profiles = [relocate(path, place.moves) for path in _scripts(place, "profile.d", kind)]
    if place.has_profile:
        profiles.append(f"{place.app}/.profile")
    lines = [f"cd {shlex.quote(place.app)}", *(f"source {shlex.quote(path)}" for path in profiles)]
    lines.append(f"cd {shlex.quote(folder)}")
    if args:
        tokens = " ".join(f'"$(eval echo \\"${{{number}}}\\")"' for number in range(len(args) + 1))
        lines.append(f"exec bash -c '{tokens}' \"${{@:1}}\"")
    else:
        lines.append('exec bash -c "$@"')
    return ["bash", "-c", "\n".join(lines), f"/cnb/process/{kind}", command, *args]


def _scripts(place: Place, folder: str, kind: str) -> Iterator[str]:
    """Files of <layer>/<folder>/ and <layer>/<folder>/<type>/, by buildpack, layer and name."""
    for layers in place.packs:
        for layer in layers:
            for name in _typed(folder, kind):
                yield from _files(os.path.join(layer, name))


def _typed(folder: str, kind: str, *, before: Sequence[str] = ()) -> list[str]:
    return [*before, folder, *([f"{folder}/{kind}"] if kind else [])]


def _files(folder: str) -> list[str]:
    try:
        return sorted(entry.path for entry in os.scandir(folder) if not entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _layers(pack_dir: Path) -> list[str]:
    try:
        return sorted(str(path) for path in pack_dir.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(word) for word in value] if isinstance(value, (list, tuple)) else []
