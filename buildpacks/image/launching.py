"""How a process of an image starts where its layers lie at the paths that they were made for: in a container.

Reads the layers' env files in the store; pure otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from buildpacks.image.store import APP_PATH, LAYERS_PATH, LayerStore
from buildpacks.lifecycle.failure import LifecycleError
from buildpacks.lifecycle.launch import DEFAULT_EXEC_ENV, Place, start_of
from buildpacks.order import BuildFailed, Json

IMAGE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Byte-code is in the layers already, and their folders are read-only; lines are not held back from the log.
IMAGE_ENV = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def launch_of(store: LayerStore, doc: Mapping[str, Json]) -> dict[str, Json] | None:
    """How a container of the image starts its default process when nobody says anything else; None: nothing starts.

    Of an image whose default is not its only process, `types` says how each starts: {type: {"argv", "args" where it
    has any, "cwd", "env" and "without" by which its environment differs from the default's}}.
    """
    processes = [process for process in _list(doc, "processes") if isinstance(process, dict) and process.get("command")]
    process = default_process(doc)
    found: dict[str, Json] = {"argv": [], "env": {"PATH": IMAGE_PATH, **IMAGE_ENV}, "cwd": f"/{APP_PATH}"}
    if process is not None:
        found = _start_of(store, doc, process)
    if len(processes) > (process is not None):
        found["types"] = {str(other["type"]): _differing(_start_of(store, doc, other), found) for other in processes}
    return found if process is not None or processes else None


def _start_of(store: LayerStore, doc: Mapping[str, Json], process: Mapping[str, Json]) -> dict[str, Json]:
    argv, env = command_of(store, doc, process, {"PATH": IMAGE_PATH, **IMAGE_ENV}, exec_env=exec_env_of(doc))
    found: dict[str, Json] = {"argv": [*argv], "env": {**env}, "cwd": folder_of(process)}
    args = process.get("args")
    if isinstance(args, list) and args and process.get("direct", True):
        # What a user adds to `docker run` takes the place of these, and of nothing else.
        found |= {"argv": [*argv[: -len(args)]], "args": args}
    return found


def _differing(start: dict[str, Json], default: Mapping[str, Json]) -> dict[str, Json]:
    """The start with what its environment has otherwise than the default's, which a container has anyway."""
    env, given = start["env"], default["env"]
    assert isinstance(env, dict)
    assert isinstance(given, dict)
    without: list[Json] = [name for name in sorted(given) if name not in env]
    changed: dict[str, Json] = {name: value for name, value in env.items() if given.get(name) != value}
    return {**start, "env": changed, **({"without": without} if without else {})}


def command_of(
    store: LayerStore,
    doc: Mapping[str, Json],
    process: Mapping[str, Json],
    env: Mapping[str, str],
    *,
    exec_env: str = DEFAULT_EXEC_ENV,
) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a process inside the image.

    env       what the platform gives: at least a PATH
    exec_env  where it starts
    Raises    BuildFailed('launch-failed') for a process without a command, or made for other environments than this
    """
    packs: dict[str, list[tuple[str, str]]] = {
        str(pack["id"]).replace("/", "_"): [] for pack in _list(doc, "buildpacks") if isinstance(pack, dict)
    }
    moves, has_profile = [], False
    for layer in _list(doc, "layers"):
        if not isinstance(layer, dict):
            continue
        host_path = store.layer_path(str(layer["diff_id"]))
        if layer.get("kind") != "layer":
            has_profile |= (host_path / ".profile").is_file()
            continue
        pack, _, name = str(layer["path"]).partition("/")
        if pack in packs:  # and not the launcher's own layer, or the one of SBOMs
            packs[pack].append((name, str(host_path)))
            moves.append((str(host_path), f"/{LAYERS_PATH}/{layer['path']}"))
    python = doc.get("python")
    place = Place(
        packs=[[host_path for _, host_path in sorted(layers)] for layers in packs.values()],
        moves=moves,
        app=f"/{APP_PATH}",
        layers=f"/{LAYERS_PATH}",
        has_profile=has_profile,
        python=str(python["path"]) if isinstance(python, dict) else "python3",
    )
    try:
        return start_of(place, process, env, exec_env=exec_env)
    except LifecycleError as error:
        raise BuildFailed("launch-failed", detail=str(error)) from error


def exec_env_of(doc: Mapping[str, Json]) -> str:
    """The execution environment that an image was built for."""
    lifecycle = doc.get("lifecycle")
    found = lifecycle.get("exec-env") if isinstance(lifecycle, dict) else None
    return found if isinstance(found, str) else DEFAULT_EXEC_ENV


def folder_of(process: Mapping[str, Json]) -> str:
    """A process's working directory in the image: below the application, unless it names another place."""
    value = process.get("working-dir")
    return str(PurePosixPath(f"/{APP_PATH}") / (value if isinstance(value, str) else ""))


def default_process(doc: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """The process that answers calls: type web, else the default one."""
    processes = [process for process in _list(doc, "processes") if isinstance(process, dict)]
    web = next((process for process in processes if process.get("type") == "web"), None)
    return web or next((process for process in processes if process.get("default")), None)


def _list(doc: Mapping[str, Json], name: str) -> list[Json]:
    value = doc.get(name)
    return value if isinstance(value, list) else []
