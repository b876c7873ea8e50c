"""Where tokens are kept, and for whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitserver.cli.login_file import DEFAULT_URL, Login, parse_url, read_logins, write_login
from gitserver.errors import Problem

ONE, TWO = "http://127.0.0.1:8080", "https://models.example.org"


def test_without_a_file_the_usual_address_is_meant_and_nobody_is_signed_in(tmp_path: Path) -> None:
    logins = read_logins({"HOME": str(tmp_path)})
    assert (logins.url, logins.find()) == (DEFAULT_URL, None)


def test_sec_54_the_file_is_readable_by_its_owner_alone_and_the_last_login_is_meant(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    old = os.umask(0)
    try:
        write_login(read_logins(environ), Login(url=ONE, token="t1", name="alice"))
        write_login(read_logins(environ), Login(url=TWO, token="t2", name="bob"))
    finally:
        os.umask(old)
    path = tmp_path / ".config/algo/login.json"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["git-credentials", "login.json"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    logins = read_logins(environ)
    assert logins.find() == Login(url=TWO, token="t2", name="bob")
    assert logins.find(ONE) == Login(url=ONE, token="t1", name="alice")


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    write_login(read_logins(environ), Login(url=ONE, token="t1", name="alice"))
    assert read_logins({**environ, "ALGO_TOKEN": "env"}).find() == Login(url=ONE, token="env", name="")
    both = read_logins({**environ, "ALGO_TOKEN": "env", "ALGO_URL": TWO + "/"})
    assert both.find() == Login(url=TWO, token="env", name="")
    assert read_logins({**environ, "ALGO_URL": TWO}).find() is None


def test_the_environments_token_goes_to_no_other_server(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "ALGO_TOKEN": "env", "ALGO_URL": TWO}
    assert read_logins(environ).find(ONE) is None


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("http://127.0.0.1:8080/", ONE),
        (" HTTPS://Models.Example.org ", TWO),
        ("https://example.org/algo/", "https://example.org/algo"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_address_is_kept_in_one_form(typed: str, kept: str) -> None:
    assert parse_url(typed) == kept


@pytest.mark.parametrize(
    "typed", ["", "localhost:8080", "ftp://x", "http://", "http://x:port", "http://a:b@x", "http://x?y", "-x"]
)
def test_what_is_no_address_is_refused(typed: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_url(typed)
    assert caught.value.failure.code == "bad-url"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"current": null}', '{"current": 1, "servers": {"x": {}}}'])
def test_a_damaged_file_is_told_and_not_overlooked(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".config/algo/login.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(Problem) as caught:
        read_logins({"HOME": str(tmp_path)})
    assert caught.value.failure.fields == {"path": str(path)}
