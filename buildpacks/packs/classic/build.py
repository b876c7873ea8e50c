"""A classic buildpack as one of the specification: detect, compile, release, in the layers and files that it defines.

    cache     CACHE_DIR, kept from build to build of one app
    exports   what its `export` changes, for the buildpacks behind it
    profile   its .profile.d scripts, DYNO, and HOME, which is the application's folder

Everything that compile leaves in the application ships with it.
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH103, PTH112, PTH113, PTH114, PTH119

from __future__ import annotations

import os
import re
import shutil

from buildpacks.packs.classic.release import merge_types, parse_release
from buildpacks.packs.classic.scripts import SLASH_APP, Scripts, has_slash_app
from buildpacks.packs.cnb import PASS, Context, PackFailed, detail, step
from buildpacks.packs.procfile import read_procfile

TYPE_CHECKING = False  # typing takes longer to import than a script takes
if TYPE_CHECKING:
    from collections.abc import Mapping

# Set for the classic buildpacks behind the first: what lies in .profile.d before theirs is told already.
_FIRST_IS_DONE = "ALGO_CLASSIC_BEFORE"
_MAX_SHEBANG = 512


def build(context: Context) -> int:
    """Run it. Raises PackFailed: classic-detect-failed, classic-compile-failed, classic-export-failed, -release-bad."""
    cache = f"{context.layers}/cache"
    os.makedirs(cache, exist_ok=True)
    scripts = Scripts(context, cache)
    is_first = _FIRST_IS_DONE not in context.env
    before = {} if is_first else _profile_scripts(context.app)
    if is_first and not has_slash_app():
        detail(f"{SLASH_APP} cannot be written in this sandbox: a buildpack that installs there will fail")
    try:
        _detect(scripts)
        _compile(scripts)
    finally:
        _report(scripts)
    _mend_shebangs(context.app)
    os.makedirs(cache, exist_ok=True)  # compile may have removed what it need not keep
    context.write_layer("cache", ["cache"], {})
    _write_exports(context, scripts)
    released = _release(scripts)
    types = merge_types(released["default_process_types"], read_procfile(context.app) or {})
    _write_profile(context, before, types, released["config_vars"])
    processes = [{"type": name, "command": line, "default": name == "web"} for name, line in types.items()]
    context.write_toml("launch.toml", {"processes": processes})
    return PASS


def _detect(scripts: Scripts) -> None:
    status, name = scripts.read("detect", scripts.app) if scripts.has("detect") else (1, "")
    if status != 0:
        raise PackFailed("classic-detect-failed", buildpack=scripts.name, output=name.strip()[-500:] or "nothing")
    step(f"{name.strip().splitlines()[0] if name.strip() else scripts.name} app detected")


def _compile(scripts: Scripts) -> None:
    status = scripts.run("compile", scripts.app, scripts.cache, scripts.env_dir)
    if status != 0:
        raise PackFailed("classic-compile-failed", buildpack=scripts.name, status=status)


def _report(scripts: Scripts) -> None:
    """What it has to say about itself, also behind a failure; a report that fails is none."""
    if not scripts.has("report"):
        return
    status, text = scripts.read("report", scripts.app, scripts.cache, scripts.env_dir)
    for line in text.splitlines()[:50] if status == 0 else ():
        detail(f"{scripts.name}: {line[:200]}")


def _release(scripts: Scripts) -> dict[str, dict[str, str]]:
    if not scripts.has("release"):
        return parse_release("", scripts.name)
    status, text = scripts.read("release", scripts.app)
    if status != 0:
        raise PackFailed("classic-release-bad", buildpack=scripts.name, line=f"it ended with status {status}")
    return parse_release(text, scripts.name)


def _write_exports(context: Context, scripts: Scripts) -> None:
    context.write_env("exports", "env.build", f"{_FIRST_IS_DONE}.override", "1")
    for name, value in sorted(scripts.exported().items()):
        context.write_env("exports", "env.build", f"{name}.override", value)
    context.write_layer("exports", ["build"], {})


def _write_profile(
    context: Context, before: Mapping[str, bytes], types: Mapping[str, str], config_vars: Mapping[str, str]
) -> None:
    """The launch layer. Scripts that an earlier buildpack left are in its layer, unless this one changed them."""
    context.write_env("profile", "profile.d", "000-home.sh", 'export HOME="$(pwd)"\n')
    for name, data in sorted(_profile_scripts(context.app).items()):
        if before.get(name) != data:
            with open(f"{context.layers}/profile/profile.d/{name}", "wb") as file:
                file.write(data)
    for kind in types:
        context.write_env("profile", f"env.launch/{kind}", "DYNO.default", f"{kind}.1")
    for name, value in config_vars.items():
        context.write_env("profile", "env.launch", f"{name}.default", value)
    context.write_layer("profile", ["launch"], {})


def _profile_scripts(app: str) -> dict[str, bytes]:
    folder = f"{app}/.profile.d"
    found = {}
    for entry in os.scandir(folder) if os.path.isdir(folder) else ():
        if entry.name.endswith(".sh") and entry.is_file():
            with open(entry.path, "rb") as file:
                found[entry.name] = file.read()
    return found


def _mend_shebangs(app: str) -> None:
    """Programs that name an interpreter by where it was built are started by its name: the image puts it on PATH.

    Why  classic buildpacks install below /app, and this image's application lies elsewhere
    """
    wanted = re.compile(rb"#! *(?:" + b"|".join(re.escape(os.fsencode(p)) for p in (SLASH_APP, app)) + rb")/(\S+)(.*)")
    for here, _, files in os.walk(app):
        for name in files:
            path = os.path.join(here, name)
            if os.path.islink(path) or not os.access(path, os.X_OK) or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                head = file.readline(_MAX_SHEBANG)
            match = wanted.fullmatch(head.rstrip(b"\r\n"))
            if match is not None:
                _replace_first_line(path, len(head), b"#!/usr/bin/env " + os.path.basename(match[1]) + b"\n")


def _replace_first_line(path: str, length: int, line: bytes) -> None:
    draft = f"{path}.algo-new"
    with open(path, "rb") as old, open(draft, "wb") as new:
        old.seek(length)
        new.write(line)
        shutil.copyfileobj(old, new)
    shutil.copymode(path, draft)
    os.replace(draft, path)  # noqa: PTH105 -- no pathlib in buildpacks
