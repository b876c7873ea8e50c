"""The door to dulwich: pkt-lines, capability lists, tree objects. Nothing else imports it.

Why     dulwich parses these formats well and strictly; its own receive handler does not (contracts/git.md
        section 2), so packs, connectivity and refs go to native git. Its errors are translated here at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dulwich.errors import GitProtocolError, HangupException, ObjectFormatException
from dulwich.objects import parse_tree
from dulwich.protocol import Protocol as DulwichProtocol
from dulwich.protocol import extract_capabilities, pkt_line

from gitserver.errors import Problem

FLUSH = b"0000"
MAX_PKT_BYTES = 65520  # with its four length digits, gitprotocol-common(5)
GITLINK_MODE = 0o160000
SYMLINK_MODE = 0o120000
DIRECTORY_MODE = 0o040000


def make_pkt(data: bytes) -> bytes:
    """Data as one pkt-line: four hex digits of length, then the data.

    Raises  ValueError above 65516 bytes, which only a bug of ours can ask for
    """
    if len(data) > MAX_PKT_BYTES - 4:
        raise ValueError("a pkt-line holds at most 65516 bytes")
    return pkt_line(data)


class PktReader:
    """Pkt-lines of a wire, read exactly: no byte behind a line is taken, for the pack follows the last flush."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._protocol = DulwichProtocol(self.read_exactly, _never_write)

    def read_exactly(self, size: int) -> bytes:
        """So many bytes, fewer only at the end of the stream."""
        first = self._read(size)
        if len(first) == size or not first:
            return first
        parts, missing = [first], size - len(first)
        while missing and (part := self._read(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def lines(self) -> Iterator[bytes]:
        """The lines up to the next flush.

        Raises  EOFError when the stream ends first (a client that left), Problem('bad-pkt-line') for a bad length
        """
        while True:
            try:
                line = self._protocol.read_pkt_line()
            except HangupException as error:
                raise EOFError from error
            except GitProtocolError as error:
                raise Problem("bad-pkt-line", detail=str(error)[:200]) from error
            if line is None:
                return
            yield line


def split_capabilities(line: bytes) -> tuple[bytes, frozenset[bytes]]:
    """`command NUL capabilities` -> both. Raises Problem('bad-pkt-line') for a second NUL."""
    try:
        command, capabilities = extract_capabilities(line)
    except ValueError as error:
        raise Problem("bad-pkt-line", detail="two capability lists in one line") from error
    return command, frozenset(filter(None, capabilities))


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One row of a tree object. name is bytes as pushed: not yet judged, never a path before it is."""

    name: bytes
    mode: int
    oid: str


def parse_tree_entries(data: bytes) -> list[TreeEntry]:
    """The entries of a raw tree object, in stored order. Raises Problem('bad-tree')."""
    try:
        return [TreeEntry(name, mode, sha.decode("ascii")) for name, mode, sha in parse_tree(data, 20)]
    except (ObjectFormatException, ValueError) as error:
        raise Problem("bad-tree", detail=str(error)[:200]) from error


def _never_write(data: bytes) -> None:
    raise AssertionError(f"the reader never writes, asked for {len(data)} bytes")
