"""A Ruby app's interpreter, its gems, and the process that serves it."""

from __future__ import annotations

from buildpacks.packs.algo_ruby.gemfile import read_gemfile
from buildpacks.packs.algo_ruby.gems import install_gems, is_kept
from buildpacks.packs.algo_ruby.toolchain import find_ruby
from buildpacks.packs.cnb import PASS, Context, detail, step
from buildpacks.packs.toolchains.debian_layer import Debian
from buildpacks.packs.toolchains.running import refuse_trusted
from buildpacks.packs.toolchains.starts import read_start, start_process

# What Ruby's frameworks look for; an owner's own settings win. Source: Rack and Rails guides, "Configuring".
_SETTINGS = {
    "RACK_ENV": "production", "RAILS_ENV": "production", "APP_ENV": "production", "RAILS_LOG_TO_STDOUT": "enabled",
    "RAILS_SERVE_STATIC_FILES": "enabled", "LANG": "C.UTF-8",
}  # fmt: skip


def build(context: Context) -> int:
    """Write the layers `ruby` and `gems`, and launch.toml. Raises PackFailed: what find_ruby and install_gems raise."""
    start, gemfile = read_start(context, "ruby"), read_gemfile(context.app)
    if not is_kept(context):
        refuse_trusted(context.env, "bundle install")
    debian = Debian(context, "Ruby", "bundler")  # what a stack is to have: it depends on Ruby
    ruby = find_ruby(context, gemfile, debian)
    step(f"Ruby {ruby.version} ({ruby.why})")
    if start is not None:
        detail(f"Web app: {start.why}; started by: {start.command[-1]}")
    install_gems(context, gemfile, ruby, debian)
    debian.close()
    for name, value in _SETTINGS.items():
        context.write_env("settings", "env.launch", f"{name}.default", value)
    context.write_layer("settings", ["launch"], {})
    start_process(context, start)
    return PASS
