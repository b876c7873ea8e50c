"""Settings, thread budget, hints, signatures and the shared board: the shim's decisions without a server."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from runtime.adk import bind_apply
from runtime.board import Board
from runtime.budget import may_load_before_fork, pool_environment, pool_size, read_cpu_quota
from runtime.failure import BootFailed, describe, render_trace, write_json
from runtime.hints import Unfit, cast
from runtime.metrics import render_metrics
from runtime.refusal import Refused
from runtime.settings import Kind, parse_serve, parse_settings
from runtime.user_model import UserModel, make_signature
from runtime.zygote import parse_fork, why_not_fork

SERVE = '{"kind": "function", "file": "predict.py", "name": "predict"}'


# Settings ------------------------------------------------------------------------------------------------------------


def test_defaults_stand_for_what_is_not_said(tmp_path: Path) -> None:
    settings = parse_settings({"ALGO_SERVE": SERVE, "PORT": "9000"}, tmp_path)
    assert (settings.bind, settings.workers, settings.threads) == ("0.0.0.0:9000", 1, 4)
    assert (settings.max_body_bytes, settings.deadline_s, settings.drain_delay_s) == (104857600, 300.0, 5.0)
    assert settings.serve.kind is Kind.FUNCTION
    assert parse_settings({"ALGO_SERVE": SERVE, "ALGO_BIND": "unix:/s"}, tmp_path).drain_delay_s == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALGO_WORKERS", "0"),
        ("ALGO_WORKERS", "two"),
        ("ALGO_THREADS", "-1"),
        ("ALGO_DEADLINE_S", "nan"),
        ("ALGO_MAX_BODY_BYTES", "1e6"),
        ("PORT", "x"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BootFailed) as caught:
        parse_settings({"ALGO_SERVE": SERVE, name: value}, tmp_path)
    assert (caught.value.code, caught.value.fields) == ("runtime-setting", {"name": name, "found": value})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "x"}', '{"kind": "function"}', '{"kind": "model-file"}'])
def test_a_serve_document_is_complete_or_refused(text: str) -> None:
    with pytest.raises(BootFailed, match="runtime-setting"):
        parse_serve(text)


# Threads -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpus", "workers", "threads", "size"), [(2, 1, 4, 1), (16, 1, 4, 4), (16, 4, 4, 1), (8, 2, 1, 4), (1, 8, 8, 1)]
)
def test_calls_share_the_cores(cpus: int, workers: int, threads: int, size: int) -> None:
    assert pool_size(cpus, workers, threads) == size


def test_the_apps_own_pool_size_stays_and_forbids_loading_before_the_fork() -> None:
    assert "OMP_NUM_THREADS" not in pool_environment({"OMP_NUM_THREADS": "3"}, 1)
    assert pool_environment({}, 2)["MKL_NUM_THREADS"] == "2"
    assert may_load_before_fork({}, 1)
    assert not may_load_before_fork({}, 2)
    assert not may_load_before_fork({"OMP_NUM_THREADS": "3"}, 1)
    assert not may_load_before_fork({"ALGO_PRELOAD": "0"}, 1)


def test_the_quota_is_read_from_both_kinds_of_control_group(tmp_path: Path) -> None:
    assert read_cpu_quota(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("150000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert read_cpu_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert read_cpu_quota(tmp_path) == 2.0
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert read_cpu_quota(tmp_path) is None


# Hints and signatures ------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Flower:
    length: float
    colour: str = "red"


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, 1.0),
        (2.0, int, 2),
        ("YWJj", bytes, b"abc"),
        (None, int | None, None),
        ([1, 2], list[float], [1.0, 2.0]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ("a", Literal["a", "b"], "a"),
        ({"length": 1}, Flower, Flower(1.0)),
        ([[1]], Sequence[list[int]], [[1]]),
        ("anything", Any, "anything"),
    ],
)
def test_values_are_cast_to_their_hints(value: Any, hint: Any, expected: Any) -> None:
    assert cast(value, hint, "") == expected


def test_lists_become_arrays() -> None:
    assert cast([[1, 2]], np.ndarray, "").tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("value", "hint", "path", "message"),
    [
        ("1", int, "/x", "expected a whole number, got a string"),
        (True, float, "/x", "expected a number, got a boolean"),
        ([1, "2"], list[int], "/x/1", "expected a whole number, got a string"),
        ({"a/b": None}, dict[str, str], "/x/a~1b", "expected a string, got null"),
        ("c", Literal["a", "b"], "/x", "expected one of 'a', 'b', got a string"),
        ({}, Flower, "/x/length", "this field is missing"),
        ([None], list[int] | None, "/x/0", "expected a whole number, got null"),
        ("%", bytes, "/x", "expected base64 text"),
    ],
)
def test_a_value_that_does_not_fit_its_hint_is_placed(value: Any, hint: Any, path: str, message: str) -> None:
    with pytest.raises(Unfit) as caught:
        cast(value, hint, "/x")
    assert [(flaw.path, flaw.message) for flaw in caught.value.flaws] == [(path, message)]


def user_model(function: Any, *, whole: bool = False) -> UserModel:
    return UserModel(function=function, signature=make_signature(function, "predict"), title="t", whole=whole)


def test_objects_are_keyword_arguments_and_the_rest_is_the_one_argument() -> None:
    def predict(a: Any, b: int = 1) -> Any:
        return [a, b]

    assert user_model(predict).native({"a": 1, "b": 2}) == [1, 2]
    assert user_model(predict).native([1, 2]) == [[1, 2], 1]
    with pytest.raises(Refused):
        user_model(predict).native({"c": 1})


def test_a_sole_mapping_takes_the_whole_object_and_apply_takes_everything() -> None:
    def predict(row: dict[str, int]) -> Any:
        return row

    assert user_model(predict).native({"x": 1}) == {"x": 1}
    assert user_model(predict).native({"row": {"x": 1}}) == {"x": 1}
    assert user_model(lambda value: value, whole=True).native({"x": 1}) == {"x": 1}


def test_a_function_of_several_arguments_asks_for_an_object() -> None:
    with pytest.raises(Refused) as caught:
        user_model(lambda a, b: a + b).native([1, 2])
    assert caught.value.flaws[0].message == "predict takes a, b: send a JSON object, got a list"


def test_keywords_beyond_the_signature_reach_only_functions_that_take_them() -> None:
    assert user_model(lambda **rest: rest).native({"any": 1}) == {"any": 1}


def test_batches_reach_a_function_whole_or_row_by_row_as_its_hints_say() -> None:
    def per_row(text: str) -> int:
        return len(text)

    assert user_model(per_row).rows(["a", "bb"], "") == [1, 2]
    assert user_model(lambda rows: len(rows)).rows([[1], [2]], "") == 2  # noqa: PLW0108 -- a lambda has a signature
    assert user_model(lambda a, b: a + b).rows([{"a": 1, "b": 2}, {"a": 3, "b": 4}], "") == [3, 7]


# Algorithmia ---------------------------------------------------------------------------------------------------------


def _nothing_loaded() -> list[int]:
    return []


def test_apply_gets_globals_by_arity_even_when_they_are_empty(tmp_path: Path) -> None:
    assert bind_apply(lambda value, state: (value, state), _nothing_loaded, tmp_path)(1) == (1, [])
    assert bind_apply(lambda value: value, lambda: 5, tmp_path)(1) == 1
    assert bind_apply(lambda value, state: state["k"], lambda data: {"k": data["nothing"]}, tmp_path)(1) is None


# Failures ------------------------------------------------------------------------------------------------------------


def test_a_traceback_shows_the_users_lines_alone(tmp_path: Path) -> None:
    path = tmp_path / "predict.py"
    path.write_text("import json\ndef f():\n    return json.loads('{')\n")
    scope: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    with pytest.raises(ValueError) as caught:
        scope["f"]()
    lines = render_trace(caught.value, tmp_path)
    assert lines[1:3] == ('  File "predict.py", line 3, in f', "    return json.loads('{')")
    assert len(lines) == 4
    assert describe(caught.value, tmp_path)["line"] == 3


def test_a_document_is_put_in_place_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "ready.json", {"a": 1})
    assert os.listdir(tmp_path) == ["ready.json"]
    assert json.loads((tmp_path / "ready.json").read_text()) == {"a": 1}


# The board -----------------------------------------------------------------------------------------------------------


def test_sec_50_some_ready_workers_are_not_enough() -> None:
    assert not Board(1).is_ready
    board = Board(2)
    board.take_slot()
    assert not board.set_ready()
    assert board.ready_count == 1


def test_counters_are_seen_by_every_process_and_outlive_it() -> None:
    board = Board(1)
    child = os.fork()
    if child == 0:
        board.take_slot()
        board.set_ready()
        board.enter()
        board.leave("predict", 200, 2_000_000, 1_000_000)
        os._exit(0)
    os.waitpid(child, 0)
    assert board.ready_count == 0
    board.take_slot()
    board.enter()
    board.leave("predict", 418, 3_000_000_000_000, None)
    assert board.requests() == {("predict", "200"): 1, ("predict", "other"): 1}
    text = render_metrics(board, "iris", 'v"1').decode()
    assert 'algo_request_seconds_bucket{route="predict",le="0.0025"} 1' in text
    assert 'algo_request_seconds_bucket{route="predict",le="+Inf"} 2' in text
    assert "algo_predict_seconds_count 1" in text
    assert 'algo_model_info{name="iris",version="v\\"1"} 1' in text


def test_a_draining_worker_is_not_ready() -> None:
    board = Board(1)
    board.take_slot()
    assert board.set_ready()
    board.set_draining()
    assert not board.is_ready


# The warm parent -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "threads", "cpus", "why"),
    [
        ({}, 1, 2, None),
        ({}, 3, 2, "threads: 3 are running in the warm parent"),
        ({"OMP_NUM_THREADS": "2"}, 1, 2, "pools: OMP_NUM_THREADS=2, the warm parent has 1"),
        ({"ALGO_THREADS": "1"}, 1, 8, "pools: a fresh start would use 8 threads a call"),
        (
            {"ALGO_WORKERS": "x"},
            1,
            2,
            "settings: ALGO_WORKERS or ALGO_THREADS is not a number; a fresh start will say so",
        ),
    ],
)
def test_a_fork_is_refused_where_a_fresh_start_would_differ(
    env: dict[str, str], threads: int, cpus: int, why: str | None
) -> None:
    assert why_not_fork(env, threads, cpus) == why


@pytest.mark.parametrize(
    "request_", [{}, {"env": {}, "cwd": "a"}, {"env": {"a": 1}, "cwd": "/"}, {"env": {}, "cwd": "/", "hold": 1}]
)
def test_a_fork_request_is_complete_or_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        parse_fork(request_)
