"""Secrets do not come through a mask, in whatever form they are printed."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitserver.mask import make_mask

DOCS = Path(__file__).parents[2] / "docs"
SECRET = "CANARY p@ss/wörd+1"
RAW = SECRET.encode()


@pytest.mark.parametrize(
    "printed",
    [
        RAW,
        quote(SECRET, safe="").encode(),
        quote_plus(SECRET).encode(),
        base64.b64encode(RAW),
        base64.urlsafe_b64encode(RAW),
        base64.b64encode(b"user:" + RAW),
        base64.b64encode(b"ab" + RAW + b"tail"),
        base64.b64encode(b"abc" + RAW),
    ],
)
def test_sec_53_a_secret_is_masked_in_every_form(printed: bytes) -> None:
    masked = make_mask({"DB_PASSWORD": SECRET}).apply(b"<" + printed + b">")
    assert b"[masked]" in masked
    assert RAW not in masked
    longest = max(len(piece) for piece in masked.strip(b"<>").split(b"[masked]"))
    assert longest <= 12  # what base64 mixes with its neighbours


@pytest.mark.parametrize(("name", "value"), [("WORKERS", "1"), ("LEVEL", "warning"), ("MODE", "production"), ("K", "")])
def test_plain_values_stay_readable(name: str, value: str) -> None:
    text = b"1 warning in production"
    assert make_mask({name: value}).apply(text) == text


def test_what_names_files_and_buildpacks_is_said_aloud() -> None:
    config = {"BP_BUILDPACKS": "https://example.com/a/b#v1", "BP_TORCH_INDEX": "https://me:secret@example.com/x"}
    printed = "".join(config.values()).encode()
    assert make_mask(config).apply(printed) == config["BP_BUILDPACKS"].encode() + b"[masked]"


def test_every_setting_that_users_are_told_of_is_said_aloud_unless_it_may_hold_a_password() -> None:
    pages = [*(DOCS / "users").glob("*.md"), *(DOCS / "buildpacks").glob("*.md"), DOCS / "cli.md"]
    told = {name for page in pages for name in re.findall(r"\bBP_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8"))}
    masked = {name for name in told if make_mask({name: "services/iris"}).pattern is not None}
    assert {"BP_APP_DIR", "BP_REQUIREMENTS"} <= told - masked
    assert masked <= {"BP_EXTRA_INDEX_URL", "BP_INDEX_URL", "BP_NETRC", "BP_TORCH_INDEX"}


def test_a_value_that_looks_like_a_secret_is_masked_under_any_name() -> None:
    assert make_mask({"MODE": "x7Gh-22kQ"}).apply(b"x7Gh-22kQ") == b"[masked]"


def test_a_secret_within_a_secret_leaves_no_rest() -> None:
    assert make_mask({"KEY": "abcd", "TOKEN": "abcdefgh"}).apply(b"abcdefgh abcd") == b"[masked] [masked]"


@given(st.lists(st.integers(1, 40), max_size=6))
def test_a_secret_cut_by_chunks_is_masked(cuts: list[int]) -> None:
    mask = make_mask({"KEY": "s3cret-value"})
    text, sent, rest = b"one s3cret-value\ntwo s3cret-value three\nend s3cret-value", b"", b""
    position = 0
    for cut in [*cuts, len(text)]:
        whole, rest = mask.split(rest + text[position : position + cut])
        position += cut
        sent += mask.apply(whole)
    sent += mask.apply(rest)
    assert sent == text.replace(b"s3cret-value", b"[masked]")
