"""The gems of an app: from the repository's vendor/cache, from its registry, or as packages of Debian.

Rules of this file
1. Bundler decides what fits, from wherever the gems come. Nothing is taken in place of what a lock names.
2. Debian's packages are asked only where the registry does not answer, or the Gemfile names none.
3. A gem that has to be compiled gets Ruby's headers and, where the build has none, a compiler from Debian.
4. Gems that were installed stay until the Gemfile, its lock, vendor/cache or Ruby changes, or an upgrade is asked for.
"""

# ruff: noqa: PTH103, PTH112, PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from typing import NamedTuple

from buildpacks.packs.algo_python.install import size_of
from buildpacks.packs.algo_ruby.gemfile import Gemfile
from buildpacks.packs.algo_ruby.toolchain import Ruby, find_ruby
from buildpacks.packs.cnb import Context, PackFailed, detail, human_size, step, warn
from buildpacks.packs.toolchains.debian_layer import Debian, make_layer
from buildpacks.packs.toolchains.running import find_program, refuse_trusted, tool_failed, try_tool

LAYER, TOOLS = "gems", "tools"
_INPUTS = ("Gemfile", "Gemfile.lock", ".ruby-version")
_UNREACHABLE = re.compile(
    r"Could not (?:reach host|fetch specs|download)|Network error|Net::\w*Timeout|SocketError|Errno::E\w+UNREACH|"
    r"Errno::ECONN\w+|getaddrinfo|Retrying (?:fetcher|dependency)|Gem::RemoteFetcher|Bundler::HTTPError|"
    r"certificate verif"
)
_COMPILES = re.compile(r"Failed to build gem native extension|mkmf\.rb can't find header files")
_COMPILER = ("gcc", "g++", "make", "libc6-dev")
_SHOWN = 8


class Gems(NamedTuple):
    """What installing ended with. ruby: it may be another than at the start; source: registry, repository or debian."""

    ruby: Ruby
    source: str


def install_gems(context: Context, gemfile: Gemfile, ruby: Ruby, debian: Debian) -> Gems:
    """Write the layer `gems`, and Gemfile.lock into an app that has none.

    Raises  PackFailed: runs-code, gems-unreachable, gem-compiles, build-tool-failed, what find_ruby raises
    """
    layer, key = f"{context.layers}/{LAYER}", key_of(context.app)
    if is_kept(context, ruby.version):
        step("Gems: reused, Gemfile and its lock unchanged")
        gems = Gems(ruby, str(context.restored(LAYER)["source"]))
    else:
        refuse_trusted(context.env, "bundle install")
        shutil.rmtree(layer, ignore_errors=True)
        os.makedirs(layer)
        started_at = time.monotonic()
        gems = _install(context, gemfile, ruby, debian)
        if not gemfile.locked:
            warn("no Gemfile.lock: versions are those of today; bundle lock writes one, commit it")
            shutil.copyfile(f"{context.app}/Gemfile.lock", f"{layer}/Gemfile.lock")
        where = {"debian": "as packages of Debian", "repository": "from vendor/cache"}.get(
            gems.source, "from the registry"
        )
        seconds = time.monotonic() - started_at
        step(f"Gems: installed {where} ({human_size(size_of(layer))}, {seconds:.1f} s)")
    if os.path.isfile(f"{layer}/Gemfile.lock") and not gemfile.locked:
        shutil.copyfile(f"{layer}/Gemfile.lock", f"{context.app}/Gemfile.lock")
    _write_env(context, layer, gemfile, gems.source)
    context.write_layer(
        LAYER, ["launch", "build", "cache"], {"key": key, "ruby": gems.ruby.version, "source": gems.source}
    )
    return gems


def is_kept(context: Context, ruby_version: str = "") -> bool:
    """Whether the gems of the previous image are this app's: nothing of the repository has to run for them."""
    kept = context.restored(LAYER)
    is_same = kept.get("key") == key_of(context.app) and ruby_version in ("", kept.get("ruby"))
    return is_same and os.path.isdir(f"{context.layers}/{LAYER}") and context.env.get("ALGO_UPGRADE") != "1"


def key_of(app: str) -> str:
    """What the gems of an app depend on, but for Ruby."""
    facts: list[object] = []
    for name in _INPUTS:
        try:
            with open(f"{app}/{name}", "rb") as file:
                facts.append(file.read())
        except FileNotFoundError:
            facts.append(b"")
    cache = f"{app}/vendor/cache"
    if os.path.isdir(cache):
        # By content: a gem that was built again has the same name, and often the same size.
        facts.append([(name, _digest(f"{cache}/{name}")) for name in sorted(os.listdir(cache))])
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _digest(path: str) -> str:
    """Of a gem; '' for a folder, which is a checkout that has its commit in its name."""
    if os.path.isdir(path):
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _install(context: Context, gemfile: Gemfile, ruby: Ruby, debian: Debian) -> Gems:
    is_vendored = os.path.isdir(f"{context.app}/vendor/cache")
    if not is_vendored and not gemfile.sources:
        return _from_debian(context, gemfile, debian, "the Gemfile names no source")
    status, text = _bundle(context, gemfile, ruby, is_vendored=is_vendored)
    if status != 0 and _COMPILES.search(text):
        ruby, tools = _with_compiler(context, gemfile, ruby, debian, text)
        status, text = _bundle(context, gemfile, ruby, is_vendored=is_vendored, tools=tools)
    if status == 0:
        return Gems(ruby, "repository" if is_vendored else "registry")
    if not is_vendored and _UNREACHABLE.search(text):
        return _from_debian(context, gemfile, debian, "the gem registry does not answer")
    raise tool_failed(status, text, "bundle install")


def _bundle(context: Context, gemfile: Gemfile, ruby: Ruby, *, is_vendored: bool, tools: str = "") -> tuple[int, str]:
    """Install into the layer."""
    env = {**_env(context, ruby), "BUNDLE_PATH": f"{context.layers}/{LAYER}"}
    if gemfile.locked:
        env["BUNDLE_DEPLOYMENT"] = "true"
    if tools:
        env["PATH"] = f"{env['PATH']}:{tools}/usr/bin"
        for name, folder in (("LIBRARY_PATH", "lib"), ("LD_LIBRARY_PATH", "lib"), ("CPATH", "include")):
            places = [f"{tools}/usr/{folder}/{ending}" for ending in _endings(f"{tools}/usr/{folder}")]
            env[name] = ":".join([*places, *([env[name]] if env.get(name) else [])])
    if context.env.get("BUNDLE_MIRROR__ALL"):
        env["BUNDLE_MIRROR__ALL"] = context.env["BUNDLE_MIRROR__ALL"]
    words = ["--local"] if is_vendored else []
    command = [_program(context, ruby, "bundle"), "install", *words, "--jobs=2"]
    return try_tool(command, context, env, shown=" ".join(["bundle install", *words]))


def _endings(folder: str) -> list[str]:
    arch = [
        name for name in (sorted(os.listdir(folder)) if os.path.isdir(folder) else []) if name.endswith("-linux-gnu")
    ]
    return ["", *arch]


def _env(context: Context, ruby: Ruby) -> dict[str, str]:
    """Bundler's environment. Settings in files of the app do not hold: they name folders of another machine."""
    settings = f"{context.env.get('TMPDIR', context.layers)}/bundle"
    os.makedirs(settings, exist_ok=True)
    return {
        **ruby.env, "BUNDLE_APP_CONFIG": settings, "BUNDLE_USER_HOME": settings, "BUNDLE_WITHOUT": "development:test",
        "BUNDLE_SILENCE_ROOT_WARNING": "true", "BUNDLE_RETRY": "1", "BUNDLE_TIMEOUT": "15",
        "BUNDLE_DISABLE_VERSION_CHECK": "true", "BUNDLE_GEMFILE": f"{context.app}/Gemfile",
    }  # fmt: skip


def _from_debian(context: Context, gemfile: Gemfile, debian: Debian, why: str) -> Gems:
    """Ruby with Debian's packages of the gems, as far as Bundler finds them to fit."""
    step(f"Gems: {why}; packages of Debian in their place")
    # Bundler wants to know every gem of a Gemfile, those of groups that are left out, too.
    names = {gem: _debian_names(gem) for gem in (*gemfile.gems, *gemfile.aside)}
    has = debian.candidates(sorted({name for found in names.values() for name in found})) if names else {}
    chosen = {gem: next((name for name in found if name in has), "") for gem, found in names.items()}
    ruby = find_ruby(context, gemfile, debian, sorted(name for name in chosen.values() if name))
    env = {**_env(context, ruby), **({"BUNDLE_FROZEN": "true"} if gemfile.locked else {})}
    status, text = try_tool(
        [_program(context, ruby, "bundle"), "install", "--local"], context, env,
        shown="bundle install --local",
    )  # fmt: skip
    if status == 0:
        return Gems(ruby, "debian")
    lacking = [gem for gem, name in chosen.items() if not name]
    said = [line.strip() for line in text.splitlines() if line.strip()]
    if not lacking and not re.search(r"Could not find|could not find|locally installed|in any of the sources", text):
        raise tool_failed(status, text, "bundle install --local")
    about = f"it has none for {', '.join(lacking[:_SHOWN])}" if lacking else " ".join(said)[:400]
    raise PackFailed("gems-unreachable", why=why, about=about)


def _debian_names(gem: str) -> list[str]:
    """How Debian calls the package of a gem: `ruby-` before the name, or for programs the name alone."""
    name = gem.lower().replace("_", "-")
    return [f"ruby-{name}", name]


def _with_compiler(
    context: Context, gemfile: Gemfile, ruby: Ruby, debian: Debian, text: str
) -> tuple[Ruby, str]:  # fmt: skip
    """Debian's Ruby with its headers, and the folder of a compiler, '' where the build has its own."""
    found = re.search(r"An error occurred while installing (\S+)", text)
    gem = found[1] if found is not None else "a gem"
    if not ruby.layer:
        raise PackFailed("gem-compiles", gem=gem, output=" / ".join(text.splitlines()[-6:])[:600])
    detail(f"{gem} has to be compiled: Ruby's headers and a compiler")
    if all(find_program(name, context.env) is not None for name in ("gcc", "make")):
        return find_ruby(context, gemfile, debian, ("ruby-dev",)), ""
    ruby = find_ruby(context, gemfile, debian, ("ruby-dev",))
    tools = make_layer(context, TOOLS, _COMPILER, debian, lambda _: None, types=("cache",))
    return ruby, tools


def _program(context: Context, ruby: Ruby, name: str) -> str:
    return f"{ruby.layer}/usr/bin/{name}" if ruby.layer else str(find_program(name, context.env))


def _write_env(context: Context, layer: str, gemfile: Gemfile, source: str) -> None:
    """What `bundle exec`, and programs of gems without it, need when the app runs."""
    settings = {
        "BUNDLE_WITHOUT": "development:test", "BUNDLE_APP_CONFIG": f"{layer}/settings",
        "BUNDLE_SILENCE_ROOT_WARNING": "true", "BUNDLE_DISABLE_VERSION_CHECK": "true",
    }  # fmt: skip
    if gemfile.locked:
        settings["BUNDLE_FROZEN"] = "true"
    if source != "debian":
        settings["BUNDLE_PATH"] = layer
        parent = f"{layer}/ruby"
        for abi in sorted(os.listdir(parent)) if os.path.isdir(parent) else ():
            for name, path in (("PATH", f"{parent}/{abi}/bin"), ("GEM_PATH", f"{parent}/{abi}")):
                context.write_env(LAYER, "env.launch", f"{name}.prepend", path)
                context.write_env(LAYER, "env.launch", f"{name}.delim", ":")
    for name, value in settings.items():
        context.write_env(LAYER, "env.launch", f"{name}.override", value)
