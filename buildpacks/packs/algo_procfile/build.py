"""A Procfile's lines become process types of the image."""

from __future__ import annotations

from buildpacks.packs.cnb import PASS, Context, step
from buildpacks.packs.procfile import make_command, read_procfile


def build(context: Context) -> int:
    """Write launch.toml."""
    processes = read_procfile(context.app) or {}
    step(f"Procfile: {', '.join(processes)}")
    tables = [
        {"type": name, "command": make_command(line), "default": name == "web"} for name, line in processes.items()
    ]
    context.write_toml("launch.toml", {"processes": tables})
    return PASS
