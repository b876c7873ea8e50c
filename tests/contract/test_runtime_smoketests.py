"""Requests with known answers, asked before a release serves: right ones, wrong ones, files that are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.runtime_shim import FUNCTION, SKLEARN, failing, running, write_iris_model

HALVES = "def predict(x: float):\n    return {'half': x / 2, 'parts': [x, 'n']}\n"
TESTED = {**FUNCTION, "tests": "TEST_CASES.json"}


def test_cases_with_right_answers_let_the_release_serve(tmp_path: Path) -> None:
    cases = [
        {"case_name": "all", "input": {"x": 3}, "expected_output": {"half": 1.5000000001, "parts": [3.0, "n"]}},
        {"case_name": "part", "input": 4, "expected_output": 2, "tree": ["half"]},
        {"case_name": "more", "input": 4, "expected_output": 1.5, "type": "GREATER_OR_EQUAL", "tree": ["half"]},
        {"case_name": "less", "input": 4, "expected_output": 4, "type": "LESS_OR_EQUAL", "tree": ["parts", 0]},
        {"case_name": "bad", "input": "four", "type": "EXCEPTION"},
        {"case_name": "any", "input": 1, "type": "NO_EXCEPTION", "timeout": 20},
        {"case_name": "near", "input": 1, "expected_output": 0.51, "tree": ["half"], "tolerance": 0.02},
    ]
    files = {"predict.py": HALVES, "TEST_CASES.json": json.dumps(cases)}
    with running(tmp_path, files, TESTED) as shim:
        assert json.loads(shim.ready_path.read_text())["cases"] == "7 cases of TEST_CASES.json"


@pytest.mark.parametrize(
    ("case", "expected", "got"),
    [
        ({"input": 3, "expected_output": {"half": 1.6, "parts": [3, "n"]}}, '{"half": 1.6, "parts": [3, "n"]}',
         '{"half": 1.5, "parts": [3.0, "n"]} (they differ at /half)'),
        ({"input": 3, "expected_output": 1.6, "tree": ["half"]}, "1.6", "1.5 (they differ at /half)"),
        ({"input": 3, "expected_output": 2, "type": "GREATER_OR_EQUAL", "tree": ["half"]}, "at least 2", "1.5"),
        ({"input": 3, "type": "EXCEPTION"}, "an exception", '{"half": 1.5, "parts": [3.0, "n"]}'),
        ({"input": "a", "expected_output": 1}, "1",
         "the input does not fit this model; /: expected a number, got a string"),
        ({"input": 3, "expected_output": 1, "tree": ["third"]}, "something at /third",
         '{"half": 1.5, "parts": [3.0, "n"]}'),
    ],
)  # fmt: skip
def test_a_wrong_answer_ends_the_start_with_the_case_what_was_expected_and_what_came(
    tmp_path: Path, case: Mapping[str, Any], expected: str, got: str
) -> None:
    cases = [{"input": 1, "type": "NO_EXCEPTION"}, {"case_name": "the second", **case}]
    failure = failing(tmp_path, {"predict.py": HALVES, "TEST_CASES.json": json.dumps(cases)}, TESTED)
    assert failure["code"] == "test-case-failed"
    assert failure["fields"] == {
        "tests": "TEST_CASES.json", "case": "the second", "expected": expected, "got": got, "count": "1 of 2"
    }  # fmt: skip


def test_a_bare_model_file_is_asked_its_cases_too(tmp_path: Path) -> None:
    write_iris_model(tmp_path / "app/model/iris.joblib")
    body = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
    cases = [{"case_name": "setosa", "input": body, "expected_output": {"predictions": [0]}}]
    entry = {**SKLEARN, "tests": "TEST_CASES.json"}
    with running(tmp_path, {"TEST_CASES.json": json.dumps(cases)}, entry) as shim:
        assert json.loads(shim.ready_path.read_text())["cases"] == "1 case of TEST_CASES.json"
    cases[0]["expected_output"] = {"predictions": [1]}
    failure = failing(tmp_path, {"TEST_CASES.json": json.dumps(cases)}, entry)
    assert (failure["code"], failure["fields"]["got"]) == (
        "test-case-failed", '{"predictions": [0]} (they differ at /predictions/0)'
    )  # fmt: skip


def test_an_exception_in_a_case_comes_with_the_users_lines(tmp_path: Path) -> None:
    cases = json.dumps({"input": 0, "output": 1})
    files = {"predict.py": "def predict(x):\n    return 1 / x\n", "sample_input.json": cases}
    failure = failing(tmp_path, files, {**FUNCTION, "tests": "sample_input.json"})
    assert (failure["code"], failure["fields"]["got"]) == ("test-case-failed", "ZeroDivisionError: division by zero")
    assert '  File "predict.py", line 2, in predict' in failure["log"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "the body is not JSON"),
        ('[{"input": 1, "type": "MATCHES"}]', "case 1 has type 'MATCHES'; known are EXACT_MATCH,"),
        ('[{"input": 1, "type": "EXACT_MATCH"}]', 'case 1 has no "expected_output" for EXACT_MATCH'),
        ('[{"input": 1, "output": 1}, {"inputs": 1}]', 'case 2 has no "input" and "expected_output" (or "type")'),
        ('[{"input": 1, "output": 1, "tolerance": "x"}]', 'case 1: "tolerance" is not a number of at least 0'),
    ],
)
def test_a_file_of_cases_that_is_none_is_told(tmp_path: Path, text: str, message: str) -> None:
    failure = failing(tmp_path, {"predict.py": HALVES, "TEST_CASES.json": text}, TESTED)
    assert failure["code"] == "test-cases-bad"
    assert failure["fields"]["message"].startswith(message)
