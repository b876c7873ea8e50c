"""Tokens: made from randomness, known by a hash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitserver.accounts.tokens import hash_secret, is_good, make_token, parse_token
from gitserver.ledger.records import Token

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NEW = make_token(bytes(range(40)))


def stored(**changes: datetime | None) -> Token:
    times = {"expires_at": None, "revoked_at": None, **changes}
    return Token(
        id=NEW.id,
        principal_id=1,
        secret_sha256=NEW.secret_sha256,
        label="",
        last4=NEW.last4,
        created_at=NOW,
        expires_at=times["expires_at"],
        revoked_at=times["revoked_at"],
    )


def test_a_token_is_its_randomness_in_hex() -> None:
    secret = bytes(range(8, 40)).hex()
    assert NEW.text == f"algo_0001020304050607_{secret}"
    assert (NEW.id, NEW.last4, NEW.secret_sha256) == ("0001020304050607", "2627", hash_secret(secret))


def test_a_token_of_too_little_randomness_is_not_made() -> None:
    with pytest.raises(ValueError, match="40 random bytes"):
        make_token(b"x" * 39)


def test_the_secret_is_not_in_the_repr() -> None:
    assert repr(NEW) == "NewToken(id='0001020304050607', last4='2627')"


@pytest.mark.parametrize(
    "text",
    ["", "algo_", NEW.text + "0", NEW.text[:-1], NEW.text.upper(), " " + NEW.text, NEW.text + "\n", "algo_é_é"],
)
def test_what_is_not_exactly_a_token_is_none(text: str) -> None:
    assert parse_token(text) is None


def test_a_good_token_is_good_until_the_moment_it_ends() -> None:
    _, secret = parse_token(NEW.text) or ("", "")
    assert is_good(stored(), secret, NOW)
    assert is_good(stored(expires_at=NOW + timedelta(seconds=1)), secret, NOW)
    assert not is_good(stored(expires_at=NOW), secret, NOW)
    assert not is_good(stored(revoked_at=NOW), secret, NOW)
    assert not is_good(stored(), secret[:-1] + "0", NOW)
    assert not is_good(None, secret, NOW)
    assert not is_good(None, "", NOW)
