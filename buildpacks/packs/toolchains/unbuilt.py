"""Web apps that nobody here starts, said in one sentence with what makes them run: a language, or a line to add.

Why  asked last, when nobody else has a use for the top of the tree: a Gemfile or an R script beside Python says little
"""

# ruff: noqa: PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import os

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.toolchains.starts import mark_of, started_language

# Its file -> language, Debian packages of a stack, the web: line.
_GRADLE = ("Gradle", ("gradle", "default-jdk-headless"), "java -jar app.jar")
_UNBUILT = {"build.gradle": _GRADLE, "build.gradle.kts": _GRADLE}
_BUILT = ("go", "java", "node")
_R_PROJECT = ("DESCRIPTION", "renv.lock", "install.R", "init.R", "app.R", "server.R")


def is_unbuilt(app: str) -> bool:
    """Whether such an app is there, and none that starts."""
    if any(mark_of(app, language) for language in _BUILT) or started_language(app):
        return False
    found = [name for name in ("Gemfile", *_UNBUILT, *_R_PROJECT) if os.path.isfile(f"{app}/{name}")]
    return any(name not in _R_PROJECT for name in found) or (bool(found) and bool(_scripts(app)))


def refuse_unbuilt(app: str) -> None:
    """Raises PackFailed: ruby-start, ruby-no-server, r-start, r-two-starts, language-unbuilt, for such an app."""
    if not is_unbuilt(app):
        return
    from buildpacks.packs.algo_r import starting as r
    from buildpacks.packs.algo_ruby import starting as ruby

    for name, (language, packages, line) in _UNBUILT.items():
        if os.path.isfile(f"{app}/{name}"):
            options = " ".join(f"--package {package}" for package in packages)
            raise PackFailed("language-unbuilt", language=language, file=name, line=line, options=options)
    if os.path.isfile(f"{app}/Gemfile"):
        ruby.find_start(app)  # raises where a config.ru lacks its server
        raise PackFailed("ruby-start", line=ruby.likely_line(app) or "bundle exec ruby YOUR_FILE.rb")
    r.find_start(app)  # raises where there are two
    scripts = _scripts(app)
    first = next((name for name in scripts if name not in _R_PROJECT), scripts[0])
    raise PackFailed("r-start", found=scripts, line=f"Rscript {first}")


def _scripts(app: str) -> list[str]:
    return [name for name in sorted(os.listdir(app)) if name.endswith((".R", ".r"))]
