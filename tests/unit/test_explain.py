"""The words: every failure that is raised has some, no code has two entries, and nothing from outside escapes."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from gitserver import explain
from gitserver.errors import Failure
from gitserver.words import PARTS, WORDS

ROOT = Path(__file__).resolve().parents[2]


def raised() -> dict[str, set[str]]:
    """code -> files that raise or make it, from the sources."""
    found: dict[str, set[str]] = {}
    for package in ("gitserver", "buildpacks", "runtime"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                first = node.args[0]
                if name in {"Problem", "BootFailed", "BuildFailed"} and isinstance(first, ast.Constant):
                    found.setdefault(str(first.value), set()).add(path.relative_to(ROOT).as_posix())
    return found


RAISED = raised()


@pytest.mark.parametrize("code", sorted(RAISED))
def test_a_failure_that_is_raised_has_words(code: str) -> None:
    assert explain.is_known(code), f"{code} of {sorted(RAISED[code])} has no entry in gitserver/words"


def test_no_code_has_two_entries() -> None:
    counts = Counter(code for part in PARTS for code in part.WORDS)
    assert [code for code, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("code", sorted(WORDS))
def test_an_entry_has_a_short_title_and_says_what_to_do(code: str) -> None:
    words = WORDS[code]
    assert len(words.title) <= 90
    assert words.body.strip().endswith((".", "}", ":", ")", "?"))
    assert words.next.strip()


def test_a_sentence_is_filled_with_the_fields_of_its_failure() -> None:
    failure = Failure(code="wrong-port", fields={"found": 5000, "expected": 41873})
    assert explain.title(failure) == "the web process listens on port 5000, not on $PORT"
    assert explain.lines(failure)[0].startswith(" !     The web process listens on port 5000;")
    assert explain.lines(failure)[-1].startswith(" !     Next: read the port from the variable PORT")


def test_a_field_that_is_missing_shows_as_its_name() -> None:
    assert explain.title(Failure(code="wrong-port")) == "the web process listens on port found, not on $PORT"


def test_a_code_without_words_is_told_as_an_error_of_the_server() -> None:
    status, document = explain.as_api(Failure(code="nobody-knows", fields={"x": 1}))
    assert (status, document["title"], document["move"]) == (500, "internal error", "operator")


def test_sec_08_terminal_escapes_and_control_bytes_never_reach_a_terminal() -> None:
    failure = Failure(
        code="load-failed", fields={"type": "E\x1b[31m", "message": "a\x07b\rc\nd"}, log=("x\x1b]0;t\x07y", "\x9b2J")
    )
    told = "\n".join([explain.title(failure), *explain.lines(failure), explain.sentence(failure)])
    assert not set(told) & set(map(chr, [*range(10), *range(11, 32), 127, *range(128, 160)]))


def test_long_fields_and_long_logs_are_cut() -> None:
    failure = Failure(code="load-failed", fields={"type": "E", "message": "m" * 5000}, log=("l" * 5000,) * 500)
    lines = explain.lines(failure)
    assert len(lines) < 30
    assert max(map(len, lines)) < 1000


def test_a_failure_survives_the_ledger() -> None:
    failure = Failure(code="start-crashed", fields={"how": "status 1", "known": ["a", 1, None]}, log=("x",))
    assert Failure.from_json(failure.as_json()) == failure
