"""Which language a repository's web process is written in, and the plan of the buildpack that knows it.

Rules of this file
1. A `web:` line decides, by the program that it starts.
2. Without one, a file that only this language has at the top of a repository, and a start that is certain.
3. Two languages that could both be started are refused, never guessed between.
"""

# ruff: noqa: PTH113, PTH119 -- no pathlib in buildpacks

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from buildpacks.packs.cnb import NOT_MINE, PASS, Context, PackFailed
from buildpacks.packs.procfile import read_procfile

# Language -> the files at the top of which one says so, and the programs of a `web:` line that belong to it.
MARKS = {
    "go": ("go.mod",), "java": ("pom.xml",), "node": ("package.json",), "ruby": ("Gemfile",),
    "r": ("plumber.R", "app.R", "server.R", "DESCRIPTION", "renv.lock", "install.R", "init.R"),
}  # fmt: skip
_PROGRAMS = {
    "go": frozenset({"go"}),
    "java": frozenset({"java", "mvn", "mvnw"}),
    "node": frozenset({"node", "nodejs", "npm", "npx", "yarn", "pnpm", "next", "nuxt", "ts-node", "tsx"}),
    "ruby": frozenset({"ruby", "bundle", "puma", "pumactl", "rackup", "rails", "rake", "thin", "unicorn", "falcon"}),
    "r": frozenset({"R", "Rscript"}),
}
# Languages whose toolchain can come from Debian's packages: their builds see what this system has installed.
_OF_DEBIAN = ("ruby", "r")
_PYTHON = frozenset(
    {"python", "python3", "gunicorn", "uvicorn", "hypercorn", "daphne", "streamlit", "flask", "bentoml"}
)
APTFILE, SYSTEM_PACKAGES = "Aptfile", "system-packages"


class Start(NamedTuple):
    """How an app starts without a Procfile. why: what says so."""

    command: list[str]
    why: str


def mark_of(app: str, language: str) -> str:
    """The file at the top that says that this language is there, for R any script in the end; '' without one."""
    found = next((name for name in MARKS[language] if os.path.isfile(f"{app}/{name}")), "")
    if not found and language == "r":
        return next((name for name in sorted(os.listdir(app)) if name.endswith(".R")), "")
    return found


def language_of(app: str, line: str) -> str:
    """The language of a `web:` line, '' when it is Python's or of no language that a buildpack here knows."""
    from buildpacks.packs.web_line import split_line

    started = split_line(line)
    if started is None:
        return ""
    program = os.path.basename(started.words[0])
    for language, programs in _PROGRAMS.items():
        if program in programs and mark_of(app, language):
            return language
    if os.path.isfile(f"{app}/go.mod") and program not in _PYTHON and not os.path.exists(f"{app}/{started.words[0]}"):
        from buildpacks.packs.algo_go.module import find_mains

        return "go" if any(main.name == program for main in find_mains(app)) else ""
    return ""


def started_language(app: str) -> str:
    """The file of a language whose web app can be started by convention, '' when there is none; never raises."""
    for language in MARKS:
        try:
            if _could_start(app, language):
                return mark_of(app, language)
        except PackFailed:
            continue  # its own buildpack says what is wrong with it
    return ""


def detect_language(context: Context, language: str, find_start: Callable[[str], Start | None]) -> int:
    """Pass for a `web:` line of this language, and for an app that starts by convention; writes the plan.

    Raises  PackFailed('two-languages'); what read_procfile and find_start raise
    """
    if not mark_of(context.app, language):
        return NOT_MINE
    processes = read_procfile(context.app) or {}
    if "web" in processes:
        if language_of(context.app, processes["web"]) != language:
            return NOT_MINE
        _write_plan(context, language, None)
        return PASS
    start = find_start(context.app)
    if start is None:
        return NOT_MINE
    others = [other for other in MARKS if other != language and _could_start(context.app, other)]
    if others:
        first, second = mark_of(context.app, language), mark_of(context.app, others[0])
        raise PackFailed("two-languages", first=first, second=second)
    _write_plan(context, language, start)
    return PASS


def read_start(context: Context, language: str) -> Start | None:
    """At build: the start that detection found; None where a Procfile says it."""
    for want in context.wants(language):
        if want.get("start"):
            return Start(**json.loads(str(want["start"])))
    return None


def start_process(context: Context, start: Start | None, slices: Sequence[str] = ()) -> None:
    """Write launch.toml: the web process, and files of the app that change less often than the rest of it."""
    document: dict[str, object] = {}
    if start is not None:
        document["processes"] = [{"type": "web", "command": start.command, "default": True}]
    if slices:
        document["slices"] = [{"paths": list(slices)}]
    context.write_toml("launch.toml", document)


def needs_system_packages(app: str) -> bool:
    """Whether an Aptfile asks for Debian packages."""
    return os.path.isfile(f"{app}/{APTFILE}")


def needs_debian(app: str) -> bool:
    """Whether this build may ask apt for packages: by an Aptfile, or for the toolchain of its language."""
    return needs_system_packages(app) or any(mark_of(app, language) for language in _OF_DEBIAN)


def _could_start(app: str, language: str) -> bool:
    if not mark_of(app, language):
        return False
    if language == "ruby":
        from buildpacks.packs.algo_ruby.starting import find_start as find_ruby_start

        return find_ruby_start(app) is not None
    if language == "r":
        from buildpacks.packs.algo_r.starting import find_start as find_r_start

        return find_r_start(app) is not None
    if language == "node":
        from buildpacks.packs.algo_node.package import find_start

        return find_start(app) is not None
    if language == "go":
        from buildpacks.packs.algo_go.module import find_mains

        return bool(find_mains(app))
    return True


def _write_plan(context: Context, language: str, start: Start | None) -> None:
    from buildpacks.lifecycle.toml_writer import render_toml

    metadata = {"start": json.dumps(start._asdict(), sort_keys=True)} if start is not None else {}
    plan: dict[str, object] = {
        "provides": [{"name": language}, *([{"name": "web"}] if start is not None else [])],
        "requires": [
            {"name": language, "metadata": metadata},
            *([{"name": "web", "metadata": {}}] if start is not None else []),
        ],
    }
    with open(context.plan, "w", encoding="utf-8") as file:
        file.write(render_toml(plan))
