"""What may be asked for over SSH: four words and a path, nothing else. Pure.

Why     a command line that is split like a shell's has been the way in for many (CVE-2017-8386); this is a pattern that
        matches whole lines, and everything that it does not match is refused
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from gitserver.errors import Problem
from gitserver.push import AppName, parse_app_path

_PATH = r"(?:'(?P<quoted>[^'\s\\]{1,200})'|(?P<bare>[^'\"\s\\]{1,200}))"
_COMMAND = re.compile(rf"git[- ](?P<verb>receive-pack|upload-pack) {_PATH}", re.ASCII)
_LFS = re.compile(r"git-lfs-(?:authenticate|transfer) [^\n]*", re.ASCII)


class Verb(StrEnum):
    """The two halves of git's protocol."""

    RECEIVE = "receive-pack"
    UPLOAD = "upload-pack"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshCommand:
    """An exec request that may be answered."""

    verb: Verb
    app_name: AppName


def parse_ssh_command(line: str | None) -> SshCommand:
    """`git-receive-pack '/alice/iris.git'` -> what is asked for.

    line    None: a shell was asked for
    Raises  Problem('ssh-no-shell' | 'ssh-no-lfs' | 'ssh-bad-command' | 'bad-app-path' | 'bad-name')
    """
    if line is None:
        raise Problem("ssh-no-shell")
    match = _COMMAND.fullmatch(line)
    if match is None:
        raise Problem("ssh-no-lfs" if _LFS.fullmatch(line) else "ssh-bad-command", found=line[:120])
    return SshCommand(verb=Verb(match["verb"]), app_name=parse_app_path(match["quoted"] or match["bare"]))
