"""Where a git remote leads, read from its address."""

from __future__ import annotations

import pytest

from gitserver.cli.checkout import parse_remote


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8080/alice/iris.git", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/alice/iris", "http://127.0.0.1:8080"),
        ("http://alice@Host:8080/alice/iris.git", "http://host:8080"),
        ("https://example.org/algo/alice/iris.git", "https://example.org/algo"),
        ("ssh://git@127.0.0.1:2222/alice/iris.git", None),
        ("git@example.org:alice/iris.git", None),
    ],
)
def test_a_remote_names_a_server_and_an_app(url: str, base: str | None) -> None:
    remote = parse_remote(url)
    assert remote is not None
    assert (str(remote.app), remote.base) == ("alice/iris", base)


@pytest.mark.parametrize("url", ["", "/srv/git/x", "../x", "file:///alice/iris", "http://h/iris", "http://h/A/b.git"])
def test_another_products_remote_is_none(url: str) -> None:
    assert parse_remote(url) is None
