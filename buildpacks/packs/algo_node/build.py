"""A Node.js app's packages beside its code, its build script, and the process that serves it.

Rules of this file
1. An app without packages and without a build runs nothing here, so the trusted attempt makes it.
2. node_modules stays in the application, where Node looks for it, as a slice: the same packages are the same layer.
3. Packages are installed anew when package.json, the lock, .npmrc or Node changed; unlocked versions stay until then.
"""

# ruff: noqa: PTH112, PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import hashlib
import os
import shutil
import time

from buildpacks.packs.algo_node.package import Package, read_package
from buildpacks.packs.algo_node.toolchain import Node, find_node, node_env
from buildpacks.packs.cnb import PASS, Context, PackFailed, detail, human_size, step, warn
from buildpacks.packs.toolchains.running import refuse_trusted, run_tool
from buildpacks.packs.toolchains.starts import read_start, start_process

_INPUTS = ("package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc")
_OTHERS = {"yarn.lock": "yarn", "pnpm-lock.yaml": "pnpm"}


def build(context: Context) -> int:
    """Write node_modules and launch.toml.

    Raises  PackFailed: node-manager, toolchain-missing, package-json-syntax; what find_node and run_tool raise
    """
    package = read_package(context.app)
    runs = package.has_packages or package.builds or package.installs
    if runs:
        refuse_trusted(context.env, "npm")
    start = read_start(context, "node")
    node = find_node(context, package.engine)
    step(f"Node.js {node.version} ({node.why})")
    if start is not None:
        told = start.command[-1] if start.command[0] == "bash" else " ".join(start.command)
        detail(f"Web app: {start.why}; started by: {told}")
    if runs:
        _refuse_other_locks(context.app, package)
        if not node.npm:
            raise PackFailed(
                "toolchain-missing",
                language="npm",
                wanted="npm",
                why=f"{node.path} has no npm beside it",
                package="npm",
            )
        _packages(context, package, node)
    context.write_env("settings", "env.launch", "NODE_ENV.default", "production")
    context.write_layer("settings", ["launch"], {})
    start_process(context, start, slices=["node_modules"] if os.path.isdir(f"{context.app}/node_modules") else [])
    return PASS


def _refuse_other_locks(app: str, package: Package) -> None:
    for name, manager in _OTHERS.items():
        if not package.is_locked and os.path.isfile(f"{app}/{name}"):
            raise PackFailed("node-manager", file=name, manager=manager)


def _packages(context: Context, package: Package, node: Node) -> None:
    env, key = node_env(context, node), _key(context.app, node)
    modules, kept = f"{context.app}/node_modules", f"{context.layers}/modules"
    # Scripts around an installation may read any file of the app: what they made is not known to be the same.
    is_asked_anew = context.env.get("ALGO_UPGRADE") == "1" and not package.is_locked
    is_same = context.restored("modules").get("key") == key and os.path.isdir(kept)
    if is_same and not package.installs and not is_asked_anew:
        shutil.rmtree(modules, ignore_errors=True)
        shutil.copytree(kept, modules, symlinks=True)
        step("Packages: reused, package.json and its lock unchanged")
    else:
        _install(context, package, node, env)
        shutil.rmtree(kept, ignore_errors=True)
        if os.path.isdir(modules):
            shutil.copytree(modules, kept, symlinks=True)
    if os.path.isdir(kept):
        context.write_layer("modules", ["cache"], {"key": key})
    context.write_layer("npm-cache", ["cache"], {})
    if package.builds:
        run_tool([*node.npm, "run", "build"], context, env, shown="npm run build")
        run_tool([*node.npm, "prune", "--omit=dev", "--ignore-scripts"], context, env, shown="npm prune --omit=dev")


def _install(context: Context, package: Package, node: Node, env: dict[str, str]) -> None:
    started_at = time.monotonic()
    words = ["ci"] if package.is_locked else ["install", "--no-save"]
    if not package.is_locked:
        warn("no package-lock.json: versions are those of today; npm install writes one, commit it")
        shutil.rmtree(f"{context.app}/node_modules", ignore_errors=True)
    if not package.builds:
        words.append("--omit=dev")
    run_tool([*node.npm, *words, "--loglevel=error"], context, env, shown=f"npm {' '.join(words)}")
    count, size_bytes = _measure(f"{context.app}/node_modules")
    seconds = time.monotonic() - started_at
    step(f"Packages: installed {count} packages ({human_size(size_bytes)}, {seconds:.1f} s)")


def _measure(folder: str) -> tuple[int, int]:
    count = size_bytes = 0
    for here, _, files in os.walk(folder):
        size_bytes += sum(os.lstat(f"{here}/{name}").st_size for name in files)
        parent = os.path.basename(os.path.dirname(here))  # noqa: PTH119, PTH120 -- no pathlib in buildpacks
        count += "package.json" in files and (parent == "node_modules" or parent.startswith("@"))
    return count, size_bytes


def _key(app: str, node: Node) -> str:
    facts: list[bytes] = [node.version.encode()]
    for name in _INPUTS:
        try:
            with open(f"{app}/{name}", "rb") as file:
                facts.append(file.read())
        except FileNotFoundError:
            facts.append(b"")
    return hashlib.sha256(repr(facts).encode()).hexdigest()
