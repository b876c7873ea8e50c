"""The real shim with real models of every framework: each call's answer is the framework's own, on every contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.runtime_shim import Shim, make_shim
from tests.services.model_makers import ModelCase, answer_of, close_to, interpreter, model_cases

SERVED = {
    "tables": [
        "xgboost-json",
        "xgboost-ubj",
        "xgboost-pickle",
        "lightgbm-text",
        "sklearn-bundle",
        "sklearn-skops",
        "onnx",
        "onnx-two-inputs",
    ],
    "tensorflow": [
        "keras",
        "keras-h5",
        "savedmodel",
        "keras-two-inputs",
        "savedmodel-signatures",
        "keras-2-h5",
        "keras-2-savedmodel",
    ],
    "torch": [
        "torchscript",
        "torch-export",
        "torchscript-tokens",
        "transformers-classification",
        "transformers-features",
        "transformers-generation",
    ],
    "mlflow": ["mlflow-columns", "mlflow-tensors"],
    "catboost": ["catboost-regression", "catboost-classes", "catboost-pickle"],
}
# The first run on a machine makes the environments and the models.
pytestmark = pytest.mark.timeout(900)
CASES = [pytest.param(family, name, id=name) for family, names in SERVED.items() for name in names]


@contextmanager
def serving(folder: Path, family: str, case: ModelCase, **serve: Any) -> Iterator[Shim]:
    """The case's model under the shim, in the environment of its framework; ready when it begins."""
    shim = prepared(folder, family, case, **serve)
    try:
        shim.start()
        shim.wait_ready()
        yield shim
    finally:
        shim.close()


def prepared(folder: Path, family: str, case: ModelCase, **serve: Any) -> Shim:
    shim = make_shim(folder, {}, {**case.serve, **serve}, {"TF_CPP_MIN_LOG_LEVEL": "3"})
    shim.python = interpreter(family)
    shim.ready_timeout_s = 180  # a busy machine imports TensorFlow in a minute
    case.put(shim.app_dir)
    return shim


def refused(folder: Path, family: str, case: ModelCase, **serve: Any) -> dict[str, Any]:
    """Why the case's model does not start."""
    shim = prepared(folder, family, case, **serve)
    try:
        shim.start()
        return shim.wait_failed()
    finally:
        shim.close()


@pytest.mark.parametrize(("family", "name"), CASES)
def test_a_bare_model_file_answers_as_its_framework_does(family: str, name: str, tmp_path: Path) -> None:
    case = model_cases(family)[name]
    with serving(tmp_path, family, case) as shim:
        facts = json.loads(shim.ready_path.read_text())
        client = shim.client()
        for call in case.calls:
            found = answer_of(client.post(call.path, json=call.body))
            assert close_to(found, call.answer), f"{call.path}: {found} instead of {call.answer}"
        assert facts["warning"] is None, facts
        assert "each worker loads it itself" not in shim.log
        assert client.get("/v2/models/iris").json()["inputs"]


def test_a_float32_model_answers_in_decimals_of_its_own_width(tmp_path: Path) -> None:
    case = model_cases("tables")["onnx"]
    with serving(tmp_path, "tables", case) as shim:
        reply = shim.client().post("/predict", json={"instances": [[0.1, 0, 0, 0]]})
        assert reply.text == '{"predictions":[[0.010000001,0.020000001,0.030000001]]}'


# What is not served, and why -----------------------------------------------------------------------------------------


def test_a_bundle_whose_parts_have_no_certain_order_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    failure = refused(tmp_path, "tables", model_cases("tables")["sklearn-unclear"])
    assert failure["code"] == "model-needs-code"
    found = "a dict of one: LogisticRegression, two: LogisticRegression, scaler: StandardScaler"
    assert failure["fields"]["found"] == found
    assert failure["fields"]["needed"].startswith("a predict.py that loads the file")


def test_a_file_that_an_older_xgboost_cannot_read_names_the_line_that_mends_it(tmp_path: Path) -> None:
    case = model_cases("tables")["xgboost-json"]
    shim = prepared(tmp_path, "tables", case, written_by="xgboost 9.1.0")
    document = json.loads((shim.app_dir / case.file).read_text())
    document["learner"]["objective"] = {"name": "of:version-9"}
    (shim.app_dir / case.file).write_text(json.dumps(document))
    try:
        shim.start()
        failure = shim.wait_failed()
    finally:
        shim.close()
    assert failure["code"] == "framework-skew"
    assert failure["fields"]["written_by"] == "xgboost 9.1.0"
    assert failure["fields"]["loaded_with"] == "xgboost 3.2.0"
    assert failure["fields"]["requirement"] == "xgboost==9.1.0"
    assert "of:version-9" in failure["fields"]["message"]


@pytest.mark.parametrize(("name", "broken"), [("lightgbm-text", b"tree\nversion=v4\n"), ("onnx", b"\x08\x09nothing")])
def test_a_damaged_file_is_told_with_the_version_that_met_it(name: str, broken: bytes, tmp_path: Path) -> None:
    case = model_cases("tables")[name]
    shim = prepared(tmp_path, "tables", case)
    (shim.app_dir / case.file).write_bytes(broken)
    try:
        shim.start()
        failure = shim.wait_failed()
    finally:
        shim.close()
    assert failure["code"] == "framework-load-failed"
    assert failure["fields"]["loaded_with"].startswith(("lightgbm 4", "onnxruntime 1"))
    assert failure["fields"]["message"]


def test_a_framework_that_is_not_installed_is_named(tmp_path: Path) -> None:
    failure = refused(tmp_path, "tables", model_cases("tables")["onnx"], framework="catboost", format="cbm")
    assert failure["code"] == "import-failed"
    assert failure["fields"]["module"] == "catboost"


@pytest.mark.parametrize(
    ("family", "name", "words"),
    [
        ("tensorflow", "keras-weights", "the weights of a Keras model without its layers"),
        ("torch", "torch-weights", "the weights of a PyTorch model without its class (a state_dict)"),
    ],
)
def test_weights_alone_are_refused_with_the_code_to_write(family: str, name: str, words: str, tmp_path: Path) -> None:
    failure = refused(tmp_path, family, model_cases(family)[name])
    assert failure["code"] == "model-needs-code"
    assert failure["fields"]["found"] == words
    assert "predict.py" in failure["fields"]["needed"]


def test_a_keras_file_with_a_layer_of_its_own_asks_for_the_code_that_defines_it(tmp_path: Path) -> None:
    failure = refused(tmp_path, "tensorflow", model_cases("tensorflow")["keras-own-layer"])
    assert failure["code"] == "model-needs-code"
    assert failure["fields"]["found"] == "a Keras model with Mine, which is no part of Keras"


@pytest.mark.parametrize("name", ["keras-2-lstm", "keras-2-depthwise"])
def test_a_file_of_keras_2_that_keras_3_does_not_read_is_told_with_the_way_out(name: str, tmp_path: Path) -> None:
    failure = refused(tmp_path, "tensorflow", model_cases("tensorflow")[name])
    assert failure["code"] == "old-keras-file"
    assert failure["fields"]["written_by"] == "keras 2.21.0"
    assert failure["fields"]["loaded_with"] == "keras 3.15.1"
    assert "Unrecognized keyword arguments" in failure["fields"]["message"] or "groups" in failure["fields"]["message"]


# What callers are told when a tensor does not fit --------------------------------------------------------------------


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(tmp_path_factory.mktemp("scores"), "tables", model_cases("tables")["onnx"]) as shim:
        yield shim.client()


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        ({"instances": [[1, 2, 3]]}, "/instances", "expected the shape [n, 4], got [1, 3]"),
        ({"instances": [[1, 2, 3, 4], [1, 2, 3]]}, "/instances/1", "expected 4 values, got 3"),
        ({"instances": [[1, 2, 3, "4"]]}, "/instances/0/3", "expected a number, got a string"),
        ({"instances": [[1, 2, 3, 1e39]]}, "/instances", "a number is out of the range of FP32"),
        ({"instances": []}, "/instances", "expected at least one row, got none"),
        ({"inputs": {"a": 1, "b": 2}}, "/inputs/features", "this input is missing"),
        ({"rows": 1}, "", 'expected {"instances": [...]}, a list, or the inputs by name; this model has: features'),
    ],
)
def test_a_tensor_that_does_not_fit_is_422_with_its_place(
    scores: httpx.Client, body: Any, path: str, message: str
) -> None:
    reply = scores.post("/predict", json=body)
    assert reply.status_code == 422
    assert reply.json()["detail"][0] == {"path": path, "message": message}


@pytest.mark.parametrize(("number", "word"), [(2.5, "whole numbers"), (2**64, "out of the range of long")])
def test_a_column_of_whole_numbers_takes_no_others_and_none_is_wrapped(
    number: float, word: str, tmp_path: Path
) -> None:
    with serving(tmp_path, "mlflow", model_cases("mlflow")["mlflow-columns"]) as shim:
        reply = shim.client().post("/predict", json={"instances": [[5.1, 3.5, 1.4, number]]})
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["path"] == "/petal_width"
    assert word in reply.json()["detail"][0]["message"]


def test_nan_goes_in_as_null_and_comes_out_as_null(scores: httpx.Client) -> None:
    reply = scores.post("/predict", json={"instances": [[None, 0, 0, 0]]})
    assert reply.json() == {"predictions": [[None, None, None]]}


def test_a_tensor_of_another_kind_is_refused_and_a_wider_float_is_taken(scores: httpx.Client) -> None:
    def infer(datatype: str, data: list[Any]) -> httpx.Response:
        tensor = {"name": "features", "shape": [1, 4], "datatype": datatype, "data": data}
        return scores.post("/v2/models/iris/infer", json={"inputs": [tensor]})

    assert infer("FP64", [1, 0, 0, 0]).json()["outputs"][0]["datatype"] == "FP32"
    reply = infer("BYTES", ["a", "b", "c", "d"])
    assert reply.status_code == 400
    assert "/inputs/0/datatype: expected FP32, got BYTES" in reply.json()["error"]


# What only the model knows of its input ------------------------------------------------------------------------------


def test_a_text_that_is_longer_than_the_model_is_422_with_both_lengths(tmp_path: Path) -> None:
    with serving(tmp_path, "torch", model_cases("torch")["transformers-classification"]) as shim:
        client = shim.client()
        reply = client.post("/predict", json={"inputs": ["good", "a " * 600]})
        assert client.post("/predict", json={"inputs": "good"}).status_code == 200
    assert reply.status_code == 422
    message = "the text has 602 tokens; this model takes at most 512"
    assert reply.json()["detail"] == [{"path": "/inputs/1", "message": message}]


def test_what_generation_cannot_do_is_422_with_its_reason(tmp_path: Path) -> None:
    with serving(tmp_path, "torch", model_cases("torch")["transformers-generation"]) as shim:
        client = shim.client()
        long = client.post("/predict", json={"inputs": "a " * 100})
        unknown = client.post("/predict", json={"inputs": "a", "parameters": {"max_new_tokns": 4}})
    assert (long.status_code, unknown.status_code) == (422, 422)
    assert long.json()["detail"][0]["message"] == "the text has 102 tokens; this model takes at most 64"
    assert unknown.json()["detail"][0]["path"] == "/parameters"
    assert "max_new_tokns" in unknown.json()["detail"][0]["message"]


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("torchscript-tokens", [[999999, 1]], "the model did not take it: index out of range in self"),
        ("torchscript", [[1.0, 2.0, 3.0]], "mat1 and mat2 shapes cannot be multiplied (1x3 and 4x5)"),
    ],
)
def test_what_a_program_without_types_does_not_take_is_422_in_its_own_words(
    name: str, body: Any, message: str, tmp_path: Path
) -> None:
    with serving(tmp_path, "torch", model_cases("torch")[name]) as shim:
        reply = shim.client().post("/predict", json={"instances": body})
    assert reply.status_code == 422, reply.text
    assert reply.json()["detail"][0]["path"] == "/instances"
    assert message in reply.json()["detail"][0]["message"]
