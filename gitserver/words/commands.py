"""Words for the command line."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.errors import Move
from gitserver.words.entry import Words

_OPERATOR, _NOBODY = Move.OPERATOR, Move.NOBODY

WORDS: Mapping[str, Words] = {
    "not-logged-in": Words(
        title="not signed in", body="You are not signed in to {url}.", next="algo login {url}", status=401
    ),
    "server-unreachable": Words(
        title="server unreachable",
        body="{url} does not answer: {detail}.",
        next="is the server running, and is this its address? algo login URL names another",
        move=_NOBODY,
        status=503,
    ),
    "not-this-server": Words(
        title="not an algo server",
        body="{url} answered {status} without a document of the API; is it another program, or a proxy?",
        next="algo login URL with the server's own address",
        status=502,
    ),
    "no-app-here": Words(
        title="which app?",
        body="No app is named, and this folder has no git remote called algo.",
        next="algo create, or add --app OWNER/APP",
    ),
    "bad-url": Words(
        title="not a server's address",
        body="'{found}' is not an address like http://HOST:PORT.",
        next="algo login http://127.0.0.1:8080",
    ),
    "remote-taken": Words(
        title="the remote algo is taken",
        body="The git remote algo points to {found}, not to {wanted}. Nothing was changed.",
        next="git remote set-url algo {wanted}, then algo create again; or git remote rename algo other",
        status=409,
    ),
    "bad-login-file": Words(
        title="login file cannot be read", body="{path} is damaged.", next="rm {path}, then algo login"
    ),
    "bad-token-file": Words(
        title="token file cannot be read", body="{path} cannot be read: {detail}.", next="algo login URL, and paste it"
    ),
    "bad-key-file": Words(
        title="key file cannot be read", body="{path} cannot be read: {detail}.", next="algo keys add FILE.pub"
    ),
    "no-key-file": Words(
        title="no key found", body="{folder} has none of {names}.", next="ssh-keygen -t ed25519, then algo keys add"
    ),
    "no-input": Words(
        title="no input", body="- reads DATA from stdin, which is a terminal.", next="algo call APP - < FILE"
    ),
    "git-absent": Words(title="git is not installed", body="The program git was not found.", next="install git"),
    "git-failed": Words(title="git failed", body="{command}: {detail}", next="mend the repository and try again"),
}
