"""Words for the operator's registry; what a push to it can fail with stands in buildpacks/image/words.py."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

WORDS: Mapping[str, Words] = {
    "registry-setting-bad": Words(
        title="the setting registry is no place in a registry",
        body="The setting registry says {found}; it should be HOST[:PORT]/PREFIX in lower case, without https:// and "
        "without a tag.",
        next="algo serve --registry registry.example.org/models",
        move=Move.OPERATOR,
        status=500,
    ),
}
