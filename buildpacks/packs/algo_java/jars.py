"""Jars that Maven made: which one starts, and by which server.

Sources  https://docs.oracle.com/en/java/javase/17/docs/specs/jar/jar.html (Main-Class) ;
         https://docs.spring.io/spring-boot/specification/executable-jar/ (Spring-Boot-Version, SERVER_PORT)
"""

from __future__ import annotations

import os
import re
import zipfile
from typing import NamedTuple

from buildpacks.packs.cnb import PackFailed

MAX_MANIFEST_BYTES = 256 * 1024


class Jar(NamedTuple):
    """A jar with a Main-Class. path: below the app."""

    path: str
    main_class: str
    is_spring_boot: bool

    @property
    def command(self) -> list[str]:
        """How it is started. Spring Boot reads its port from SERVER_PORT; others are given PORT alone."""
        if self.is_spring_boot:
            return ["bash", "-c", f'SERVER_PORT="$PORT" exec java -jar {self.path}']
        return ["java", "-jar", self.path]


def find_jar(app: str) -> Jar:
    """The one jar in target/ that can be started.

    Raises  PackFailed: java-no-jar (none has a Main-Class), java-two-jars
    """
    folder = f"{app}/target"
    there = sorted(os.listdir(folder)) if os.path.isdir(folder) else []  # noqa: PTH112 -- no pathlib in buildpacks
    # original-: what the shade plugin was given, kept beside what it made.
    names = [name for name in there if re.fullmatch(r"(?!original-)[\w.+-]+\.jar", name)]
    startable = [jar for name in names for jar in [_read(app, f"target/{name}")] if jar is not None]
    if not startable:
        raise PackFailed("java-no-jar", found=names or ["no jar"])
    # A shaded jar stands beside the plain one that it was made of; its name says which one holds the libraries.
    fat = [
        jar for jar in startable if re.search(r"(?:-jar-with-dependencies|-shaded|-all|-fat|-runner)\.jar$", jar.path)
    ]
    left = fat if len(fat) == 1 else startable
    if len(left) > 1:
        lines = [f"web: java -jar {jar.path}" for jar in left]
        raise PackFailed("java-two-jars", found=[jar.path for jar in left], lines=lines)
    return left[0]


def _read(app: str, path: str) -> Jar | None:
    try:
        with zipfile.ZipFile(f"{app}/{path}") as archive, archive.open("META-INF/MANIFEST.MF") as file:
            text = file.read(MAX_MANIFEST_BYTES).decode("utf-8", "replace")
    except (KeyError, OSError, zipfile.BadZipFile):
        return None
    # A line of a manifest goes on in the next one, after a space.
    attributes = dict(re.findall(r"^([\w-]+): (.*)$", re.sub(r"\r?\n ", "", text).replace("\r", ""), re.MULTILINE))
    main = attributes.get("Main-Class", "")
    return Jar(path, main, "Spring-Boot-Version" in attributes) if main else None
