"""An Aptfile, read: one Debian package a line.

Source  https://elements.heroku.com/buildpacks/heroku/heroku-buildpack-apt (comments, .deb addresses, :repo: lines)
"""

from __future__ import annotations

import re
from typing import NamedTuple

from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.procfile import decode

MAX_BYTES = 64 * 1024
# Debian policy 5.6.7 and 5.6.12: names, `:arch`, `=version`.
_PACKAGE = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::[a-z0-9-]+)?(?:=[A-Za-z0-9.+:~-]+)?")


class Wanted(NamedTuple):
    """One line. package: as apt takes it, `name` or `name=version`."""

    line: int
    package: str

    @property
    def name(self) -> str:
        """Without version and architecture."""
        return re.split(r"[=:]", self.package)[0]


def parse_aptfile(data: bytes) -> list[Wanted]:
    """The packages of a file, each once.

    Raises  PackFailed('aptfile-syntax') for a line that is no package's name: addresses of .deb files and other
            repositories are not read, for nobody could say later what was installed from them
    """
    found: dict[str, Wanted] = {}
    for number, line in enumerate(decode(data[:MAX_BYTES]).splitlines(), 1):
        text = line.split("#")[0].strip()
        for word in text.split():
            if _PACKAGE.fullmatch(word) is None:
                raise PackFailed("aptfile-syntax", line=number, text=text[:200])
            found.setdefault(word, Wanted(number, word))
    return list(found.values())
