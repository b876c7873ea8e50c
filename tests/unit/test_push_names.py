"""Names from outside: what is refused, and what each ref means."""

from __future__ import annotations

import pytest

from gitserver.errors import Problem
from gitserver.push import AppName, RefClass, branch_slug, check_git_ref, classify, parse_app_path, parse_name

BAD_NAMES = [
    "", "-a", "a-", "a--b", "A", "a_b", "a.b", "a b", "app;id", "app$cmd", "`id`", "$(id)", "a\nb", "a\x00b", "é",
    "a" * 41, "../x", "a/b", ".git", "a\tb", "a'b", 'a"b', "a|b", "a>b", "a&b", "%2e%2e", "~root",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_sec_01_a_name_with_anything_but_letters_digits_and_single_dashes_is_refused(name: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_name(name, what="app")
    assert caught.value.failure.code == "bad-name"


def test_a_word_that_the_server_uses_in_addresses_is_no_owner() -> None:
    with pytest.raises(Problem):
        parse_name("api", what="owner")
    assert parse_name("api", what="app") == "api"


@pytest.mark.parametrize("path", ["/alice/iris.git", "alice/iris", "/alice/iris", "alice/iris.git/"])
def test_an_apps_path_may_be_written_in_the_forms_that_git_sends(path: str) -> None:
    assert parse_app_path(path) == AppName(owner="alice", app="iris")


@pytest.mark.parametrize("path", ["iris", "/alice/../iris", "/alice/iris/x", "//iris", "alice/iris.git.git", "", "/"])
def test_sec_06_a_path_that_is_not_owner_and_app_is_refused(path: str) -> None:
    with pytest.raises(Problem):
        parse_app_path(path)


@pytest.mark.parametrize(
    "git_ref",
    [
        "refs/heads/-h", "refs/heads/--upload-pack=x", "refs/heads/HEAD", "refs/heads/a..b", "refs/heads/a.lock",
        "refs/heads/a@{1}", "refs/heads/a b", "refs/heads/\x07", "refs/heads/", "refs/heads//a", "refs/heads/.a",
        "refs/notes/x", "HEAD", "main", "refs/heads/" + "a" * 300, "refs/heads/x/-y", "refs/heads/a:b",
        "refs/heads/a;b",
        "refs/heads/$(x)", "refs/heads/`x`", "refs/heads/a|b", "refs/heads/a'b", 'refs/tags/a"b', "refs/heads/a&b",
    ],
)  # fmt: skip
def test_sec_03_a_ref_that_could_be_an_option_a_command_or_breaks_gits_rules_is_refused(git_ref: str) -> None:
    with pytest.raises(Problem) as caught:
        check_git_ref(git_ref)
    assert caught.value.failure.code == "bad-ref"


@pytest.mark.parametrize("git_ref", ["refs/heads/ünïcode", "refs/heads/a+b", "refs/heads/a#1", "refs/tags/v1.2.0"])
def test_a_ref_with_odd_but_legal_characters_is_stored_as_it_is(git_ref: str) -> None:
    assert check_git_ref(git_ref) == git_ref


@pytest.mark.parametrize(
    ("git_ref", "meaning"),
    [
        ("refs/heads/main", RefClass.PRODUCTION),
        ("refs/heads/master", RefClass.PREVIEW),
        ("refs/heads/feature/x", RefClass.PREVIEW),
        ("refs/tags/v1", RefClass.VERSION),
        ("refs/heads/redeploy", RefClass.REDEPLOY),
        ("refs/tags/redeploy", RefClass.REDEPLOY),
        ("refs/tags/rollback", RefClass.ROLLBACK),
    ],
)
def test_a_ref_means_what_the_design_says(git_ref: str, meaning: RefClass) -> None:
    assert classify(git_ref) is meaning


def test_a_branch_is_written_without_slashes_in_addresses() -> None:
    assert branch_slug("feature/new/x") == "feature-new-x"
