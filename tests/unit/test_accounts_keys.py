"""Public keys as OpenSSH writes them; the expected fingerprints are those of ssh-keygen -lf."""

from __future__ import annotations

import base64

import pytest

from gitserver.accounts.keys import parse_public_key
from gitserver.errors import Problem

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM+D4nNyJhR9wRUhvqrNuUkg2hQiCyMbabqv8IdyXEZg alice@laptop"
ECDSA = (
    "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAG7UIGMT0BZRwwUmUT4w6eVnKPd"
    "EyWd1YItahZtgl2wFLLVblSq/DYVRZRask0qyUxo9oSLbpOAlnWjaWhFA3Ze7wCY0qQ/mDGNciNJfGXXjEGNaAlfME1IZS5McO/6"
    "kCk+0mfg8u5z41z37YGMMhYLZeMDGXOTvo119+1cuiLq3ib93A== ec"
)
RSA = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC/vy9RWQl9BAi6dbauDSHwW0ymrafR3uHEilX+QNA8PolbVsBeQ6kxVRoWbRI+"
    "arY9mRwHyv7MOCBsUEhCVgyVL+g1Vm1kE6teGA0PuAfHJCatJzEhGLcb95NWrS3DTKVteXfwk0MUQxxr2v5FnIgfuJDrdn+9Qt/K"
    "F9vtMddLnwSLsMjsnXr+9khK42yU3bhBPsGHWeCEKknnlRD5UmRiNmrllrOpMAA2mmu1sbHN3SNgxEzwt29FdGtCwBzwD/MuZUaQ"
    "CByNCPiDG4J9mtcRQfq6LUzFD3fu0L4Et5kHcqpL1BO+XBfno5XpjZuU5Ku9eUjJxuLW58usAa/s86up rsa key"
)
RSA_1024 = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDOLZ1axFeF6efGduFhqT5DwNKEjbGOExp9RnOIXPBzwlo9EE+Rwc8aaTusr6e3"
    "Z1lJrM38Wv7cqjzeTKfrprAofxEZhtx4BFDt+Y32S178Kn1Xx8IWRkoJQD25OqKZYY4KA/uqibmcX7fcgxDaj3nwydMQOVnXr7XC"
    "qXRO4dQuww== weak"
)


@pytest.mark.parametrize(
    ("line", "fingerprint", "comment"),
    [
        (ED25519, "SHA256:SBV9IICR97smsoKQQim0zWKDZXanTLbZ9ZKUDW/5ARk", "alice@laptop"),
        (ECDSA, "SHA256:oC/ixeREp+V/RhyemgXiwuy3UH7pxfn3bAxA6bplWic", "ec"),
        (RSA, "SHA256:2swzfdv1xpx1KW2kmFX+HTqbH1pbf7exnCUBCVXSj/w", "rsa key"),
    ],
)
def test_a_key_has_the_fingerprint_that_openssh_gives_it(line: str, fingerprint: str, comment: str) -> None:
    key = parse_public_key(line + "\n")
    assert (key.fingerprint, key.comment) == (fingerprint, comment)
    assert key.text == " ".join(line.split(" ")[:2])


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _line(kind: str, *fields: bytes) -> str:
    blob = b"".join(map(_string, (kind.encode(), *fields)))
    return f"{kind} {base64.b64encode(blob).decode()}"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "the key type and the key disagree"),
        ("hello", "the key type and the key disagree"),
        ("ssh-ed25519 %%%", "the part after the key type is not base64"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "the key type and the key disagree"),
        (RSA_1024, "an RSA key of 1024 bits is too short"),
        (_line("ssh-dss", b"x"), "keys of type ssh-dss are not accepted"),
        (_line("ssh-ed25519", b"x" * 31), "the key is damaged"),
        (_line("ssh-ed25519", b"x" * 32, b"more"), "the key is damaged"),
        (_line("ecdsa-sha2-nistp256", b"nistp384", b"\x04" * 65), "the key is damaged"),
        (_line("ecdsa-sha2-nistp256", b"nistp256", b"\x02" * 65), "the key is damaged"),
        (ED25519.rpartition(" ")[0][:-4], "the key is cut short"),
        ('command="sh" ' + ED25519, "the part after the key type is not base64"),
        (ED25519 + "\n" + ED25519, "one line is expected"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "this is a private key; register the file that ends in .pub"),
    ],
)
def test_what_is_no_good_key_is_refused_with_the_reason(line: str, reason: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_public_key(line)
    assert caught.value.failure.code == "bad-key"
    assert caught.value.failure.fields["reason"] == reason
