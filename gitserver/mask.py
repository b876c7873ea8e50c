"""Secrets out of text: values of an app's configuration, as they are, in base64, and as a URL writes them.  Pure.

Why     a model that prints its environment must not publish its keys to everybody who reads a log over a shoulder
        (contracts/security.md row 53). Short and plain values stay: masking `1` or `warning` would ruin the log and
        hide nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

MASKED = b"[masked]"
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|AUTH|PRIVATE|DSN", re.IGNORECASE)
_PLAIN = re.compile(r"[a-z]+|[0-9.]+|true|false", re.IGNORECASE)
_MIN_SECRET, _MIN_OTHER = 4, 8
# They name files, folders, functions, choices and buildpacks, which a build's log has to say; a password in one of them
# is refused.
_SAID_ALOUD = frozenset(
    {
        "BP_APP_DIR", "BP_BUILDPACKS", "BP_CLASSIC_ENV", "BP_CLASSIC_STACK", "BP_CPU_BUILDS", "BP_ENTRYPOINT", "BP_GPU",
        "BP_MODEL_FILE", "BP_PICKLE_POLICY", "BP_REQUIREMENTS",
    }
)  # fmt: skip
_MAX_LINE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """What must not be seen, compiled; None masks nothing."""

    pattern: re.Pattern[bytes] | None

    def apply(self, data: bytes) -> bytes:
        """The same bytes with every secret replaced."""
        return data if self.pattern is None else self.pattern.sub(MASKED, data)

    def text(self, text: str) -> str:
        """The same for text."""
        return self.apply(text.encode(errors="surrogateescape")).decode(errors="surrogateescape")

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """Whole lines, and the unfinished one, which waits for its end unless it is very long."""
        end = data.rfind(b"\n") + 1
        if self.pattern is None or len(data) - end > _MAX_LINE:
            return data, b""
        return data[:end], data[end:]


def make_mask(*configs: Mapping[str, str]) -> Mask:
    """A mask for the values of these configurations that look like secrets, by their name or by themselves."""
    forms: set[bytes] = set()
    for config in configs:
        for name, value in config.items():
            if _is_secret(name, value):
                forms |= _forms(value)
    # Longest first, so that a secret within another one does not leave its rest readable
    ordered = sorted(forms, key=lambda form: (-len(form), form))
    return Mask(pattern=re.compile(b"|".join(map(re.escape, ordered))) if ordered else None)


def _is_secret(name: str, value: str) -> bool:
    if _SECRET_NAME.search(name):
        return len(value) >= _MIN_SECRET
    return name not in _SAID_ALOUD and len(value) >= _MIN_OTHER and not _PLAIN.fullmatch(value)


def _forms(value: str) -> set[bytes]:
    raw = value.encode(errors="surrogateescape")
    forms = {raw, quote(value, safe="", errors="replace").encode(), quote_plus(value, errors="replace").encode()}
    forms |= {line for line in raw.splitlines() if len(line) >= _MIN_OTHER}  # a PEM block is printed line by line
    # Inside a longer text, base64 of a value depends on its offset modulo 3: drop what the neighbours change
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(raw).rstrip(b"="))
        for offset in (1, 2):
            encoded = encode(b"\0" * offset + raw)
            forms.add(encoded[offset + 1 : -4] if len(encoded) > 12 else encoded)
    return {form for form in forms if len(form) >= _MIN_SECRET}
