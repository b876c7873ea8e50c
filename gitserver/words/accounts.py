"""Words for who may do what."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.words.entry import Words

WORDS: Mapping[str, Words] = {
    "principal-exists": Words(title="name taken", body="{name} is taken.", next="choose another name", status=409),
    "key-taken": Words(
        title="key already registered",
        body="The key {fingerprint} is registered already; a key names one account.",
        next="ssh-keygen -t ed25519, then algo keys add the new one",
        status=409,
    ),
    "app-exists": Words(title="app exists", body="{app} exists already.", next="git push algo main", status=409),
}
