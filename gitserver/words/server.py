"""Words for what an operator has to put right, and for parts of the server that are down."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

_OPERATOR, _NOBODY = Move.OPERATOR, Move.NOBODY

WORDS: Mapping[str, Words] = {
    "bad-address": Words(
        title="bad address",
        body="--{option} is '{found}', which is not HOST:PORT.",
        next="algo serve --{option} 127.0.0.1:8080",
        move=_OPERATOR,
    ),
    "bad-setting": Words(
        title="bad setting",
        body="{setting} is '{found}'; expected {expected}.",
        next="correct the option, the variable or the file",
        move=_OPERATOR,
    ),
    "bad-config-file": Words(
        title="configuration file cannot be read",
        body="{path} is not a TOML file: {found}.",
        next="correct {path}",
        move=_OPERATOR,
    ),
    "unknown-setting": Words(
        title="unknown setting",
        body="{path} sets '{found}', which is no setting of this server; it knows {known}.",
        next="correct {path}",
        move=_OPERATOR,
    ),
    "ledger-too-new": Words(
        title="ledger of a newer server",
        body="The ledger is at revision {found}; this server knows up to {known}. Nothing was changed.",
        next="start the newer server again, or restore the ledger from before the upgrade",
        move=_OPERATOR,
        status=500,
    ),
    "already-serving": Words(
        title="a server already runs on this state folder",
        body="Another algo serve (process {pid}) uses {state}.",
        next="stop it, or choose another folder: algo serve --state DIR",
        move=_OPERATOR,
    ),
    "address-taken": Words(
        title="address in use",
        body="{option} {address} cannot be listened on: {detail}.",
        next="choose another: algo serve --{option} 127.0.0.1:0",
        move=_OPERATOR,
    ),
    "component-down": Words(
        title="a part of the server is down",
        body="The server's {component} does not answer ({detail}); it is being started again.",
        next="try again in a few seconds",
        move=_NOBODY,
        status=503,
    ),
}
