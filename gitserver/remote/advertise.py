"""What a push is told first: branches, what we have, what we can.

Why     tags are not advertised: git sends nothing for a ref that it sees already at the right place, so a known tag,
        which means "roll back", would never arrive (contracts/git.md D5, F1). Their objects go as `.have` lines (F21).
"""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.push import ZERO_OID
from gitserver.remote.objects import FLUSH, make_pkt
from gitserver.remote.refs import Ref

AGENT = b"algopush/0.1.0"
CAPABILITIES = (
    b"report-status report-status-v2 delete-refs side-band-64k ofs-delta atomic push-options quiet "
    b"object-format=sha1 agent=" + AGENT
)
_MAX_HAVE = 1000  # newest tags are the likeliest to help; the client's memory is not ours to fill
_BRANCHES = "refs/heads/"


def make_advertisement(refs: Mapping[str, Ref]) -> bytes:
    """Pkt-lines for git-receive-pack, ended by a flush.

    refs  every branch and tag by full name; {} for an app that has no repository yet
    """
    rows = [f"{ref.oid} {name}" for name, ref in sorted(refs.items()) if name.startswith(_BRANCHES)]
    told = {ref.oid for name, ref in refs.items() if name.startswith(_BRANCHES)}
    for name, ref in reversed(list(refs.items())):
        if name.startswith(_BRANCHES) or len(told) >= len(rows) + _MAX_HAVE:
            continue
        for oid in (ref.oid, ref.peeled):
            if oid not in told:
                told.add(oid)
                rows.append(f"{oid} .have")
    first, *rest = rows or [f"{ZERO_OID} capabilities^{{}}"]
    lines = [first.encode() + b"\0" + CAPABILITIES + b"\n", *(row.encode() + b"\n" for row in rest)]
    return b"".join(map(make_pkt, lines)) + FLUSH
