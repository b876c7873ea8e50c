"""First start: an owner with a token, so that no page is ever open to whoever comes first.

The file `owner-token` in the state folder is written once. An operator who lost it, or whose token leaked, removes
the file and restarts: the old token is revoked and a new file is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from gitserver.accounts.tokens import RANDOM_BYTES, make_token
from gitserver.ledger.store import Ledger
from gitserver.settings import Settings

OWNER_TOKEN_FILE = "owner-token"  # noqa: S105 -- a file name
_LABEL = "first start"


def bootstrap(settings: Settings, ledger: Ledger, randomness: Callable[[int], bytes] = os.urandom) -> str | None:
    """Make the owner and its token when there is no token file; the text to print once, or None.

    Why     this token has no end: whoever can read the file can also read the ledger, and an owner who is locked out
            of the own machine after 90 days would have to remove the file anyway
    Raises  OSError when the state folder cannot be written
    """
    path = settings.state / OWNER_TOKEN_FILE
    owner = ledger.find_principal(settings.owner)
    if owner is not None and path.exists():
        return None
    # A new --owner on an old state folder needs a token as well: the file is then the new owner's.
    owner = owner or ledger.add_principal(settings.owner)
    for old in ledger.tokens(owner.id):
        if old.label == _LABEL and old.revoked_at is None:
            ledger.revoke_token(owner.id, old.id)
    new = make_token(randomness(RANDOM_BYTES))
    # The ledger first: a crash between the two leaves a token that nobody knows, and the next start makes another.
    # The other order would leave a file whose token never works.
    ledger.add_token(
        owner.id, token_id=new.id, secret_sha256=new.secret_sha256, label=_LABEL, last4=new.last4, expires_at=None
    )
    _write_secret(path, new.text + "\n")
    return (
        f"Owner {settings.owner}; the token, shown this once and kept in {path}:\n"
        f"  {new.text}\n"
        "Type next, in the folder of your model:\n"
        f"  algo login {settings.url} --token-file {path}\n"
        "  algo create\n"
        "  git push algo main"
    )


def _write_secret(path: Path, text: str) -> None:
    """A new file that only its owner can read from its first moment on, whole or absent after a crash."""
    pending = path.with_name(path.name + ".new")
    pending.unlink(missing_ok=True)  # left by a crash; nobody was told of it
    descriptor = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    pending.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
