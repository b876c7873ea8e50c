"""JSON, rows and tensors: what goes in, what comes out, and where it does not fit."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.jsontext import NotJson, parse_json, plain, render_json
from runtime.refusal import Flaw, Refused, pointer
from runtime.rows import RowSpec, columns_to_rows, is_one_row, rows_from_json
from runtime.tensors import decode_tensor, encode_tensor

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_json_values_come_back_as_they_were(value: Any) -> None:
    assert parse_json(render_json(plain(value))) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_float_is_lost(value: float) -> None:
    assert json.loads(render_json(plain(np.float64(value)))) == value
    assert json.loads(render_json(plain(np.array([value])))) == [value]


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity"])
def test_nan_tokens_come_in_and_leave_as_null(token: bytes) -> None:
    value = parse_json(b"[" + token + b"]")
    assert not math.isfinite(value[0])
    assert render_json(plain(value)) == b"[null]"
    assert render_json(plain(np.array(value))) == b"[null]"


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Answer:
    label: str
    scores: Any


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]], dtype=np.int8), [[1, 2], [3, 4]]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([b"\x00", None], dtype=object), ["AA==", None]),
        (np.array(["2026-01-02"], dtype="M8[D]"), ["2026-01-02"]),
        (Answer("x", np.array([1.5])), {"label": "x", "scores": [1.5]}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Colour.RED, "red"),
        (b"abc", "YWJj"),
        ((1, (2, 3)), [1, [2, 3]]),
        ({1: "a", False: "b", None: "c"}, {"1": "a", "false": "b", "null": "c"}),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (decimal.Decimal("1.5"), 1.5),
        (Path("a/b"), "a/b"),
        ({"k": {1.0}}, {"k": [1.0]}),
        ("\ud800", "\ud800"),
        (2**70, 2**70),
    ],
)
def test_results_of_models_have_a_json_form(value: Any, expected: Any) -> None:
    assert json.loads(render_json(plain(value))) == expected


def test_a_result_without_a_json_form_names_its_type() -> None:
    with pytest.raises(NotJson, match=r"builtins\.object has no JSON form"):
        plain([object()])
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(NotJson, match="nested deeper than 100 levels"):
        plain(cycle)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is empty; send JSON"),
        (b'{"a": }', "the body is not JSON: Expecting value at line 1, column 7"),
        (b'"\xff"', "the body is not UTF-8: byte 1 is wrong"),
        (b"[" * 101 + b"]" * 101, "the body is nested deeper than 100 levels"),
        (b"[" * 100_000, "the body is nested deeper than 100 levels"),
        (b"9" * 5000, "the body holds a number that is too long"),
    ],
)
def test_a_malformed_body_is_said_in_one_sentence(body: bytes, words: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_json(body)
    assert (caught.value.status, caught.value.error) == (400, words)


def test_json_pointers_are_escaped() -> None:
    assert pointer("a/b", 0, "c~d") == "/a~1b/0/c~0d"


# Rows ----------------------------------------------------------------------------------------------------------------

FOUR = RowSpec(feature_count=2, feature_names=("length", "width"), as_frame=False)
UNNAMED = RowSpec(feature_count=2, feature_names=(), as_frame=False)
TEXTS = RowSpec(feature_count=None, feature_names=(), as_frame=False)


def test_rows_are_float64_whatever_numbers_they_are_written_as() -> None:
    array = rows_from_json([[1, 2.5], [True, 4]], UNNAMED, "")
    assert array.dtype == np.float64
    assert array.tolist() == [[1.0, 2.5], [1.0, 4.0]]


def test_null_is_nan_and_a_string_never_turns_numbers_into_strings() -> None:
    array = rows_from_json([[1, None]], UNNAMED, "")
    assert array.dtype == np.float64
    assert math.isnan(array[0, 1])
    mixed = rows_from_json([[1, "red"], [2.5, None]], UNNAMED, "")
    assert mixed.dtype == object
    assert mixed.tolist() == [[1, "red"], [2.5, None]]


def test_objects_are_put_into_the_models_order() -> None:
    assert rows_from_json([{"width": 2, "length": 1}], FOUR, "").tolist() == [[1.0, 2.0]]


def test_texts_stay_a_list() -> None:
    assert rows_from_json(["good", "bad"], TEXTS, "") == ["good", "bad"]


def test_a_bare_list_of_scalars_is_one_row() -> None:
    assert is_one_row([1, 2], UNNAMED)
    assert not is_one_row([[1, 2]], UNNAMED)
    assert not is_one_row(["good", "bad"], TEXTS)


@pytest.mark.parametrize(
    ("rows", "spec", "flaw"),
    [
        ([[1, 2], [1]], UNNAMED, Flaw(path="/r/1", message="expected 2 values, got 1")),
        ([[1, 2], 3], UNNAMED, Flaw(path="/r/1", message="expected a list of 2, got a number")),
        ([[1, {}]], UNNAMED, Flaw(path="/r/0/1", message="expected a number or a string, got an object")),
        ([{"length": 1}], FOUR, Flaw(path="/r/0/width", message="this feature is missing")),
        (
            [{"length": 1, "width": 2, "depth": 3}],
            FOUR,
            Flaw(path="/r/0/depth", message="unknown feature; this model has: length, width"),
        ),
        (
            [{"length": 1}],
            UNNAMED,
            Flaw(
                path="/r/0", message="this model does not know the names of its features; expected a list of 2 values"
            ),
        ),
        ([], UNNAMED, Flaw(path="/r", message="expected at least one row, got none")),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(rows: list[Any], spec: RowSpec, flaw: Flaw) -> None:
    with pytest.raises(Refused) as caught:
        rows_from_json(rows, spec, "/r")
    assert (caught.value.status, caught.value.flaws) == (422, (flaw,))


def test_columns_become_rows() -> None:
    assert columns_to_rows({"width": [[3], [4]], "length": [1, 2]}, FOUR, "") == [[1, 3], [2, 4]]
    with pytest.raises(Refused) as caught:
        columns_to_rows({"width": [3], "length": [1, 2]}, FOUR, "/c")
    assert caught.value.flaws[0].message == "expected columns of one length, got length 2, width 1"


# Tensors -------------------------------------------------------------------------------------------------------------


def document(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 3, 4], **changes}


@pytest.mark.parametrize(
    ("datatype", "data", "numpy_name"),
    [
        ("BOOL", [True, False, True, True], "bool"),
        ("UINT8", [0, 255, 1, 2], "uint8"),
        ("UINT64", [0, 2**64 - 1, 1, 2], "uint64"),
        ("INT8", [-128, 127, 0, 1], "int8"),
        ("INT64", [-(2**63), 2**63 - 1, 0, 1], "int64"),
        ("FP32", [0.5, 1, 2, 3], "float32"),
        ("FP64", [0.1, 1, 2, 3], "float64"),
        ("BYTES", ["a", "", "é", "b"], "object"),
    ],
)
def test_every_datatype_comes_in_and_goes_out(datatype: str, data: list[Any], numpy_name: str) -> None:
    nested = [data[:2], data[2:]]
    for form in (data, nested):
        tensor = decode_tensor(document(datatype=datatype, data=form), "/i/0")
        assert (tensor.value.shape, str(tensor.value.dtype)) == ((2, 2), numpy_name)
        assert encode_tensor("x", tensor.value) == document(datatype=datatype) | {"data": data}


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"data": [1, 2, 3]}, "/i/0/data", "shape [2, 2] holds 4 values, got 3"),
        ({"data": [[1, 2], [3]]}, "/i/0/data", "nested lists do not have the shape [2, 2]"),
        ({"data": [1, 2, 3, 2**31]}, "/i/0/data", "a number is out of the range of INT32"),
        ({"data": [1, 2, 3, 4.0]}, "/i/0/data", "expected whole numbers"),
        ({"data": [1, 2, 3, True]}, "/i/0/data", "expected whole numbers"),
        ({"datatype": "BOOL"}, "/i/0/data", "expected true or false"),
        ({"datatype": "BYTES"}, "/i/0/data", "expected strings"),
        ({"datatype": "FP32", "data": [1, 2, 3, 1e39]}, "/i/0/data", "a number is out of the range of FP32"),
        ({"datatype": "BF16"}, "/i/0/datatype", "BF16 has no JSON form; send FP32"),
        ({"shape": [2, -1]}, "/i/0/shape", "expected a list of whole numbers, none below 0"),
        ({"shape": [True, 4]}, "/i/0/shape", "expected a list of whole numbers, none below 0"),
        ({"name": 1}, "/i/0/name", "expected a string"),
    ],
)
def test_a_wrong_tensor_names_its_wrong_part(changes: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(Refused) as caught:
        decode_tensor(document(**changes), "/i/0")
    assert caught.value.flaws == (Flaw(path=path, message=message),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, {"shape": [1], "datatype": "INT64", "data": [3]}),
        ("a", {"shape": [1], "datatype": "BYTES", "data": ["a"]}),
        ([[1, 2.5], [3, None]], {"shape": [2, 2], "datatype": "FP64", "data": [1, 2.5, 3, None]}),
        ([{"a": 1}], {"shape": [1], "datatype": "BYTES", "data": ['{"a":1}']}),
        (np.array([1.0, math.nan], dtype=np.float16), {"shape": [2], "datatype": "FP32", "data": [1.0, None]}),
        (np.zeros((0, 3)), {"shape": [0, 3], "datatype": "FP64", "data": []}),
    ],
)
def test_any_result_is_a_tensor(value: Any, expected: dict[str, Any]) -> None:
    assert encode_tensor("y", value) == {"name": "y", **expected}
