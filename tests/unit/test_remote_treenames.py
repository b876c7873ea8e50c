"""Names and links of pushed trees, refused on paper before anything is on a disk."""

from __future__ import annotations

import pytest

from gitserver.errors import Problem
from gitserver.remote.objects import parse_tree_entries
from gitserver.remote.treenames import check_links, check_name


@pytest.mark.parametrize(
    "name",
    [
        b".git", b".GIT", b".Git", b"git~1", b"GIT~1", b".git ", b".git.", b".git...", b".git::$INDEX_ALLOCATION",
        ".g\u200cit".encode(), "\ufeff.git".encode(), b".git\\x",
        b"..", b".", b"", b"a/b", b"a\0b", b"a\nb", b"a\x1bb", b"\xff",
    ],
)  # fmt: skip
def test_sec_23_names_that_are_no_files_here_are_refused(name: bytes) -> None:
    with pytest.raises(Problem) as caught:
        check_name(name, "folder/")
    assert caught.value.failure.code == "bad-path"


@pytest.mark.parametrize("name", [b".gitignore", b".github", b"git~2", b"...", b"-x", "größe".encode(), b"a b", b"git"])
def test_ordinary_names_stay_as_they_are(name: bytes) -> None:
    assert check_name(name, "") == name.decode()


@pytest.mark.parametrize(
    "links",
    [
        {"a": "/etc/passwd"}, {"a": "../x"}, {"a": "b/../../x"}, {"d/a": "../../x"}, {"a": ""}, {"a": "a"},
        {"a": "b", "b": "a"}, {"a": "d/up/x", "d/up": "../.."}, {"a": "d", "d": "/tmp"},
        {"x/a": "l/../../..", "x/l": "y/z/.."},
        {"deep/er/a": "../../../x"}, {"a": "s/../../../x", "s": "q/w"},
    ],
)  # fmt: skip
def test_sec_23_links_that_leave_the_tree_are_refused(links: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        check_links(links)
    assert caught.value.failure.code == "symlink-outside"


def test_links_inside_the_tree_are_good_even_when_they_dangle() -> None:
    check_links({"a": "b/c", "d/a": "../b", "d/e": "./x/../y", "l": "d/e", "up/down": "../up/../d"})


def test_sec_22_a_damaged_tree_is_refused() -> None:
    for data in (b"100644 a", b"100644 a\0short", b"x a\0" + b"\1" * 20, b"100644a\0" + b"\1" * 20):
        with pytest.raises(Problem) as caught:
            parse_tree_entries(data)
        assert caught.value.failure.code == "bad-tree"


def test_a_tree_is_read_as_names_modes_and_ids() -> None:
    [entry] = parse_tree_entries(b"100755 run\0" + bytes.fromhex("ab" * 20))
    assert (entry.name, entry.mode, entry.oid) == (b"run", 0o100755, "ab" * 20)
