"""Requirements files that a contract keeps in a place of its own: their packages go along with its entry."""

from __future__ import annotations

import re

from buildpacks.packs.algo_model.contracts.syntax import read

MAX_LINES = 200
# Options, addresses and included files are read where they stand in the repository's own list, not here.
_NAMED = re.compile(r"[A-Za-z0-9][\w.-]*\s*(?:\[[^\]]*\])?\s*(?:[=<>!~;].*)?")


def listed_in(app: str, path: str) -> tuple[tuple[str, str], ...]:
    """(requirement, path) of each line that names a package; empty for a file that is not there."""
    lines = read(app, path).decode("utf-8-sig", "replace").splitlines()[:MAX_LINES]
    specs = [line.partition(" #")[0].strip() for line in lines]
    return tuple((spec, path) for spec in specs if _NAMED.fullmatch(spec))
