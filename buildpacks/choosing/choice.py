"""Whose word counts: the app's configuration, then project.toml, then `.buildpacks`, then detection.

Reads two files of the tree; decides nothing about what may be fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from buildpacks.choosing.descriptor import FILE as PROJECT_FILE
from buildpacks.choosing.descriptor import ProjectDescriptor
from buildpacks.choosing.lines import FILE as LINES_FILE
from buildpacks.choosing.lines import parse_setting, read_lines
from buildpacks.choosing.values import SETTING, Choice

BY_SETTING = "algo config"


def choose(
    app_dir: Path, project: ProjectDescriptor, platform_env: Mapping[str, str], own_ids: Collection[str]
) -> Choice | None:
    """What the app asks for; None: detection alone decides.

    platform_env  BP_* of the app, in which BP_BUILDPACKS may stand
    Raises        BuildFailed: buildpack-source-bad, buildpack-source-secret, buildpack-unknown
    """
    chosen = parse_setting(platform_env.get(SETTING, ""), own_ids)
    if chosen:
        by = PROJECT_FILE if project.env.get(SETTING) == platform_env[SETTING] else f"{BY_SETTING}: {SETTING}"
        return Choice(by=by, sources=chosen, pre=project.pre, post=project.post)
    if project.group:
        return Choice(by=PROJECT_FILE, sources=project.group, pre=project.pre, post=project.post)
    lines = read_lines(app_dir, own_ids)
    if lines:
        return Choice(by=LINES_FILE, sources=lines, pre=project.pre, post=project.post)
    if project.pre or project.post:
        return Choice(by=PROJECT_FILE, pre=project.pre, post=project.post)
    return None
