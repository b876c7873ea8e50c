"""What every target tells an instance in its environment, and who has the last word.  Pure.

Who says what, later ones win:
  1. the platform's ground: PATH, LANG, and that Python neither writes bytecode nor holds lines back
  2. the app's configuration, without what is_reserved() names
  3. the image's layers, by the rules of the buildpack specification (prepend, default, override)
  4. the app's configuration once more, except search paths: the owner has the last word, but a PYTHONPATH of
     theirs comes after the layers' and cannot hide the runtime
  5. the platform's own: where to listen, whom to tell, which folders are the instance's
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from gitserver.errors import Json, Problem
from gitserver.reserved import is_reserved
from gitserver.settings import Settings
from gitserver.targets.contract import Spec

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
GROUND: Mapping[str, str] = {
    "PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
}  # fmt: skip
SEARCH_PATHS = frozenset({"PATH", "LD_LIBRARY_PATH", "PYTHONPATH"})
SHIM = "_gitserver_runtime"
FIRST_UID = 20000  # plus the app's id: users that no distribution gives out
_LAST_UID = 59999  # above are container users' and systemd's own

Launch = Callable[[Mapping[str, str]], tuple[list[str], dict[str, str]]]


def make_environment(
    spec: Spec, launch: Launch, own: Mapping[str, str], *, ground: Mapping[str, str] = GROUND
) -> tuple[list[str], dict[str, str]]:
    """Argument list and environment of an instance, by the five steps above.

    launch  from the environment of steps 1 and 2 to the command, and the environment after step 3
    own     step 5
    """
    config = {name: value for name, value in spec.env.items() if not is_reserved(name)}
    argv, env = launch({**ground, **config})
    last_word = {name: value for name, value in config.items() if name not in SEARCH_PATHS}
    return argv, {**env, **last_word, **own}


def about(settings: Settings, spec: Spec) -> dict[str, str]:
    """What an instance is told of itself, wherever it runs."""
    return {
        "ALGO_MODEL_NAME": spec.app_name.app,
        "ALGO_OWNER": spec.app_name.owner,
        "ALGO_MODEL_VERSION": spec.label,
        "ALGO_MAX_BODY_BYTES": str(settings.max_body_bytes),
        "ALGO_READY_TIMEOUT": str(spec.ready_timeout_s),
    }


def app_uid(app_id: int) -> int:
    """The user of an app's processes on a server that may choose users. Raises Problem('too-many-apps')."""
    if not 0 <= app_id <= _LAST_UID - FIRST_UID:
        raise Problem("too-many-apps", limit=_LAST_UID - FIRST_UID)
    return FIRST_UID + app_id


def server_mark(state: Path) -> str:
    """Twelve digits that name the server on this state folder: no other on this machine has it."""
    return hashlib.sha256(bytes(state)).hexdigest()[:12]


def web_process(image: Mapping[str, Json]) -> Mapping[str, Json]:
    """The process that answers calls: type web, else the default one. Raises Problem('no-web-process')."""
    listed = image.get("processes")
    processes = [process for process in listed if isinstance(process, dict)] if isinstance(listed, list) else []
    for process in processes:
        if process.get("type") == "web":
            return process
    for process in processes:
        if process.get("default"):
            return process
    raise Problem("no-web-process", found=[str(process.get("type")) for process in processes])


def find_process(image: Mapping[str, Json], kind: str) -> Mapping[str, Json] | None:
    """The image's process of a type; None when it has none."""
    listed = image.get("processes")
    processes = [process for process in listed if isinstance(process, dict)] if isinstance(listed, list) else []
    return next((process for process in processes if process.get("type") == kind), None)


def process_of(spec: Spec) -> Mapping[str, Json]:
    """What an instance runs. Raises Problem('no-web-process'); ValueError for a type that the image has not."""
    if not spec.process:
        return web_process(spec.image)
    named = find_process(spec.image, spec.process)
    if named is None:  # never the web process in its place: that would not end
        raise ValueError(f"{spec.instance} has no process of type {spec.process}")
    return named


def runs_shim(spec: Spec) -> bool:
    """Whether the instance is our runtime."""
    return not spec.process and is_shim(spec.image)


def is_shim(image: Mapping[str, Json]) -> bool:
    """Whether the web process is our runtime, which says when it is ready and why it is not."""
    command = web_process(image).get("command")
    return isinstance(command, list) and SHIM in command
