"""Words for docker."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

_OPERATOR, _NOBODY = Move.OPERATOR, Move.NOBODY

_ENGINE = {
    "engine-down": Words(
        title="the Docker engine does not answer",
        body="The Docker engine at {host} does not answer: {detail}.",
        next="start the engine (systemctl start docker) and try again; releases that ran before come up with it",
        move=_OPERATOR,
        status=503,
    ),
    "engine-no-permission": Words(
        title="the server may not speak to the Docker engine",
        body="The Docker engine at {host} is there, and the user of this server may not use its socket.",
        next="usermod --append --groups docker USER, then start the server again",
        move=_OPERATOR,
        status=503,
    ),
    "engine-refused": Words(
        title="the Docker engine refused to {step}",
        body="The Docker engine at {host} refused to {step}: {detail}.",
        next="docker info and the engine's log (journalctl --unit docker) say more",
        move=_OPERATOR,
        status=502,
    ),
    "engine-out-of-space": Words(
        title="the Docker engine's disk is full",
        body="The Docker engine at {host} has no space left: {detail}.",
        next="make room: algo gc, docker system df; then push again",
        move=_OPERATOR,
        status=507,
    ),
    "image-load-failed": Words(
        title="the Docker engine did not take the image",
        body="The image {image} was sent to the Docker engine twice at most, and it is not complete there: {detail}. "
        "What was sent is removed again.",
        next="push again; if it stays so, the engine's log (journalctl --unit docker) says more",
        move=_OPERATOR,
        status=502,
    ),
}

_STAYS = "What served before goes on serving."

# What an app meets in a container.
_CONTAINERS = {
    "wrong-architecture": Words(
        title="the image is for {image}, this machine is {engine}",
        body=f"The image is made for {{image}} machines, and the Docker engine runs on {{engine}}. {_STAYS}",
        next="make a stack for this machine (algo stack build) and push again",
        move=_OPERATOR,
        status=409,
    ),
    "engine-elsewhere": Words(
        title="the Docker engine runs on another machine",
        body="The Docker engine started a container, and this server cannot see its process {pid}: the engine runs on "
        f"another machine, or one of the two runs in a container of its own. {_STAYS}",
        next="run the server beside its engine, in the same process namespace (docker run --pid host), or use "
        "--target process",
        move=_OPERATOR,
        status=502,
    ),
    "loopback-only": Words(
        title="the web process listens on 127.0.0.1 only",
        body="The web process listens on port {port}, on 127.0.0.1 of its own container only, where no call arrives. "
        f"{_STAYS}",
        next="listen on 0.0.0.0 (the address in the variable HOST) and on the port in PORT, and push again",
        status=422,
    ),
    "read-only-place": Words(
        title="not writable: {path}",
        body=f"The process ended with {{how}} because it may not write at {{path}}: a release writes below $TMPDIR "
        f"alone. {_STAYS}",
        next="write to the folder in the variable TMPDIR, keep what must last outside of the app, and push again",
        status=422,
    ),
}

WORDS: Mapping[str, Words] = {**_ENGINE, **_CONTAINERS}
