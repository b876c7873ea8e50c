"""All the words for failures, one entry a code: what happened, whose move is next, the command to type.

Rules of this file
1. A sentence says what happened in the user's terms; `next` is what to do, with the command to type where there is one.
2. {field} is a field of the failure. What a build can fail with stands in buildpacks/words.py, for it must read alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitserver.errors import Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How one code is told.

    title   a few words for `! [remote rejected] main -> main (...)`
    body    what happened; next: what to do about it; move: whose it is
    status  of the HTTP API
    """

    title: str
    body: str
    next: str
    move: Move = Move.PUSHER
    status: int = 400


_OPERATOR, _NOBODY = Move.OPERATOR, Move.NOBODY

_NAMES = {
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
        body="'{found}' cannot be pushed: only branches and tags with plain names, none beginning with '-'.",
        next="git push algo HEAD:main",
    ),
}

_SETTINGS = {
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

_ACCOUNTS = {
    "principal-exists": Words(title="name taken", body="{name} is taken.", next="choose another name", status=409),
    "key-taken": Words(
        title="key already registered",
        body="The key {fingerprint} is registered already; a key names one account.",
        next="ssh-keygen -t ed25519, then algo keys add the new one",
        status=409,
    ),
    "app-exists": Words(title="app exists", body="{app} exists already.", next="git push algo main", status=409),
}

_BUILDS = {
    "superseded": Words(
        title="superseded by build {build} ({actor})",
        body="A newer push to the same place, build {build} by {actor}, took this one's turn before it began.",
        next="algo builds logs {build} -f",
        move=_NOBODY,
        status=409,
    ),
    "cancelled": Words(
        title="cancelled by {actor}",
        body="{actor} cancelled build {build}; what served before goes on serving.",
        next="push again when you like; the same commit is built again",
        status=409,
    ),
    "build-unfinished": Words(
        title="build goes on", body="Build {build} has not ended.", next="algo builds logs {build} -f", status=409
    ),
    "unknown-end": Words(
        title="ended without a reason",
        body="Build {build} ended and the server does not know why.",
        next="push again; tell the operator if it happens twice",
        move=_OPERATOR,
        status=500,
    ),
    "internal": Words(
        title="internal error in build {build}",
        body="The server failed while it worked on build {build}: {detail}. What served before goes on serving.",
        next="push again; tell the operator if it happens twice, the server's log has the details",
        move=_OPERATOR,
        status=500,
    ),
    "ref-moved": Words(
        title="{ref} moved to {found} while this waited; pull and push again",
        body="{ref} is at {found} now, not at {expected} where your push started from.",
        next="git pull algo {ref}, then push again",
        status=409,
    ),
    "group-failed": Words(
        title="not done: {culprit} failed and the push is atomic",
        body="The push was atomic, and {culprit} failed: {cause}. Nothing of it was kept.",
        next="mend {culprit} and push again, or push without --atomic",
        status=409,
    ),
    "app-gone": Words(
        title="the app was destroyed meanwhile",
        body="The app was destroyed while this waited.",
        next="push again to make it anew",
        status=409,
    ),
    "environment-gone": Words(
        title="the preview was removed meanwhile",
        body="The preview was removed while this build ran.",
        next="push again to make it anew",
        status=409,
    ),
    "nothing-serves": Words(
        title="nothing serves there yet",
        body="{environment} has no release yet, so there is nothing to {action}.",
        next="git push algo main",
        status=409,
    ),
    "unknown-release": Words(
        title="no such release",
        body="There is no release {found}; valid targets are {known}.",
        next="algo releases",
        status=404,
    ),
    "unknown-version": Words(
        title="no such version",
        body="There is no version {found}; there are {known}.",
        next="algo versions",
        status=404,
    ),
    "lfs-objects-missing": Words(
        title="{path} is a Git LFS pointer",
        body="{path} is a Git LFS pointer of {size}, not the file itself, and this server has no copy of the file.",
        next="git lfs migrate export --include='{path}' --everything, then push again; "
        "or git lfs untrack '{path}' and commit the file itself",
    ),
}

WORDS: Mapping[str, Words] = {**_NAMES, **_SETTINGS, **_ACCOUNTS, **_BUILDS}
