"""The last word on every ref, as pkt-lines: `unpack`, then `ok` or `ng`. Pure.

Source  gitprotocol-pack(5), "Report Status"; report-status-v2's option lines since git 2.29
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gitserver.push import ZERO_OID
from gitserver.remote.objects import FLUSH, MAX_PKT_BYTES, make_pkt
from gitserver.remote.request import Command
from gitserver.remote.sideband import clean_line

_MAX_TEXT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class RefReport:
    """One ref's end. cause: the text of `ng`, empty for `ok`.

    moved_ref, old, new  what moved instead of the pushed ref: a redeploy is about main, a rollback about what serves
    """

    command: Command
    cause: str
    moved_ref: str = ""
    old: str = ZERO_OID
    new: str = ZERO_OID


def make_report(reports: Sequence[RefReport], *, unpack_error: str, is_v2: bool) -> bytes:
    """The whole report. unpack_error: empty, or why nothing of the push could be used."""
    lines = [b"unpack " + (clean_line(unpack_error).encode()[:_MAX_TEXT] or b"ok") + b"\n"]
    for report in reports:
        if report.cause:
            lines.append(_refusal(report.command.git_ref, report.cause))
        else:
            lines.append(b"ok " + report.command.git_ref + b"\n")
            lines += _options(report) if is_v2 else []
    return b"".join(map(make_pkt, lines)) + FLUSH


def _refusal(git_ref: bytes, cause: str) -> bytes:
    text = clean_line(cause).encode()[:_MAX_TEXT].decode(errors="ignore").encode()
    return b"ng " + git_ref[: MAX_PKT_BYTES - _MAX_TEXT - 16] + b" " + text + b"\n"


def _options(report: RefReport) -> list[bytes]:
    """Only what differs from the command: the client fills the rest from what it sent (F9)."""
    lines = []
    if report.moved_ref:
        lines.append(f"option refname {report.moved_ref}\n")
    if ZERO_OID not in (report.old, report.new):
        if report.old != report.command.old:
            lines.append(f"option old-oid {report.old}\n")
        if report.new != report.command.new:
            lines.append(f"option new-oid {report.new}\n")
    return [line.encode() for line in lines]
