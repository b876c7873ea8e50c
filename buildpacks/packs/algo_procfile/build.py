"""A Procfile's lines, or the app that was found without one, become process types of the image."""

from __future__ import annotations

import json

from buildpacks.packs.cnb import PASS, Context, detail, step, warn
from buildpacks.packs.procfile import make_command, read_procfile


def build(context: Context) -> int:
    """Write launch.toml."""
    processes = read_procfile(context.app) or {}
    tables: list[dict[str, object]] = [
        {"type": name, "command": make_command(line), "default": name == "web"} for name, line in processes.items()
    ]
    if processes:
        step(f"Procfile: {', '.join(processes)}")
    web = next((json.loads(str(want["web_app"])) for want in context.wants("web") if "web_app" in want), None)
    if web is not None:
        step(f"Web app: {web['why']} ({web['framework']}, no web: line in a Procfile)")
        detail(f"Started by: {web['line']}")
        tables.append({"type": "web", "command": web["command"], "default": True})
    _warn(context, "" if web is None else str(web["file"]), processes)
    context.write_toml("launch.toml", {"processes": tables})
    return PASS


def _warn(context: Context, file: str, processes: dict[str, str]) -> None:
    """What may be missing when the app runs, and what files of other platforms say that nobody here reads."""
    from buildpacks.packs.algo_procfile.app_json import notes_of
    from buildpacks.packs.references import warnings_of
    from buildpacks.packs.web_line import entry_file

    for line in notes_of(context.app):
        detail(line)
    for line in warnings_of(context.app, file or entry_file(context.app, processes.get("web", ""))):
        warn(line)
