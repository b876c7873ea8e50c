"""The first start: one owner, one token, one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitserver.accounts.auth import Accounts
from gitserver.accounts.bootstrap import bootstrap
from gitserver.ledger.store import Ledger
from gitserver.settings import Settings
from tests.web_house import make_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    one = Ledger.open(settings.ledger_url)
    yield one
    one.close()


def test_the_first_start_prints_the_token_and_the_three_lines_to_type(settings: Settings, ledger: Ledger) -> None:
    text = bootstrap(settings, ledger, lambda size: b"\x01" * size)
    token = f"algo_{'01' * 8}_{'01' * 32}"
    path = settings.state / "owner-token"
    assert text == (
        f"Owner alice; the token, shown this once and kept in {path}:\n"
        f"  {token}\n"
        "Type next, in the folder of your model:\n"
        f"  algo login http://127.0.0.1:8080 --token-file {path}\n"
        "  algo create\n"
        "  git push algo main"
    )
    assert path.read_text() == token + "\n"
    owner = Accounts(ledger).authenticate_token(token)
    assert owner is not None
    assert owner.name == "alice"


def test_sec_16_the_second_start_prints_nothing_and_makes_no_token(settings: Settings, ledger: Ledger) -> None:
    assert bootstrap(settings, ledger) is not None
    before = (settings.state / "owner-token").read_text()
    assert bootstrap(settings, ledger) is None
    assert (settings.state / "owner-token").read_text() == before
    owner = ledger.find_principal("alice")
    assert owner is not None
    assert len(ledger.tokens(owner.id)) == 1


def test_a_removed_token_file_revokes_the_old_token(settings: Settings, ledger: Ledger) -> None:
    bootstrap(settings, ledger)
    path = settings.state / "owner-token"
    old = path.read_text().strip()
    path.unlink()
    assert bootstrap(settings, ledger) is not None
    accounts = Accounts(ledger)
    assert accounts.authenticate_token(old) is None
    assert accounts.authenticate_token(path.read_text().strip()) is not None


def test_a_crash_between_ledger_and_file_is_mended_at_the_next_start(settings: Settings, ledger: Ledger) -> None:
    (settings.state / "owner-token.new").write_text("algo_half")
    assert bootstrap(settings, ledger) is not None
    assert not (settings.state / "owner-token.new").exists()


def test_sec_54_the_token_file_is_never_readable_by_others(settings: Settings, ledger: Ledger) -> None:
    old = os.umask(0)
    try:
        bootstrap(settings, ledger)
    finally:
        os.umask(old)
    assert (settings.state / "owner-token").stat().st_mode & 0o777 == 0o600


def test_sec_17_no_file_of_the_ledger_holds_the_secret(settings: Settings, ledger: Ledger) -> None:
    text = bootstrap(settings, ledger, lambda size: b"\xab" * size)
    assert text is not None
    secret = b"ab" * 32
    dumps = [path.read_bytes() for path in settings.state.glob("ledger.sqlite*")]
    assert dumps
    assert all(secret not in dump and b"\xab" * 32 not in dump for dump in dumps)
