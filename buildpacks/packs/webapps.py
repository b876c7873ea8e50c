"""Web apps without a Procfile: found by their syntax trees, started by the convention of their framework.

Rules of this file
1. Nothing is imported or run: `app = Flask(__name__)` in a tree is the evidence.
2. One app that is certain is started; two that could be meant are refused, with the `web:` line of each.
3. $PORT and $HOST are given to the framework by the flags or variables that it documents, never by changed code.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from buildpacks.packs.app_objects import CONVENTIONAL, Found, describe, find_apps
from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.conventions import LITSERVE, command_line, with_exec
from buildpacks.packs.fixed_ports import refuse_fixed_port

_SHOWN = 6


class WebApp(NamedTuple):
    """How an app is started.

    why       `app.py line 5: app = Flask(__name__)`, and what is not done for it
    packages  what its start needs, with reasons
    line      the same command as a Procfile would have it
    """

    command: list[str]
    file: str
    framework: str
    why: str
    packages: list[dict[str, str]]
    line: str


def find_web_app(app: str) -> WebApp | None:
    """The web app of a repository without `web:` line; None when it has none.

    Raises  PackFailed('web-app-unsure') when several could be meant, PackFailed('web-fixed-port') for one whose
            framework is told its port in the code alone, PackFailed('django-no-wsgi') for a Django project without a
            file to start
    """
    found = find_apps(app)
    if not found:
        _refuse_django(app)
        return None
    chosen = _choose(found)
    if chosen is None:
        lines = [f"web: {command_line(app, one)}   ({describe(app, one)})" for one in found[:_SHOWN]]
        raise PackFailed("web-app-unsure", found=[describe(app, one) for one in found[:_SHOWN]], lines=lines)
    refuse_fixed_port(app, chosen.file, only=("gradio", "dash"))
    return _start(app, chosen)


def _refuse_django(app: str) -> None:
    if not os.path.isfile(f"{app}/manage.py"):  # noqa: PTH113 -- no pathlib in buildpacks
        return
    from buildpacks.packs.django_apps import find_project

    project = find_project(app)
    if project is not None:
        package = project.folder or "PROJECT"
        line = command_line(app, Found(f"{package}/wsgi.py", "django", "application", 0))
        raise PackFailed("django-no-wsgi", package=package, line=f"web: {line}")


def _choose(found: Sequence[Found]) -> Found | None:
    if len(found) == 1:
        return found[0]
    usual = [one for one in found if os.path.basename(one.file) in CONVENTIONAL]  # noqa: PTH119 -- no pathlib
    return usual[0] if len(usual) == 1 else None


def _start(app: str, found: Found) -> WebApp:
    line = command_line(app, found)
    command = (
        ["python", "-c", LITSERVE, found.file] if found.framework == "litserve" else ["bash", "-c", with_exec(line)]
    )
    why = f"{found.file} imports it"
    packages = [{"spec": spec, "why": why, "written_by": ""} for spec in (found.framework,)]
    server = "gunicorn" if line.startswith("gunicorn") else "uvicorn" if line.startswith("uvicorn") else ""
    if server:
        packages.append(
            {"spec": server, "why": f"it serves the {found.framework} app of {found.file}", "written_by": ""}
        )
    return WebApp(
        command, found.file, found.framework, "; ".join([describe(app, found), *_notes(app, found)]), packages, line
    )


def _notes(app: str, found: Found) -> list[str]:
    if found.framework != "django":
        return []
    from buildpacks.packs.django_apps import find_project, notes_of

    project = find_project(app)
    return [] if project is None else notes_of(app, project)
