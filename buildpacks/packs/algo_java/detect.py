"""Passes for a Maven project: by a `web:` line, or because it makes a jar that starts.

Which jar that is shows only after the build; a pom.xml whose build makes none is refused there.
"""

from __future__ import annotations

from buildpacks.packs.cnb import Context
from buildpacks.packs.toolchains.starts import Start, detect_language


def detect(context: Context) -> int:
    """Write the plan. Raises PackFailed: two-languages, what read_procfile raises."""
    return detect_language(context, "java", find_start)


def find_start(_app: str) -> Start | None:
    """The jar that the build will make."""
    return Start(["java", "-jar"], "pom.xml")
