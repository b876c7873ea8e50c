"""When an instance is started again: the decision as a table."""

from __future__ import annotations

import pytest

from gitserver.targets.keeper import Action, Restarts, after_end, next_action

RUNS = Restarts(ready_at=100.0)
WAITS = Restarts(count=1, ready_at=100.0, due_at=110.0)
STARTS = Restarts(count=1, ready_at=100.0, is_starting=True)


@pytest.mark.parametrize(
    ("restarts", "is_alive", "now", "action"),
    [
        (RUNS, True, 500.0, Action.NOTHING),
        (RUNS, False, 100.1, Action.NOTE_END),
        (WAITS, False, 109.9, Action.NOTHING),
        (WAITS, False, 110.0, Action.START),
        (WAITS, True, 120.0, Action.START),
        (STARTS, False, 500.0, Action.NOTHING),
        (STARTS, True, 500.0, Action.NOTHING),
    ],
)
def test_what_an_instance_needs_follows_from_counts_and_clock(
    restarts: Restarts, is_alive: bool, now: float, action: Action
) -> None:
    assert next_action(restarts, is_alive=is_alive, now=now) is action


def test_pauses_double_from_a_tenth_of_a_second_to_a_minute() -> None:
    restarts, pauses = Restarts(ready_at=0.0), []
    for _ in range(13):
        restarts = after_end(restarts, ended_at=1.0)
        pauses.append(restarts.due_at and round(restarts.due_at - 1.0, 3))
        restarts = Restarts(count=restarts.count, ready_at=0.5)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0, 60.0]


@pytest.mark.parametrize(("ran_s", "pause_s"), [(59.0, 12.8), (60.0, 0.1), (3600.0, 0.1)])
def test_a_steady_minute_forgives_earlier_ends(ran_s: float, pause_s: float) -> None:
    after = after_end(Restarts(count=7, ready_at=1000.0), ended_at=1000.0 + ran_s)
    assert after.due_at == pytest.approx(1000.0 + ran_s + pause_s)


def test_a_start_that_failed_after_a_slow_load_is_no_steady_run() -> None:
    after = after_end(Restarts(count=3, ready_at=0.0, is_starting=True), ended_at=300.0)
    assert after == Restarts(count=4, ready_at=0.0, due_at=300.8)


def test_a_thousand_ends_in_a_row_still_wait_a_minute() -> None:
    assert after_end(Restarts(count=1000), ended_at=1.0).due_at == 61.0
