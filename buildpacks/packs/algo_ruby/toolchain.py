"""Which Ruby runs an app: the machine's or stack's own where the Gemfile allows it, else Debian's in a layer.

Rules of this file
1. Debian's Ruby has its folders compiled in; the variables RUBYLIB and GEM_PATH lead it to the layer's.
2. Programs written in Ruby start with `/usr/bin/ruby`; in the layer they ask the PATH for it.
"""

# ruff: noqa: PTH112, PTH113, PTH114 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from buildpacks.packs.algo_apt.build import arch_of
from buildpacks.packs.algo_ruby.gemfile import Gemfile, accepts
from buildpacks.packs.cnb import Context, PackFailed, warn
from buildpacks.packs.toolchains.debian_layer import Debian, kept_packages, make_layer
from buildpacks.packs.toolchains.running import find_program, is_where_it_runs, passed, version_of

LAYER = "ruby"
PACKAGES = ("ruby", "bundler")


class Ruby(NamedTuple):
    """A Ruby. layer: the folder of Debian's, '' for one that is here; env: what it needs to run; why: what chose it."""

    version: str
    layer: str
    env: dict[str, str]
    why: str


def find_ruby(context: Context, gemfile: Gemfile, debian: Debian, packages: Sequence[str] = ()) -> Ruby:
    """A Ruby that the Gemfile accepts, with Bundler.

    packages  of Debian, that its own Ruby is wanted with; with any, the one that is here does not do
    Raises    PackFailed: ruby-version, toolchain-missing
    """
    is_asked = "the Gemfile asks for " + ", ".join(gemfile.ruby) if gemfile.ruby else "the Gemfile asks for no version"
    is_debians = context.restored("gems").get("source") == "debian"  # gems of that Ruby, as packages beside it
    if not packages and not is_debians and is_where_it_runs(context.env):
        here = _ruby_here(context)
        if here and accepts(gemfile.ruby, here):
            return _checked(Ruby(_dotted(here), "", passed(context.env), f"{is_asked}; the build's own"), gemfile)
    wanted = sorted({*PACKAGES, *packages})
    kept = kept_packages(context, LAYER)
    if not packages and set(kept) >= set(PACKAGES):
        wanted = kept
    layer = make_layer(context, LAYER, wanted, debian, mend_programs)
    env = {**passed(context.env), **_variables(layer, context.env)}
    found = version_of([f"{layer}/usr/bin/ruby", "--version"], env)
    for name in ("RUBYLIB", "GEM_PATH"):
        context.write_env(LAYER, "env", f"{name}.override", env[name])
    context.write_env(LAYER, "env", "PATH.prepend", f"{layer}/usr/bin")  # before a Ruby of the base that does not fit
    if not accepts(gemfile.ruby, found):
        raise PackFailed("ruby-version", asked=", ".join(gemfile.ruby), found=_dotted(found))
    return _checked(Ruby(_dotted(found), layer, env, f"{is_asked}; from Debian"), gemfile)


def mend_programs(layer: str) -> None:
    """Let Ruby's programs in a layer find the Ruby beside them."""
    folder = f"{layer}/usr/bin"
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, "rb") as file:
            data = file.read()
        if re.match(rb"#!\s*/usr/bin/ruby[0-9.]*[ \t]*\n", data):
            with open(path, "wb") as file:
                file.write(b"#!/usr/bin/env ruby\n" + data.partition(b"\n")[2])


def _ruby_here(context: Context) -> tuple[int, ...]:
    ruby, bundle = (find_program(name, context.env) for name in ("ruby", "bundle"))
    return version_of([ruby, "--version"], passed(context.env)) if ruby is not None and bundle is not None else ()


def _variables(layer: str, env: Mapping[str, str]) -> dict[str, str]:
    """What leads Debian's Ruby to a layer. Source: the folders of `ruby -e 'puts $:, Gem.path'` on Debian 12."""
    arch = arch_of(layer)
    abi = next(name for name in sorted(os.listdir(f"{layer}/usr/lib/ruby")) if re.fullmatch(r"\d+\.\d+\.\d+", name))
    folders = {
        "PATH": ("usr/bin",),
        "LD_LIBRARY_PATH": (f"usr/lib/{arch}", f"lib/{arch}"),
        "RUBYLIB": (
            f"usr/lib/ruby/vendor_ruby/{abi}", f"usr/lib/{arch}/ruby/vendor_ruby/{abi}", "usr/lib/ruby/vendor_ruby",
            f"usr/lib/ruby/{abi}", f"usr/lib/{arch}/ruby/{abi}",
        ),
        "GEM_PATH": (
            f"usr/share/rubygems-integration/{abi}", "usr/share/rubygems-integration/all",
            f"usr/lib/{arch}/rubygems-integration/{abi}", f"usr/lib/ruby/gems/{abi}",
        ),
    }  # fmt: skip
    found = {}
    for name, places in folders.items():
        paths = [f"{layer}/{place}" for place in places if os.path.isdir(f"{layer}/{place}")]
        before = env.get(name, "") if name in ("PATH", "LD_LIBRARY_PATH") else ""
        found[name] = ":".join([*paths, *([before] if before else [])])
    return found


def _checked(ruby: Ruby, gemfile: Gemfile) -> Ruby:
    """Warn where .ruby-version says another one: Ruby's own tools take it as a wish, so does this."""
    wish = gemfile.ruby_file
    if wish and not gemfile.ruby and ruby.version.split(".")[:2] != wish.split(".")[:2]:
        warn(f".ruby-version says {wish}, and what is here is {ruby.version}")
    return ruby


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
