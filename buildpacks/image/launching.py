"""How a process of an image starts where its layers lie at the paths that they were made for: in a container.

Reads the layers' env files in the store; pure otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from buildpacks.image.store import APP_PATH, LAYERS_PATH, LayerStore
from buildpacks.lifecycle.failure import LifecycleError
from buildpacks.lifecycle.launch import Place, start_of
from buildpacks.order import BuildFailed, Json

IMAGE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Byte-code is in the layers already, and their folders are read-only; lines are not held back from the log.
IMAGE_ENV = {"LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def launch_of(store: LayerStore, doc: Mapping[str, Json]) -> dict[str, Json] | None:
    """How a container of the image starts its default process when nobody says anything else; None: it has none."""
    process = default_process(doc)
    if process is None:
        return None
    argv, env = command_of(store, doc, process, {"PATH": IMAGE_PATH, **IMAGE_ENV})
    found: dict[str, Json] = {"argv": [*argv], "env": {**env}, "cwd": folder_of(process)}
    args = process.get("args")
    if isinstance(args, list) and args and process.get("direct", True):
        # What a user adds to `docker run` takes the place of these, and of nothing else.
        found |= {"argv": [*argv[: -len(args)]], "args": args}
    return found


def command_of(
    store: LayerStore, doc: Mapping[str, Json], process: Mapping[str, Json], env: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a process inside the image.

    env     what the platform gives: at least a PATH
    Raises  BuildFailed('launch-failed') for what our launcher does not do, or a process without a command
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
        return start_of(place, process, env)
    except LifecycleError as error:
        raise BuildFailed("launch-failed", detail=str(error)) from error


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
