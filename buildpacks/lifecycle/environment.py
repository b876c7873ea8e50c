"""Environment rules of buildpacks: what a layer's folders and files do to a process.  Reads disk, writes nothing.

Values are text with surrogate escapes, so that any byte survives; nothing is trimmed.

Source  buildpacks/spec buildpack.md 0.12, "Environment"; contracts 1.5 and 1.8
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH112

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, MutableMapping

# Q: an allow-list, not the parent's environment.
INHERITED = (
    "CNB_STACK_ID", "HOSTNAME", "HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy", "PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH",
)  # fmt: skip
BUILD_DIRS = (
    ("bin", "PATH"), ("lib", "LD_LIBRARY_PATH"), ("lib", "LIBRARY_PATH"), ("include", "CPATH"),
    ("pkgconfig", "PKG_CONFIG_PATH"),
)  # fmt: skip
LAUNCH_DIRS = (("bin", "PATH"), ("lib", "LD_LIBRARY_PATH"))
_PATH_NAMES = frozenset(name for _, name in BUILD_DIRS)
MAX_VALUE_BYTES = 1 << 20
# Where an image says that its folders lie. Inside a container they do; the process target puts its own in place.
IMAGE_LAYERS, IMAGE_APP = "/layers", "/workspace"


def add_root_dirs(env: MutableMapping[str, str], layer: str, rules: Iterable[tuple[str, str]]) -> None:
    """Prepend a layer's bin, lib, ... to the path variables they stand for."""
    for folder, name in rules:
        path = os.path.join(layer, folder)
        if os.path.isdir(path):
            old = env.get(name, "")
            env[name] = f"{path}{os.pathsep}{old}" if old else path


def add_env_dir(env: MutableMapping[str, str], folder: str, *, no_suffix: str = "override") -> None:
    """Apply the files of an env, env.build or env.launch folder.

    NAME.append, .prepend, .override, .default; a name without suffix means no_suffix; .delim holds the delimiter of
    append and prepend, which is empty when there is none in this same folder. Other suffixes and folders are ignored.
    """
    files = read_env_dir(folder)
    for file_name in sorted(files):
        name, _, suffix = file_name.partition(".")
        if not name:
            continue
        value, delim = files[file_name], files.get(f"{name}.delim", "")
        match suffix or no_suffix:
            case "override":
                env[name] = value
            case "default":
                env.setdefault(name, value)
            case "append":
                env[name] = f"{env[name]}{delim}{value}" if env.get(name) else value
            case "prepend":
                env[name] = f"{value}{delim}{env[name]}" if env.get(name) else value
            case _:
                pass  # .delim is read with its variable; unknown suffixes are ignored by specification


def read_env_dir(folder: str) -> dict[str, str]:
    """File name -> value, at most 1 MiB each; a folder that is not there is empty."""
    found = {}
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    for entry in entries:
        if entry.is_file():
            with open(entry.path, "rb") as file:
                found[entry.name] = os.fsdecode(file.read(MAX_VALUE_BYTES))
    return found


def make_build_env(
    base: Mapping[str, str], layers: Iterable[str], *, platform: str | None, build_config: str | None
) -> dict[str, str]:
    """The environment of a bin/detect or bin/build.

    base          the platform's values; only INHERITED names pass
    layers        folders of all build=true layers, earlier buildpacks first, alphabetical within one
    platform      <platform>: its env/ overrides, path variables are prepended; None for clear-env = true
    build_config  the operator's folder: its env/ is applied last, a bare name is a default
    """
    env = {name: base[name] for name in INHERITED if name in base}
    # Q: the reference lifecycle interleaves folders and env files per layer, so a later layer's bin wins.
    for layer in layers:
        add_root_dirs(env, layer, BUILD_DIRS)
        add_env_dir(env, os.path.join(layer, "env"))
        add_env_dir(env, os.path.join(layer, "env.build"))
    if platform is not None:
        for name, value in sorted(read_env_dir(os.path.join(platform, "env")).items()):
            old = env.get(name, "")
            env[name] = f"{value}{os.pathsep}{old}" if name in _PATH_NAMES and old else value
    if build_config is not None:
        add_env_dir(env, os.path.join(build_config, "env"), no_suffix="default")
    return env


def is_for_exec_env(listed: Collection[str], exec_env: str) -> bool:
    """A buildpack or process that lists these execution environments takes part in this one. None listed: in any."""
    return not listed or "*" in listed or exec_env in listed


def relocate(text: str, moves: Iterable[tuple[str, str]]) -> str:
    """Replace whole leading path components: (`/layers`, `/x`) turns `/layers/a:/layers2` into `/x/a:/layers2`.

    Why  an image must not know where it was built, or two builds of one commit would differ
    """
    for old, new in moves:
        text = re.sub(rf"(?<![\w./-]){re.escape(old)}(?=[/:;,\s\"']|$)", lambda _, new=new: new, text)  # type: ignore[misc]  # a default argument binds the loop's value
    return text
