"""Passes for a Procfile, and for a web app whose start is certain; what cannot work is refused here, before a build.

A Procfile without `web:` and without an app asks somebody else for it.
"""

from __future__ import annotations

import json

from buildpacks.packs.cnb import NOT_MINE, PASS, Context, PackFailed
from buildpacks.packs.procfile import near_procfile, read_procfile


def detect(context: Context) -> int:
    """Write the plan.

    Raises  PackFailed: what read_procfile, check_web_line, find_web_app and refuse_missing raise, procfile-name,
            apps-in-folders
    """
    processes = read_procfile(context.app)
    if processes and "web" in processes:
        from buildpacks.packs.references import refuse_missing
        from buildpacks.packs.toolchains.starts import language_of
        from buildpacks.packs.web_line import check_web_line, entry_file, packages_of, prepares, starts_python

        language = language_of(context.app, processes["web"])
        if language:  # its files may be made by its build; the buildpack that knows it is in a later group
            _write_plan(context, {}, [], language)
            return PASS
        check_web_line(context.app, processes["web"])
        if not prepares(processes["web"]):
            refuse_missing(context.app, entry_file(context.app, processes["web"]))
        needed = packages_of(processes["web"])
        _write_plan(context, {}, needed, needs_python=bool(needed) or starts_python(processes["web"]))
        return PASS
    near = near_procfile(context.app) if processes is None else None
    if near is not None:
        raise PackFailed("procfile-name", found=near)
    web = None if _is_decided(context) else _find_app(context)
    if web is not None:
        _write_plan(context, *web, needs_python=True)
        return PASS
    if processes:
        with open(context.plan, "w", encoding="utf-8") as file:
            file.write('[[requires]]\nname = "web"\n')
        return PASS
    _refuse_folders(context)
    return NOT_MINE


def _is_decided(context: Context) -> bool:
    """Whether the owner said what to serve, and it is no web app."""
    return any(context.env.get(name) for name in ("BP_MODEL_FILE", "BP_ENTRYPOINT", "SAGEMAKER_PROGRAM"))


def _find_app(context: Context) -> tuple[dict[str, object], list[dict[str, str]]] | None:
    """The app to start by convention, and its packages; None when there is none, or code with a contract of its own."""
    from buildpacks.packs.app_objects import find_apps

    if not find_apps(context.app):
        return None
    from buildpacks.packs.algo_model.source import find_entry
    from buildpacks.packs.references import refuse_missing
    from buildpacks.packs.webapps import find_web_app

    if find_entry(context.app, "") is not None:
        return None
    found = find_web_app(context.app)
    if found is None:
        return None
    refuse_missing(context.app, found.file)
    facts: dict[str, object] = {"command": found.command, "file": found.file, "why": found.why, "line": found.line}
    return {"web_app": json.dumps({**facts, "framework": found.framework}, sort_keys=True)}, found.packages


def _refuse_folders(context: Context) -> None:
    """Raises PackFailed: apps-in-folders, language-unbuilt, when nobody else has a use for the top of the tree."""
    from buildpacks.packs.subfolders import find_app_folders
    from buildpacks.packs.toolchains.unbuilt import is_unbuilt, refuse_unbuilt

    folders = [] if _is_decided(context) else find_app_folders(context.app)
    if not folders and not is_unbuilt(context.app):
        return
    from buildpacks.model.search import find_models
    from buildpacks.packs.algo_model.source import find_entry

    if find_entry(context.app, "") is None and not find_models(context.app):
        refuse_unbuilt(context.app)
        raise PackFailed("apps-in-folders", folders=folders, setting=f"BP_APP_DIR={folders[0].split(' ')[0]}")


def _write_plan(
    context: Context,
    web: dict[str, object],
    packages: list[dict[str, str]],
    language: str = "",
    *,
    needs_python: bool = False,
) -> None:
    from buildpacks.lifecycle.toml_writer import render_toml
    from buildpacks.packs.toolchains.starts import SYSTEM_PACKAGES, needs_system_packages

    requires: list[dict[str, object]] = []
    plan: dict[str, object] = {}
    if web:
        # Provided as well as required: where algo/model serves, the first of the two that provide it gets the entry,
        # and this buildpack builds without.
        plan["provides"] = [{"name": "web"}]
        requires.append({"name": "web", "metadata": web})
    if language:
        requires.append({"name": language})
    if needs_system_packages(context.app):
        requires.append({"name": SYSTEM_PACKAGES})
    plan["requires"] = requires
    if needs_python:
        plan["requires"] = [*requires, {"name": "python", "metadata": {"packages": packages}}]
        if not web and not packages:
            # An app that chooses its buildpacks may leave Python to the base.
            plan["or"] = [{"requires": requires}]
    with open(context.plan, "w", encoding="utf-8") as file:
        file.write(render_toml(plan))
