"""What a reader sees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitserver.cli.output import age, render_table, safe, show_stream

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=0), "just now"),
        (timedelta(seconds=30), "30 seconds ago"),
        (timedelta(seconds=61), "1 minute ago"),
        (timedelta(minutes=5, seconds=59), "5 minutes ago"),
        (timedelta(hours=23), "23 hours ago"),
        (timedelta(days=2), "2 days ago"),
        (timedelta(days=45), "1 month ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(days=-3), "in 3 days"),
    ],
)
def test_an_age_is_told_in_words(ago: timedelta, words: str) -> None:
    assert age((NOW - ago).isoformat().replace("+00:00", "Z"), NOW) == words


def test_no_moment_has_no_age() -> None:
    assert age(None, NOW) == ""


def test_columns_are_aligned_and_lines_end_without_blanks() -> None:
    assert render_table([["*", "12", "Deploy 1", ""], [" ", "7", "Publish v1.2", "x"]]) == [
        "*  12  Deploy 1",
        "   7   Publish v1.2  x",
    ]
    assert render_table([]) == []


def test_text_of_the_server_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert safe("a\x1b[2Jb\x9bc\rd\ne\tf\x7f\x1b") == "abcd\ne\tf"
    show_stream(iter([b"one\0", b"\xc3", b"\xa4 \x1b]0;t\x07\n", b"\xff."]))
    assert capsys.readouterr().out == "one\u00e4 \n\ufffd."
