"""Languages that no buildpack here builds: said in one sentence, with what makes the app run all the same.

Why  an R or Ruby app runs wherever its interpreter and its packages are: Debian has both, and a stack takes them
"""

# ruff: noqa: PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import os

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.toolchains.starts import MARKS

# Files that must all be there -> language, Debian packages of a stack, the web: line.
_APPS = (
    (("Gemfile", "config.ru"), "Ruby", ("ruby", "ruby-rack", "puma"), "puma -b tcp://0.0.0.0:$PORT"),
    (("Gemfile", "app.rb"), "Ruby", ("ruby", "ruby-sinatra", "puma"), "ruby app.rb -o 0.0.0.0 -p $PORT"),
    (("plumber.R",), "R", ("r-base-core", "r-cran-plumber"),
     "Rscript -e \"plumber::pr_run(plumber::pr('plumber.R'), host='0.0.0.0', port=as.integer(Sys.getenv('PORT')))\""),
    (("app.R",), "R", ("r-base-core", "r-cran-shiny"),
     "Rscript -e \"shiny::runApp('app.R', host='0.0.0.0', port=as.integer(Sys.getenv('PORT')))\""),
    (("build.gradle",), "Gradle", ("gradle", "default-jdk-headless"), "java -jar app.jar"),
    (("build.gradle.kts",), "Gradle", ("gradle", "default-jdk-headless"), "java -jar app.jar"),
)  # fmt: skip


def is_unbuilt(app: str) -> bool:
    """Whether an app of such a language is there, and none of those built here."""
    if any(os.path.isfile(f"{app}/{name}") for name in MARKS.values()):
        return False
    return any(_is_there(app, files) for files, *_ in _APPS)


def refuse_unbuilt(app: str) -> None:
    """Raises PackFailed('language-unbuilt') for an app of such a language."""
    for files, language, packages, line in _APPS:
        if is_unbuilt(app) and _is_there(app, files):
            options = " ".join(f"--package {package}" for package in packages)
            raise PackFailed("language-unbuilt", language=language, file=files[-1], line=line, options=options)


def _is_there(app: str, files: tuple[str, ...]) -> bool:
    return all(os.path.isfile(f"{app}/{name}") for name in files)
