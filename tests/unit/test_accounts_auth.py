"""Who is asking, and what they may do."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gitserver.accounts.auth import FAILED_LOGINS, parse_authorization
from gitserver.push import AppName
from tests.web_house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path) as one:
        yield one


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer T", "T"),
        ("bearer  T ", "T"),
        ("Simple T", "T"),
        ("T", "T"),
        (basic("alice:T"), "T"),
        (basic(":T"), "T"),
        (basic("alice:a:b"), "a:b"),
        (basic("alice"), None),
        (basic("alice:"), None),
        ("Basic ???", None),
        ("Basic " + base64.b64encode(b"a:\xff").decode(), None),
        ("Digest T", None),
        ("Bearer " + "x" * 5000, None),
    ],
)
def test_a_token_is_found_in_every_form_that_clients_send(header: str | None, token: str | None) -> None:
    assert parse_authorization(header) == token


def test_a_token_names_its_principal_and_nobody_else(house: House) -> None:
    assert house.accounts.authenticate_token(house.alices) == house.alice
    assert house.accounts.authenticate_token(house.bobs) == house.bob
    mixed = house.alices.rpartition("_")[0] + "_" + house.bobs.rpartition("_")[2]
    assert house.accounts.authenticate_token(mixed) is None


def test_a_revoked_or_expired_token_names_nobody(house: House) -> None:
    short = house.token(house.alice, 7, expires_at=house.clock.now + timedelta(days=1))
    assert house.accounts.authenticate_token(short) == house.alice
    house.clock.turn(days=1)
    assert house.accounts.authenticate_token(short) is None
    house.ledger.revoke_token(house.alice.id, house.alices.split("_")[1])
    assert house.accounts.authenticate_token(house.alices) is None


def test_a_key_names_its_principal(house: House) -> None:
    house.ledger.add_key(house.bob.id, fingerprint="SHA256:x", public_key="ssh-ed25519 x", label="")
    assert house.accounts.authenticate_key("SHA256:x") == house.bob
    assert house.accounts.authenticate_key("SHA256:y") is None
    assert house.accounts.authenticate_key("SHA256:") is None


@pytest.mark.parametrize("owner", ["alic", "lice", "alice2", "ALICE", "", "alice/..", " alice", "bob"])
def test_sec_09_only_the_whole_equal_name_may_push(house: House, owner: str) -> None:
    assert house.accounts.may_push(house.alice, AppName(owner="alice", app="iris"))
    assert not house.accounts.may_push(house.alice, AppName(owner=owner, app="iris"))


def test_sec_15_a_key_or_token_called_admin_gains_nothing(house: House) -> None:
    house.ledger.add_key(house.bob.id, fingerprint="SHA256:x", public_key="ssh-ed25519 x", label="admin")
    admin = house.accounts.authenticate_key("SHA256:x")
    assert admin == house.bob
    assert not house.accounts.may_push(admin, AppName(owner="admin", app="iris"))
    assert not house.accounts.may_push(admin, AppName(owner="alice", app="iris"))


def test_a_public_app_is_public_to_call_and_not_to_read(house: House) -> None:
    app = house.app()
    house.ledger.set_public(app.id, True)
    public = house.ledger.app(app.id)
    assert public is not None
    assert house.accounts.may_call(None, public)
    assert not house.accounts.may_read(None, public)
    assert not house.accounts.may_read(house.bob, public)
    assert not house.accounts.may_call(None, app)
    assert not house.accounts.may_call(house.bob, app)
    assert house.accounts.may_call(house.alice, app)


def test_failed_logins_of_one_address_are_slowed_and_those_of_others_are_not(house: House) -> None:
    waits = [house.accounts.note_failure("10.0.0.1") for _ in range(FAILED_LOGINS + 2)]
    assert waits == [0] * FAILED_LOGINS + [60, 60]
    assert house.accounts.note_failure("10.0.0.2") == 0
    house.clock.turn(seconds=50)
    assert house.accounts.note_failure("10.0.0.1") == 10
    house.clock.turn(seconds=61)
    assert house.accounts.note_failure("10.0.0.1") == 0
