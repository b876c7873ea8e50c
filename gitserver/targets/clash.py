"""A crash at import because two installed packages do not fit together: named, with the line that mends it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from buildpacks.export import previous_packs
from buildpacks.packs.algo_python.clashes import explain_import_failure
from gitserver.errors import Json, Problem

# Codes under which a release that stops at an import is told, by our runtime and by a web process.
_AT_IMPORT = frozenset({"import-failed", "load-failed", "start-crashed", "example-failed", "release-failed"})


def explained(problem: Problem, document: Mapping[str, Json]) -> Problem:
    """The same problem, or 'packages-clash' when its last words are those of two packages that are known to clash.

    document  of the image that crashed: what was installed stands in it
    """
    failure = problem.failure
    if failure.code not in _AT_IMPORT:
        return problem
    words = "\n".join((str(failure.fields.get("message", "")), *failure.log))
    mend = explain_import_failure(words, _lock(document))
    if mend is None:
        return problem
    one, other = mend.pair
    return Problem("packages-clash", log=failure.log, one=one, other=other, bound=mend.bound)


def _lock(document: Mapping[str, Json]) -> str:
    """Requirement lines of the image's dependency layer, '' for an image without Python."""
    for pack in previous_packs(document):
        layers = pack.get("layers")
        deps = layers.get("deps") if isinstance(layers, dict) and pack.get("key") == "algo/python" else None
        data = deps.get("data") if isinstance(deps, dict) else None
        if isinstance(data, dict):
            return str(data.get("lock", ""))
    return ""
