"""What builds remember of big files: facts under the object id of their content, so that nobody opens them again.

    kitchen (this app's notes, by git object id) -> ALGO_MODEL_FACTS -> detection: Looker -> label -> kitchen

Why by object id  the same id is the same bytes; and notes never leave the app whose builds wrote them, so the worst
                  that a build can do with them is to describe its own files wrongly
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from buildpacks.model.file import READER_VERSION, ModelFile
from buildpacks.model.signature import inspect_file

MAX_BYTES = 4 << 20
Facts = Mapping[str, ModelFile | None]


class Looker:
    """inspect_file with a memory: files whose facts are known stay closed, those of `wanted` are noted."""

    def __init__(self, known: Facts, wanted: Collection[str]) -> None:
        self._known, self._wanted = known, frozenset(wanted)
        self.seen: dict[str, ModelFile | None] = {}

    def look(self, host_path: str, path: str) -> ModelFile | None:
        """What a file is; None for no model."""
        found = self._known[path] if path in self._known else inspect_file(host_path, path)
        if path in self._wanted:
            self.seen[path] = found
        return found


def render_facts(facts: Facts) -> str:
    """JSON that parse_facts reads back: {"reader": READER_VERSION, "files": {path: [framework, kind, ...] or null}}."""
    files = {path: None if found is None else [*found[1:4], dict(found.detail)] for path, found in facts.items()}
    return json.dumps({"reader": READER_VERSION, "files": files}, sort_keys=True)


def parse_facts(text: str) -> dict[str, ModelFile | None]:
    """Facts by path (or by whatever names a file); empty for text of another shape or of another reader."""
    try:
        document = json.loads(text) if len(text) <= MAX_BYTES else None
        if document is None or document["reader"] != READER_VERSION:
            return {}
        return {str(path): _parse(str(path), item) for path, item in document["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _parse(path: str, item: object) -> ModelFile | None:
    if item is None:
        return None
    if not isinstance(item, list) or len(item) != 4 or not isinstance(item[3], dict):
        raise TypeError("no facts")
    detail = {str(key): value for key, value in item[3].items() if type(value) in (str, int)}
    return ModelFile(path, str(item[0]), str(item[1]), str(item[2]), detail)
