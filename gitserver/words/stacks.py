"""Words for what an operator meets with stacks on this machine; what making one can fail with, buildpacks says."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

WORDS: Mapping[str, Words] = {
    "stack-wrong-user": Words(
        title="state folder of another user",
        body="{state} belongs to user {owner}, and this command runs as user {user}: the server could not read what it "
        "writes.",
        next="run the command as the user that runs algo serve, or name another folder: --state DIR",
        move=Move.OPERATOR,
    ),
    "stack-store-unusable": Words(
        title="state folder cannot be used",
        body="{path} cannot be read or written: {detail}.",
        next="correct its permissions, or name another folder: --state DIR",
        move=Move.OPERATOR,
    ),
}
