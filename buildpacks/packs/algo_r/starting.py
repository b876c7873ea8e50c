"""How an R web app starts without a Procfile: plumber's and Shiny's own conventions."""

# ruff: noqa: PTH113 -- no pathlib in buildpacks

from __future__ import annotations

import os
import re

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.toolchains.starts import Start

_MAX_BYTES = 256 * 1024
_SHINY = re.compile(rb"^[^#\n]*\bshinyApp\s*\(", re.MULTILINE)
# Expressions for Rscript: no shell sees them. Source: plumber::pr_run, shiny::runApp.
PLUMBER = 'plumber::pr_run(plumber::pr("plumber.R"), host = "0.0.0.0", port = as.integer(Sys.getenv("PORT")))'
SHINY = 'shiny::runApp(".", host = "0.0.0.0", port = as.integer(Sys.getenv("PORT")), launch.browser = FALSE)'


def find_start(app: str) -> Start | None:
    """The start of plumber.R, of app.R that calls shinyApp, or of server.R with ui.R; None without any of them.

    Raises  PackFailed('r-two-starts')
    """
    found = dict[str, str]()
    if os.path.isfile(f"{app}/plumber.R"):
        found["plumber.R"] = PLUMBER
    if _calls_shiny(f"{app}/app.R"):
        found["app.R with shinyApp()"] = SHINY
    elif all(os.path.isfile(f"{app}/{name}") for name in ("server.R", "ui.R")):
        found["server.R and ui.R"] = SHINY
    if len(found) > 1:
        lines = [f"web: Rscript -e '{expression}'" for expression in found.values()]
        raise PackFailed("r-two-starts", found=list(found), lines=lines)
    return next((Start(["Rscript", "-e", expression], why) for why, expression in found.items()), None)


def packages_of(start: Start | None) -> list[str]:
    """R packages that the start itself needs."""
    if start is None:
        return []
    return ["plumber"] if start.command[-1] == PLUMBER else ["shiny"]


def _calls_shiny(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return _SHINY.search(file.read(_MAX_BYTES)) is not None
