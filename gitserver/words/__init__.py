"""All the words for failures, one entry a code: what happened, whose move is next, the command to type.

Rules of this room
1. A sentence says what happened in the user's terms; `next` is what to do, with the command to type where there is one.
2. {field} is a field of the failure. What a build can fail with stands in buildpacks/words.py, for it must read alone.
3. A code stands in one module; a test holds that no two have the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.words import (
    accounts,
    api,
    builds,
    commands,
    docker,
    dockerfile,
    frameworks,
    images,
    names,
    registry,
    releases,
    remote,
    server,
    stacks,
    usercode,
)
from gitserver.words.entry import Words

PARTS = (
    names, server, accounts, builds, releases, remote, api, commands, docker, dockerfile, frameworks, images, registry,
    stacks, usercode,
)  # fmt: skip
WORDS: Mapping[str, Words] = {code: words for part in PARTS for code, words in part.WORDS.items()}
