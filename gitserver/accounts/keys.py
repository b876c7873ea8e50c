"""OpenSSH public keys as people paste them: checked, and named by their fingerprint.  Pure.

Why     an own parser of forty lines instead of the SSH library: the web process must not load a whole SSH stack to
        read one line, and a key that is stored must be one that the SSH front accepts
Source  RFC 4253 6.6 (ssh-rsa), RFC 5656 3.1 (ecdsa), RFC 8709 4 (ed25519), sshd(8) AUTHORIZED_KEYS FILE FORMAT
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from gitserver.errors import Problem

MIN_RSA_BITS = 2048
_MAX_LINE = 16 * 1024
_MAX_RSA_BITS = 16_384
_ECDSA_POINT_BYTES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}  # SEC 1 uncompressed: 0x04 x y
_ALLOWED = "ssh-ed25519, ecdsa-sha2-nistp256/384/521, or ssh-rsa of 2048 bits or more"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A good public key. text is `type base64`, without the comment; fingerprint is OpenSSH's `SHA256:...`."""

    kind: str
    text: str
    comment: str
    fingerprint: str


def parse_public_key(line: str) -> PublicKey:
    """Read one line of a `.pub` file. Raises Problem('bad-key', reason, allowed)."""
    line = line.strip()
    if len(line) > _MAX_LINE or "\n" in line or "\r" in line or "\0" in line:
        raise _bad("one line is expected")
    if "PRIVATE KEY" in line:
        raise _bad("this is a private key; register the file that ends in .pub")
    kind, _, rest = line.partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("the part after the key type is not base64") from error
    fields = _read_strings(blob)
    if not fields or fields[0] != kind.encode():
        raise _bad("the key type and the key disagree")
    _check_strength(kind, fields)
    digest = base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()
    return PublicKey(
        kind=kind,
        text=f"{kind} {base64.b64encode(blob).decode()}",
        comment=comment.strip(),
        fingerprint=f"SHA256:{digest}",
    )


def _check_strength(kind: str, fields: list[bytes]) -> None:
    if kind == "ssh-ed25519":
        good = len(fields) == 2 and len(fields[1]) == 32
    elif kind == "ssh-rsa":
        bits = int.from_bytes(fields[2], "big").bit_length() if len(fields) == 3 else 0
        if 0 < bits < MIN_RSA_BITS:
            raise _bad(f"an RSA key of {bits} bits is too short")
        good = MIN_RSA_BITS <= bits <= _MAX_RSA_BITS
    elif kind.startswith("ecdsa-sha2-") and kind.removeprefix("ecdsa-sha2-") in _ECDSA_POINT_BYTES:
        curve = kind.removeprefix("ecdsa-sha2-")
        good = (
            len(fields) == 3
            and fields[1] == curve.encode()
            and len(fields[2]) == _ECDSA_POINT_BYTES[curve]
            and fields[2][:1] == b"\x04"
        )
    else:
        raise _bad(f"keys of type {kind[:60]} are not accepted")
    if not good:
        raise _bad("the key is damaged")


def _read_strings(blob: bytes) -> list[bytes]:
    """RFC 4251 5: each string is 4 bytes of length, big-endian, and so many bytes. The blob must end with one."""
    fields, position = [], 0
    while position < len(blob):
        end = position + 4 + int.from_bytes(blob[position : position + 4], "big")
        if position + 4 > len(blob) or end > len(blob):
            raise _bad("the key is cut short")
        fields.append(blob[position + 4 : end])
        position = end
    return fields


def _bad(reason: str) -> Problem:
    return Problem("bad-key", reason=reason, allowed=_ALLOWED)
