"""Docker's own configuration as the source of logins, and the secrets that stay unsaid."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pytest

from buildpacks.image.credentials import Credentials, find_credentials
from buildpacks.order import BuildFailed


def config(folder: Path, **document: object) -> Path:
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "key", ["host.example", "https://host.example", "https://host.example/v1/", "http://host.example/v2/"]
)
def test_a_login_is_found_under_every_name_that_docker_wrote_it(tmp_path: Path, key: str) -> None:
    folder = config(tmp_path, auths={key: {"auth": encoded("alice:pw:with:colons")}})
    assert find_credentials(folder, "host.example") == Credentials(user="alice", password="pw:with:colons")
    assert find_credentials(folder, "other.example") is None


def test_the_default_registry_has_a_name_of_its_own(tmp_path: Path) -> None:
    folder = config(tmp_path, auths={"https://index.docker.io/v1/": {"auth": encoded("a:b")}})
    assert find_credentials(folder, "docker.io") == Credentials(user="a", password="b")


def test_an_identity_token_is_taken(tmp_path: Path) -> None:
    folder = config(tmp_path, auths={"h.example": {"auth": encoded("a:"), "identitytoken": "t0ken"}})
    found = find_credentials(folder, "h.example")
    assert found is not None
    assert (found.user, found.identity_token) == ("a", "t0ken")


def test_no_folder_no_file_and_no_entry_are_no_login(tmp_path: Path) -> None:
    assert find_credentials(None, "h.example") is None
    assert find_credentials(tmp_path, "h.example") is None
    assert find_credentials(config(tmp_path, auths={"h.example": {}}), "h.example") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"h.example": {"auth": "s3cret"}}}'])
def test_a_file_that_cannot_be_read_is_told_with_its_name_and_without_its_content(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BuildFailed) as failed:
        find_credentials(tmp_path, "h.example")
    assert failed.value.fields["file"] == str(tmp_path / "config.json")
    assert "s3cret" not in str(failed.value)


def test_a_secret_is_in_no_repr() -> None:
    assert "pw" not in repr(Credentials(user="a", password="pw", identity_token="pw"))


# -- helpers -----------------------------------------------------------------------------------------------------------


def helper(folder: Path, body: str) -> None:
    path = folder / "docker-credential-unit"
    path.write_text(f"#!{sys.executable}\nimport sys\nserver = sys.stdin.read()\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_a_helper_of_the_registry_is_asked_before_the_store_of_all(on_path: Path) -> None:
    helper(on_path, 'print(\'{"Username": "of " , "Secret": "x"}\'.replace(\'of \', server))')
    folder = config(on_path, credHelpers={"h.example": "unit"}, credsStore="nobody-has-this")
    assert find_credentials(folder, "h.example") == Credentials(user="h.example", password="x")


def test_a_helper_that_has_nothing_leaves_the_file_to_be_asked(on_path: Path) -> None:
    helper(on_path, "print('credentials not found in native keychain'); sys.exit(1)")
    folder = config(on_path, credsStore="unit", auths={"h.example": {"auth": encoded("a:b")}})
    assert find_credentials(folder, "h.example") == Credentials(user="a", password="b")


def test_a_helpers_token_is_an_identity_token(on_path: Path) -> None:
    helper(on_path, 'print(\'{"Username": "<token>", "Secret": "t0ken"}\')')
    found = find_credentials(config(on_path, credsStore="unit"), "h.example")
    assert found is not None
    assert (found.identity_token, found.password) == ("t0ken", "")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('s3cret'); sys.exit(3)", "it ended with status 3"),
        ("print('s3cret')", "its answer is no JSON"),
    ],
)
def test_a_helper_that_fails_is_told_without_what_it_wrote(on_path: Path, body: str, message: str) -> None:
    helper(on_path, body)
    with pytest.raises(BuildFailed) as failed:
        find_credentials(config(on_path, credsStore="unit"), "h.example")
    assert failed.value.fields["helper"] == "docker-credential-unit"
    assert failed.value.fields["message"] == message
    assert "s3cret" not in str(failed.value)


@pytest.mark.parametrize("name", ["missing-helper", "../evil", "a b", "-x"])
def test_a_helper_that_is_not_there_or_no_program_is_told(on_path: Path, name: str) -> None:
    with pytest.raises(BuildFailed, match="credential-helper-failed"):
        find_credentials(config(on_path, credsStore=name), "h.example")
