"""What a client asks for in one push: shallow lines, commands, options, as bytes until they are judged. Pure.

Source  gitprotocol-pack(5), "Reference Update Request and Packfile Transfer"
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from gitserver.errors import Json, Problem
from gitserver.push import ZERO_OID
from gitserver.remote.objects import PktReader, split_capabilities

MAX_COMMANDS = 1000
MAX_OPTIONS = 20
MAX_OPTION_BYTES = 1024
MAX_SHALLOW = 10_000
OPTIONS = ("with-config", "rollback", "detach", "upgrade")
_COMMAND = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ([^\x00\n]+)\n?")
_SHALLOW = re.compile(rb"shallow ([0-9a-f]{40})\n?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One ref command. git_ref is bytes as sent: it is echoed in the report whatever it is."""

    git_ref: bytes
    old: str
    new: str

    @property
    def is_delete(self) -> bool:
        """The client asks for the ref to go."""
        return self.new == ZERO_OID


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequest:
    """A whole request. problem: it breaks a limit or the protocol, and every ref has to be refused for it."""

    commands: tuple[Command, ...]
    shallow: tuple[str, ...]
    capabilities: frozenset[bytes]
    options: tuple[bytes, ...]
    problem: Problem | None

    @property
    def expects_pack(self) -> bool:
        """A pack follows unless everything is a delete."""
        return any(not command.is_delete for command in self.commands)

    def wants(self, capability: bytes) -> bool:
        """Whether the client switched a capability on."""
        return capability in self.capabilities


class _Line(Enum):
    SHALLOW = "shallow"
    COMMAND = "command"


def read_request(reader: PktReader) -> PushRequest | None:
    """Read up to where the pack begins; None when there is nothing to push (F13: a flush, or the end).

    Raises  EOFError when the client leaves in the middle, Problem('bad-pkt-line' | 'bad-command')
    """
    commands: list[Command] = []
    shallow: list[str] = []
    capabilities: frozenset[bytes] = frozenset()
    count = 0
    try:
        for line in reader.lines():
            if line.startswith(b"shallow "):
                shallow.append(_parse(_SHALLOW, line, _Line.SHALLOW)[0].decode("ascii"))
                if len(shallow) > MAX_SHALLOW:
                    raise Problem("bad-command", found="too many shallow lines")
                continue
            text, found = split_capabilities(line)
            capabilities = capabilities or found
            old, new, git_ref = _parse(_COMMAND, text, _Line.COMMAND)
            count += 1
            if count <= MAX_COMMANDS:  # the rest is read and forgotten: memory has a limit, the client gets its answer
                commands.append(Command(git_ref=git_ref, old=old.decode("ascii"), new=new.decode("ascii")))
    except EOFError:
        if commands or shallow:
            raise
        return None
    if not commands:
        return None
    options, problem = _read_options(reader) if b"push-options" in capabilities else ((), None)
    if count > MAX_COMMANDS:
        problem = Problem("too-many-refs", found=count, limit=MAX_COMMANDS)
    return PushRequest(
        commands=tuple(commands),
        shallow=tuple(shallow),
        capabilities=capabilities,
        options=options,
        problem=problem or _format_problem(capabilities),
    )


def parse_options(options: Sequence[bytes]) -> Mapping[str, str]:
    """Push options -> what a build remembers. Only whole words of the list; never a value, never an environment.

    Raises  Problem('bad-push-option', found=, known=)
    """
    chosen = {}
    for option in options:
        text = option.decode(errors="replace")
        if text not in OPTIONS:
            known: list[Json] = list(OPTIONS)
            raise Problem("bad-push-option", found=text[:80], known=known)
        chosen[text] = "true"
    return chosen


def _read_options(reader: PktReader) -> tuple[tuple[bytes, ...], Problem | None]:
    options: list[bytes] = []
    problem = None
    for line in reader.lines():
        option = line.removesuffix(b"\n")
        if len(options) == MAX_OPTIONS or len(option) > MAX_OPTION_BYTES:
            problem = Problem("too-many-options", limit=MAX_OPTIONS, limit_bytes=MAX_OPTION_BYTES)
        else:
            options.append(option)
    return tuple(options), problem


def _format_problem(capabilities: frozenset[bytes]) -> Problem | None:
    for capability in capabilities:
        if capability.startswith(b"object-format=") and capability != b"object-format=sha1":
            return Problem("bad-object-format", found=capability[14:].decode(errors="replace")[:40])
    return None


def _parse(pattern: re.Pattern[bytes], line: bytes, what: _Line) -> tuple[bytes, ...]:
    match = pattern.fullmatch(line)
    if match is None:
        raise Problem("bad-command", found=f"a {what.value} line: {line[:120].decode(errors='replace')}")
    return match.groups()
