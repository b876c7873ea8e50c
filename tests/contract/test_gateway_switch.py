"""Releases come and go behind the gateway: reload, drain, on-demand starts, and the gateway's own stop."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitserver.wire import Message
from tests.gateway_house import (
    ALICE,
    BEARER,
    Handler,
    House,
    echo,
    make_answer,
    make_release,
    make_row,
    open_house,
    read_reply,
    read_request,
)

CALL = b"POST /alice/iris/predict HTTP/1.1\r\nHost: h\r\n" + BEARER + b"Content-Length: 2\r\n\r\nab"


@pytest.fixture
def house() -> Iterator[House]:
    with open_house() as opened:
        yield opened


def slow(seconds: float) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(seconds)
            writer.write(make_answer(b"{}"))

    return handle


def switch(house: House, release_id: int) -> None:
    """What the worker does: production now serves this release."""
    environments = tuple(
        replace(row, release_id=release_id) if row.id == 1 else row for row in house.snapshot.environments
    )
    releases = {**house.snapshot.releases, release_id: make_release(release_id, 1, 1, f"sha256:{release_id}")}
    house.change(environments=environments, releases=releases)


class Load:
    """Keep-alive connections that call without a pause and remember every answer that is not 200."""

    def __init__(self, house: House, count: int) -> None:
        self.calls, self.bad = 0, list[str]()
        self._house = house
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        connection = self._house.connect()
        while not self._stop.is_set():
            try:
                connection.sendall(CALL)
                reply = read_reply(connection)
                self.calls += 1
                if reply.status != 200:
                    self.bad.append(f"{reply.status} {reply.body!r}")
            except (EOFError, OSError) as error:
                self.bad.append(repr(error))
                connection.close()
                connection = self._house.connect()
        connection.close()


def deploy(house: House, number: int, *, drains: bool) -> None:
    """One release after another, as the worker does it: start, switch, drain, stop."""
    old_id = house.snapshot.environments[0].release_id
    house.serve(f"b{number}", slow(0.005))
    switch(house, number)
    if drains:
        old = house.settings.run_dir / "instances" / f"b{old_id}" / "s"
        assert house.ask(op="drain", address=f"unix:{old}", deadline_s=10) == {"ok": True, "in_flight": 0}
    house.kill(f"b{old_id}")


def test_no_call_is_lost_over_twenty_switches_under_load(house: House) -> None:
    deploy(house, 100, drains=True)
    with Load(house, 8) as load:
        for number in range(101, 121):
            deploy(house, number, drains=True)
            time.sleep(0.02)
    assert load.bad == []
    assert load.calls > 100


def test_the_test_above_would_notice_without_draining(house: House) -> None:
    deploy(house, 100, drains=True)
    with Load(house, 8) as load:
        for number in range(101, 111):
            deploy(house, number, drains=False)
            time.sleep(0.02)
    assert load.bad


def test_drain_waits_for_the_running_call_and_reports_what_is_left_at_the_deadline(house: House) -> None:
    address = house.serve("b1", slow(1.0))
    with house.connect() as connection:
        connection.sendall(CALL)
        time.sleep(0.2)
        assert house.ask(op="drain", address=address, deadline_s=0.1) == {"ok": True, "in_flight": 1}
        started_at = time.monotonic()
        assert house.ask(op="drain", address="unix:/nobody", deadline_s=5) == {"ok": True, "in_flight": 0}
        assert time.monotonic() - started_at < 0.5
        assert read_reply(connection).status == 200


def test_a_body_that_is_still_arriving_goes_to_the_release_that_serves_when_it_is_complete(house: House) -> None:
    with house.connect() as connection:
        connection.sendall(CALL[:-1])
        time.sleep(0.1)
        deploy(house, 100, drains=True)
        connection.sendall(CALL[-1:])
        assert read_reply(connection).body == b"{}"


def test_the_ledger_is_polled_when_nobody_sends_reload(house: House) -> None:
    house.snapshot = replace(house.snapshot, tokens=())
    deadline_at = time.monotonic() + 10
    while house.get("/alice/iris/").status != 401:
        assert time.monotonic() < deadline_at
        time.sleep(0.1)


def test_a_token_that_expires_opens_nothing_any_more_though_its_call_was_remembered(house: House) -> None:
    row = make_row(ALICE, 1, expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    house.change(tokens=(row,))
    assert house.get("/alice/iris/").status == 200
    assert house.get("/alice/iris/").status == 200
    time.sleep(1.6)
    assert house.get("/alice/iris/").status == 401


def test_idle_says_since_when_nobody_calls(house: House) -> None:
    assert house.get("/alice/iris/").status == 200
    time.sleep(0.3)
    idle = house.ask(op="idle")["last_call_s"]
    assert isinstance(idle, dict)
    address = f"unix:{house.settings.run_dir / 'instances' / 'b1' / 's'}"
    assert 0.2 < idle[address] < 5  # type: ignore[operator]


def test_an_unknown_question_gets_a_failure(house: House) -> None:
    assert house.ask(op="nonsense")["ok"] is False
    assert house.ask(op="ping") == {"ok": True}


def test_a_version_that_nobody_runs_is_woken_once_for_all_who_call_it(house: House) -> None:
    def wake(message: Message) -> Message:
        time.sleep(0.3)
        return {"ok": True, "instance": "v-one", "address": house.serve("v-one", echo("v-one"))}

    house.on_wake = wake
    replies = []

    def call() -> None:
        replies.append(house.get("/alice/iris@v1/predict").json["name"])

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == ["v-one"] * 8
    assert house.wakes == [{"op": "wake", "app_id": 1, "image": "sha256:one", "scope": "production", "label": "v1"}]
    address = f"unix:{house.settings.run_dir / 'instances' / 'v-one' / 's'}"
    assert house.ask(op="drain", address=address, deadline_s=5) == {"ok": True, "in_flight": 0}
    house.kill("v-one")
    assert house.get("/v1/algo/alice/iris/v1").json["name"] == "v-one"
    assert len(house.wakes) == 2


def test_a_version_that_does_not_start_says_why_and_is_not_started_again_at_once(house: House) -> None:
    house.on_wake = lambda _: {
        "ok": False,
        "failure": {"code": "component-down", "fields": {"component": "target", "detail": "x"}, "log": []},
    }
    for _ in range(3):
        reply = house.get("/alice/iris@v1/predict")
        assert (reply.status, reply.json["error"]) == (
            503,
            "alice/iris@v1 could not be started: a part of the server is down",
        )
    assert len(house.wakes) == 1


def test_a_commit_of_a_branch_is_woken_with_the_previews_configuration(house: House) -> None:
    house.on_wake = lambda _: {"ok": True, "instance": "c", "address": house.serve("c", echo("c"))}
    assert house.get("/alice/iris@c0ffee0/").json["name"] == "c"
    assert (house.wakes[0]["scope"], house.wakes[0]["label"]) == ("preview", "c0ffee0")


def test_a_stopping_gateway_finishes_the_running_call_and_takes_no_new_one() -> None:
    with open_house() as house:
        house.serve("b1", slow(1.0))
        with house.connect() as idle, house.connect() as busy:
            busy.sendall(CALL)
            time.sleep(0.2)
            assert house.gateway is not None
            house.run(house.gateway.stop())
            reply = read_reply(busy)
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert idle.recv(1) == b""
            with pytest.raises(ConnectionRefusedError):
                house.connect()


def test_a_state_folder_deeper_than_a_socket_address_is_no_obstacle() -> None:
    with tempfile.TemporaryDirectory() as folder:
        deep = Path(folder) / ("d" * 60) / ("e" * 60)
        deep.mkdir(parents=True)
        with open_house() as house:
            link = Path(folder) / "s"
            house.listen(link, echo("deep"))
            link.rename(deep / "s")
            (house.settings.run_dir / "instances" / "b1" / "endpoint").write_text(f"unix:{deep / 's'}")
            house.change(tokens=(make_row(ALICE, 1),))
            assert house.get("/alice/iris/").json["name"] == "deep"
            house.servers.pop(str(link)).close()
