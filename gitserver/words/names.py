"""Words for names that are refused."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.words.entry import Words

WORDS: Mapping[str, Words] = {
    "bad-name": Words(
        title="bad {what} name",
        body="'{found}' cannot be the name of an {what}: letters a-z, digits and single dashes between them, "
        "at most {limit}, and not a word that the server uses itself.",
        next="choose another name, for example: git remote set-url algo URL/alice/iris.git",
    ),
    "bad-app-path": Words(
        title="not an app's address",
        body="'{found}' is not the address of an app; it has the form OWNER/APP.git.",
        next="git remote set-url algo URL/OWNER/APP.git",
    ),
    "bad-ref": Words(
        title="ref name refused",
        body="'{found}' cannot be pushed: only branches and tags with plain names, "
        "none beginning with '-' or holding what a shell reads.",
        next="git push algo HEAD:main",
    ),
}
