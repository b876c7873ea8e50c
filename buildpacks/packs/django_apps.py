"""Django projects: manage.py names the settings, and beside them lies the wsgi.py or asgi.py that is started.

Sources  https://docs.djangoproject.com/en/5.2/ref/django-admin/ (startproject), howto/deployment/wsgi/gunicorn/,
         howto/static-files/deployment/, ref/settings/#allowed-hosts
"""

# ruff: noqa: PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import ast
import os
import re
from typing import NamedTuple

from buildpacks.packs.sources import local_file, parse_source, read_source, top_statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MANAGE = "manage.py"
_SETTINGS = re.compile(rb"DJANGO_SETTINGS_MODULE[\"']\s*,\s*[\"']([\w.]+)[\"']")
# The file, the function that makes its object: a web server's worker is found by the first that there is.
_ENTRIES = (("wsgi.py", "get_wsgi_application"), ("asgi.py", "get_asgi_application"))
_MAX_FOLDERS = 200


class Project(NamedTuple):
    """What manage.py says. settings: their module, '' when it is computed."""

    settings: str

    @property
    def folder(self) -> str:
        """Where startproject puts wsgi.py: the outermost package of the settings."""
        return self.settings.partition(".")[0]


def find_project(app: str) -> Project | None:
    """The Django project at the top of a repository; None without one, and for another tool's manage.py."""
    source = read_source(app, MANAGE)
    if b"django" not in source:
        return None
    match = _SETTINGS.search(source)
    return Project(match[1].decode() if match else "")


def find_objects(app: str, project: Project) -> list[tuple[str, str, int]]:
    """(file, name, line) of the objects to start: one when it is certain, several when it is not, none."""
    for file_name, function in _ENTRIES:
        found = [
            (file, *made)
            for file in _files(app, file_name)
            if (made := _object(app, file, function)) is not None
        ]  # fmt: skip
        usual = [one for one in found if one[0] == f"{project.folder}/{file_name}"]
        if found:
            return usual or found
    return []


def notes_of(app: str, project: Project) -> list[str]:
    """What Django needs that nobody does for it here, half a sentence each."""
    notes = ["collectstatic and migrate are not run"]
    file = local_file(app, project.settings, MANAGE) if project.settings else None
    tree = parse_source(app, file) if file is not None else None
    for node in top_statements(tree.body) if tree is not None else ():
        match node:
            case ast.Assign(targets=[ast.Name(id="ALLOWED_HOSTS")], value=ast.List(elts=[])):
                notes.append(f"{file} line {node.lineno} allows no host but localhost: ALLOWED_HOSTS = []")
            case _:
                pass
    return notes


def _files(app: str, name: str) -> Sequence[str]:
    """Files of that name at the top and one folder below."""
    found = [name] if os.path.isfile(f"{app}/{name}") else []
    with os.scandir(app) as entries:
        folders = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))
    return found + [f"{folder}/{name}" for folder in folders[:_MAX_FOLDERS] if os.path.isfile(f"{app}/{folder}/{name}")]


def _object(app: str, file: str, function: str) -> tuple[str, int] | None:
    """Name and line of what is assigned from Django's function, wrapped or not."""
    tree = parse_source(app, file) if function.encode() in read_source(app, file) else None
    for node in top_statements(tree.body) if tree is not None else ():
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                called = {getattr(inner.func, "id", getattr(inner.func, "attr", "")) for inner in ast.walk(value)
                          if isinstance(inner, ast.Call)}  # fmt: skip
                if function in called:
                    return name, node.lineno
            case _:
                pass
    return None
