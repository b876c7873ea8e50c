"""Every way a build can fail has words, and no words are left without a way to fail."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from buildpacks.wording import Words
from buildpacks.words import WORDS

SOURCES = Path(__file__).parents[2] / "buildpacks"
_RAISED = re.compile(r"(?:BuildFailed|PackFailed|NotMine|LifecycleError)\(\s*(?:[A-Za-z]+\.[A-Z_]+,\s*)?\"([a-z-]+)\"")
RUNNERS = {"build-timeout", "build-memory", "cancelled"}  # raised by a target's runner
GIT_DOOR = {"buildpack-ref-missing", "buildpack-refused"}  # raised by gitserver.remote.packfetch


def raised() -> set[str]:
    text = "\n".join(path.read_text() for path in SOURCES.rglob("*.py"))
    return set(_RAISED.findall(text)) | set(re.findall(r'"code": "([a-z-]+)"', text)) | RUNNERS | GIT_DOOR


def test_every_code_that_is_raised_has_words_and_none_is_idle() -> None:
    assert raised() == set(WORDS)


@pytest.mark.parametrize(("code", "words"), sorted(WORDS.items()))
def test_words_are_short_enough_and_say_what_to_do(code: str, words: Words) -> None:
    fields = {name for _, name, _, _ in string.Formatter().parse(words.title + words.body + words.next) if name}
    filled = words.title.format_map(dict.fromkeys(fields, "x"))
    assert 0 < len(filled) <= 60
    assert words.body
    assert words.next
    assert words.move in {"pusher", "operator", "nobody"}
