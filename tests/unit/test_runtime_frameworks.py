"""Tensors by signature, bundles of parts and the telling of failures: what needs no framework but numpy and sklearn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from runtime.frameworks.blame import refusal_of
from runtime.frameworks.casting import ArraySpec, array_from_json, cast_tensor
from runtime.frameworks.loaded import NeedsCode, Origin, failure_of
from runtime.frameworks.sklearn import estimator_of
from runtime.frameworks.tensor_model import Signature, TensorModel, zeros_body
from runtime.frameworks.transformers import TextModel, judge_failure
from runtime.jsontext import plain
from runtime.model import Tensor, TensorSpec
from runtime.refusal import Refused
from runtime.rows import RowSpec, rows_from_json

ROWS = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0], [3.0, 2.0]])
CLASSES = np.array([0, 0, 1, 1])


def spec(datatype: str = "FP32", shape: tuple[int, ...] | None = (-1, 2), name: str = "x") -> ArraySpec:
    return ArraySpec(name=name, datatype=datatype, shape=shape)


# Casting -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted", "dtype"),
    [
        ([[1, 2]], spec("FP32"), "float32"),
        ([[1, 2.5]], spec("FP64"), "float64"),
        ([[1.0, 2]], spec("INT64"), "int64"),
        ([[2**63 + 1, 0]], spec("UINT64"), "uint64"),
        ([[255, 0]], spec("UINT8"), "uint8"),
        ([[True, False]], spec("BOOL"), "bool"),
        ([["a", "bc"]], spec("BYTES"), "object"),
        ([[1, 2]], spec("FP16"), "float16"),
        (7, spec("INT32", ()), "int32"),
        ([[[1]]], spec("FP32", None), "float32"),
    ],
)
def test_values_take_the_type_of_the_signature(value: Any, wanted: ArraySpec, dtype: str) -> None:
    array = array_from_json(value, wanted, "")
    assert array.dtype == dtype
    assert array.tolist() == value


def test_null_is_nan_among_floats() -> None:
    assert np.isnan(array_from_json([[None, 1]], spec(), "")[0, 0])


@pytest.mark.parametrize(
    ("value", "wanted", "path", "message"),
    [
        ([["1", 2]], spec(), "/in/0/0", "expected a number, got a string"),
        ([[1.5, 2]], spec("INT64"), "/in/0/0", "expected a whole number, got a number"),
        ([[None, 2]], spec("INT64"), "/in/0/0", "expected a whole number, got null"),
        ([[True, False]], spec("INT64"), "/in/0/0", "expected a whole number, got a boolean"),
        ([[1, 0]], spec("BOOL"), "/in/0/0", "expected true or false, got a number"),
        ([[1, 0]], spec("BYTES"), "/in/0/0", "expected a string, got a number"),
        ([[1, 2], [3]], spec(), "/in/1", "expected 2 values, got 1"),
        ([[1, 2], 3], spec(), "/in/1", "expected a list of 2, got a number"),
        ([[1, 2, 3]], spec(), "/in", "expected the shape [n, 2], got [1, 3]"),
        ([1, 2], spec(), "/in", "expected the shape [n, 2], got [2]"),
        ([[300, 0]], spec("UINT8"), "/in", "a number is out of the range of UINT8"),
        ([[2**63, 0]], spec("INT64"), "/in", "a number is out of the range of INT64"),
        ([[2**70, 0]], spec("INT64"), "/in", "a number is out of the range of INT64"),
        ([[-1e39, 0]], spec(), "/in", "a number is out of the range of FP32"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(value: Any, wanted: ArraySpec, path: str, message: str) -> None:
    with pytest.raises(Refused) as caught:
        array_from_json(value, wanted, "/in")
    assert (caught.value.status, caught.value.flaws[0].path, caught.value.flaws[0].message) == (422, path, message)


def test_a_body_with_a_thousand_flaws_names_ten() -> None:
    with pytest.raises(Refused) as caught:
        array_from_json([["a", "b"]] * 500, spec(), "")
    assert len(caught.value.flaws) == 10


def test_a_tensor_may_change_its_width_and_not_its_kind() -> None:
    wide = Tensor(name="x", datatype="FP64", shape=(1, 2), value=np.array([[0.5, 1.5]]))
    assert cast_tensor(wide, spec(), "/inputs/0").dtype == "float32"
    whole = Tensor(name="x", datatype="INT64", shape=(1, 2), value=np.array([[1, 2]]))
    with pytest.raises(Refused, match="422") as caught:
        cast_tensor(whole, spec(), "/inputs/0")
    assert caught.value.flaws[0].path == "/inputs/0/datatype"


# Signatures ----------------------------------------------------------------------------------------------------------


def summing(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"sum": sum(value.sum(axis=-1) for value in arrays.values())}


def model_of(*inputs: ArraySpec) -> TensorModel:
    outputs = (TensorSpec(name="sum", datatype="FP32", shape=(-1,)),)
    signature = Signature(inputs=inputs, outputs=outputs, run=summing)
    return TensorModel(signatures={"serving_default": signature}, default="serving_default", title="t", platform="p")


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1, 2], [3, 4]]},
        {"instances": [{"any": [1, 2]}, {"any": [3, 4]}]},
        {"inputs": [[1, 2], [3, 4]]},
        {"inputs": {"keras_tensor": [[1, 2], [3, 4]]}},
        {"x": [[1, 2], [3, 4]]},
        [[1, 2], [3, 4]],
    ],
)
def test_a_single_input_is_taken_in_every_form_and_by_any_name(body: Any) -> None:
    assert plain(model_of(spec()).native(body)) == {"predictions": [3.0, 7.0]}


def test_one_row_is_a_batch_of_one() -> None:
    assert plain(model_of(spec()).native([1, 2])) == {"predictions": [3.0]}


def test_a_model_for_a_batch_of_one_is_asked_once_a_row() -> None:
    model = model_of(spec(shape=(1, 2)))
    assert plain(model.rows([[1, 2], [3, 4]], "")) == [3.0, 7.0]


def test_several_inputs_are_taken_by_name_and_a_missing_one_is_named() -> None:
    model = model_of(spec(name="left"), spec(name="right"))
    assert plain(model.native({"left": [[1, 2]], "right": [[3, 4]]})) == {"predictions": [10.0]}
    with pytest.raises(Refused) as caught:
        model.native({"left": [[1, 2]], "wrong": [[3, 4]]})
    assert [(flaw.path, flaw.message) for flaw in caught.value.flaws] == [
        ("/right", "this input is missing"),
        ("/wrong", "unknown input; this model has: left, right"),
    ]


def test_an_unknown_signature_or_output_is_refused_with_those_that_there_are() -> None:
    model = model_of(spec())
    with pytest.raises(Refused, match="unknown signature 'other'"):
        model.rows([[1, 2]], "other")
    tensor = Tensor(name="x", datatype="FP32", shape=(1, 2), value=np.array([[1, 2]], dtype="float32"))
    assert plain(model.tensors([tensor], ["output-0"])) == {"output-0": [3.0]}
    with pytest.raises(Refused, match="unknown output 'other'"):
        model.tensors([tensor], ["other"])


def test_rows_of_a_model_with_an_output_for_the_whole_batch_are_refused_by_its_name() -> None:
    def run(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"each": arrays["x"].sum(axis=-1), "all": arrays["x"].sum()}

    signature = Signature(inputs=(spec(),), outputs=(), run=run)
    model = TensorModel(signatures={"s": signature}, default="s", title="t", platform="p")
    assert plain(model.native([[1, 2], [3, 4]])) == {"predictions": {"each": [3.0, 7.0], "all": 10.0}}
    with pytest.raises(Refused) as caught:
        model.rows([[1, 2], [3, 4]], "")
    assert caught.value.flaws[0].message.startswith("the output all does not have an entry for each row")


def test_zeros_are_made_only_where_the_signature_says_every_size() -> None:
    def zeros(*inputs: ArraySpec) -> Any:
        return zeros_body(model_of(*inputs).signatures["serving_default"])

    assert zeros(spec()) == {"inputs": {"x": [[0, 0]]}}
    assert zeros(spec("BOOL", (-1,))) == {"inputs": {"x": [False]}}
    assert zeros(spec(shape=(-1, -1))) is None
    assert zeros(spec(shape=None)) is None
    assert zeros(spec("BYTES")) is None
    assert zeros(spec(shape=(-1, 2000, 2000))) is None


# Rows and texts ------------------------------------------------------------------------------------------------------


def test_a_string_is_no_number_for_a_model_of_numbers_even_when_it_reads_like_one() -> None:
    numbers = RowSpec(feature_count=2, feature_names=(), as_frame=False, takes_texts=False)
    assert rows_from_json([[1, None]], numbers, "").dtype == "float64"
    with pytest.raises(Refused) as caught:
        rows_from_json([[1, 2], ["1.5", None]], numbers, "/instances")
    assert [(flaw.path, flaw.message) for flaw in caught.value.flaws] == [
        ("/instances/1/0", "expected a number, got a string")
    ]


class InvalidArgumentError(Exception):
    """As TensorFlow names it."""


class InvalidArgument(Exception):  # noqa: N818 -- the name is what is looked at
    """As onnxruntime names it."""


@pytest.mark.parametrize(
    ("exc", "message"),
    [
        (IndexError("index out of range in self"), "index out of range in self"),
        (
            RuntimeError(
                'Traceback of TorchScript:\n  File "/x/site-packages/shape.py", line 1\n'
                "RuntimeError: addmm: mat1 and mat2 shapes cannot be multiplied (1x3 and 4x5)\n"
            ),
            "addmm: mat1 and mat2 shapes cannot be multiplied (1x3 and 4x5)",
        ),
        (AssertionError("Guard failed: input.size()[1] == 4"), "Guard failed: input.size()[1] == 4"),
        (
            InvalidArgumentError("Graph execution error:\n\nindices[0,1] = 99 is not in [0, 5)\n\t [[{{node x}}]]"),
            "indices[0,1] = 99 is not in [0, 5)",
        ),
        (
            InvalidArgument(
                "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running Gather node. "
                "Name:'' Status Message: indices element out of data bounds, idx=99 must be within [-3,2]"
            ),
            "indices element out of data bounds, idx=99 must be within [-3,2]",
        ),
        (
            ValueError("Found unknown categories ['x'] in column 0 during transform"),
            "Found unknown categories ['x'] in column 0 during transform",
        ),
        (ValueError("Input X contains NaN.\nSee the documentation"), "Input X contains NaN."),
    ],
)
def test_what_a_framework_says_of_the_input_is_the_callers_move(exc: Exception, message: str) -> None:
    refusal = refusal_of(exc, "/instances")
    assert refusal is not None
    assert refusal.status == 422
    assert [(flaw.path, flaw.message) for flaw in refusal.flaws] == [
        ("/instances", f"the model did not take it: {message}")
    ]


@pytest.mark.parametrize(
    "exc",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes for the shape"),
        KeyError("shape"),
        ValueError("the database is away"),
        RuntimeError(""),
        AssertionError(),
        OSError("index out of range"),
    ],
)
def test_any_other_failure_is_the_models(exc: Exception) -> None:
    assert refusal_of(exc, "") is None


def test_a_category_that_the_model_never_saw_is_named_to_the_caller() -> None:
    from sklearn.preprocessing import OneHotEncoder

    from runtime.frameworks.sklearn import make_sklearn_model

    model = make_sklearn_model(make_pipeline(OneHotEncoder(), LogisticRegression()).fit([["a"], ["b"]], [0, 1]))
    assert plain(model.native([["a"]])) == {"predictions": [0]}
    with pytest.raises(Refused) as caught:
        model.native({"instances": [["z"]]})
    assert caught.value.flaws[0].path == "/instances"
    assert "Found unknown categories ['z'] in column 0" in caught.value.flaws[0].message


def test_a_failure_about_the_input_of_a_first_call_is_told_as_the_framework_said_it() -> None:
    def run(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        raise IndexError("index out of range in self")

    signature = Signature(inputs=(spec(),), outputs=(), run=run)
    model = TensorModel(signatures={"s": signature}, default="s", title="t", platform="p")
    with pytest.raises(Refused) as caught:
        model.native([[1, 2]])
    failure = failure_of(caught.value, origin("onnx", None, "1.32.0"), "example-failed")
    assert (failure.code, failure.fields["type"]) == ("example-failed", "IndexError")


class Pipeline:
    """A pipeline of transformers as far as a failure of it is judged: a word is a token."""

    def __init__(self, positions: int | None, padding: int | None = None) -> None:
        self.model = self
        self.config = SimpleNamespace(max_position_embeddings=positions)
        self._table = SimpleNamespace(padding_idx=padding)

    def tokenizer(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [0 for _ in text.split()]}

    def named_modules(self) -> list[tuple[str, object]]:
        return [("", self), ("bert.embeddings.position_embeddings", self._table)]


class PipelineException(Exception):  # noqa: N818 -- as transformers names it
    """No mask."""


TOO_MANY = RuntimeError("The expanded size of the tensor (6) must match the existing size (4)")


@pytest.mark.parametrize(
    ("asked", "task", "parameters", "exc", "path", "message"),
    [
        (Pipeline(4), "fill-mask", {}, TOO_MANY, "/inputs/0", "the text has 5 tokens; this model takes at most 4"),
        (
            Pipeline(6, padding=1),  # RoBERTa's positions begin behind the padding's
            "text-classification", {}, IndexError("index out of range in self"), "/inputs/0",
            "the text has 5 tokens; this model takes at most 4",
        ),
        (
            Pipeline(8), "text-generation", {"max_new_tokens": 9}, IndexError("index out of range in self"),
            "/inputs/0", "the text has 5 tokens, and 9 more were asked for; this model takes at most 8 together",
        ),
        (
            Pipeline(8), "text-generation", {"tp_k": 1}, ValueError("`model_kwargs` are not used: ['tp_k']"),
            "/parameters", "`model_kwargs` are not used: ['tp_k']",
        ),
        (
            Pipeline(8), "fill-mask", {}, PipelineException("No mask_token ([MASK]) found on the input"), "/inputs/0",
            "No mask_token ([MASK]) found on the input",
        ),
        (
            Pipeline(None), "feature-extraction", {}, IndexError("index out of range in self"), "/inputs/0",
            "the model did not take it: index out of range in self",
        ),
    ],
)  # fmt: skip
def test_what_a_caller_of_a_pipeline_did_wrong_is_told_with_its_place(
    asked: Pipeline, task: str, parameters: dict[str, Any], exc: Exception, path: str, message: str
) -> None:
    refusal = judge_failure(asked, task, "one two three four five", parameters, exc, "/inputs/0")
    assert refusal is not None
    assert (refusal.status, [(flaw.path, flaw.message) for flaw in refusal.flaws]) == (422, [(path, message)])


def test_a_failure_of_a_pipeline_that_no_caller_can_mend_is_the_models() -> None:
    for exc in (RuntimeError("the weights are gone"), KeyError("x"), TypeError("unhashable")):
        assert judge_failure(Pipeline(64), "fill-mask", "one", {}, exc, "") is None


@pytest.mark.parametrize("name", ["custom_generate", "trust_remote_code"])
def test_sec_a_caller_never_chooses_which_code_generates(name: str) -> None:
    model = TextModel(pipeline=lambda text: text, task="text-generation", title="t")
    with pytest.raises(Refused) as caught:
        model.native({"inputs": "a", "parameters": {"max_new_tokens": 1, name: "."}})
    assert [flaw.path for flaw in caught.value.flaws] == [f"/parameters/{name}"]


# Bundles -------------------------------------------------------------------------------------------------------------


def fitted() -> tuple[StandardScaler, LogisticRegression]:
    scaler = StandardScaler().fit(ROWS)
    return scaler, LogisticRegression().fit(scaler.transform(ROWS), CLASSES)


@pytest.mark.parametrize("form", ["dict", "tuple", "with notes"])
def test_a_bundle_of_one_model_and_its_transformer_is_a_pipeline(form: str) -> None:
    scaler, model = fitted()
    held: Any = (scaler, model) if form == "tuple" else {"model": model, "scaler": scaler}
    if form == "with notes":
        held |= {"columns": ["a", "b"], "version": "1", "means": np.zeros(2)}
    assert estimator_of(held).predict(ROWS).tolist() == model.predict(scaler.transform(ROWS)).tolist()


def test_a_transformer_of_other_columns_is_no_certain_bundle() -> None:
    _, model = fitted()
    other = StandardScaler().fit(np.zeros((2, 3)))
    with pytest.raises(NeedsCode) as caught:
        estimator_of({"model": model, "scaler": other})
    assert caught.value.found == "a dict of model: LogisticRegression, scaler: StandardScaler"


def test_a_pipeline_beside_its_transformer_is_no_certain_bundle() -> None:
    scaler, model = fitted()
    pipeline = make_pipeline(scaler, model)
    assert estimator_of({"model": pipeline, "columns": ["a", "b"]}) is pipeline
    with pytest.raises(NeedsCode):
        estimator_of({"model": pipeline, "scaler": scaler})


@pytest.mark.parametrize("held", [{"a": object()}, [], {}, 5, "text", LogisticRegression])
def test_what_cannot_predict_is_refused(held: Any) -> None:
    with pytest.raises(NeedsCode):
        estimator_of(held)


# Failures ------------------------------------------------------------------------------------------------------------


def origin(framework: str, written_by: str | None, version: str) -> Origin:
    return Origin(
        framework=framework,
        distribution=framework,
        version=version,
        written_by=written_by,
        model_file="m",
        example=None,
        app_dir=Path("/app"),
    )


@pytest.mark.parametrize(
    ("framework", "written_by", "version", "message", "code"),
    [
        ("xgboost", "xgboost 3.2.0", "2.1.0", "bad version", "framework-skew"),
        ("xgboost", "xgboost 3.2.0", "3.2.0", "cut", "framework-load-failed"),
        ("torch", "torch 2.15.0", "2.15.0+cpu", "cut", "framework-load-failed"),
        ("onnx", None, "1.32.0", "cut", "framework-load-failed"),
        (
            "keras",
            "keras 2.9.0",
            "3.15.1",
            "Unrecognized keyword arguments passed to DepthwiseConv2D",
            "old-keras-file",
        ),
        ("sklearn", "scikit-learn 1.2.2", "1.7.2", "cut", "framework-skew"),
        ("keras", "keras 3.15.1", "3.15.1", "Could not locate class 'Mine'", "framework-load-failed"),
        ("keras", None, "3.15.1", "Could not locate class 'TFOpLambda'", "old-keras-file"),
        ("sklearn", None, "1.7.2", "cut", "load-failed"),
    ],
)
def test_a_failed_load_is_told_by_what_its_owner_can_change(
    framework: str, written_by: str | None, version: str, message: str, code: str
) -> None:
    failure = failure_of(ValueError(message), origin(framework, written_by, version))
    assert failure.code == code
    assert failure.fields["message"] == message


def test_every_code_of_a_failed_start_is_one_that_the_server_reads() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (Path(__file__).parents[2] / "runtime").rglob("*.py")]
    codes = {code for source in sources for code in re.findall(r"BootFailed\(\s*\"([^\"]+)\"", source)}
    assert {"old-keras-file", "framework-skew", "load-failed"} <= codes
    # gitserver/targets/readiness.py takes letters and hyphens alone from a release's report
    assert [code for code in codes if not re.fullmatch(r"[a-z][a-z-]{1,40}", code)] == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_narrow_float_leaves_as_the_shortest_decimal_of_its_own_width(dtype: str) -> None:
    assert plain(np.array([0.1, 1.5, np.nan, np.inf], dtype=dtype)) == [0.1, 1.5, None, None]
    assert plain(np.dtype(dtype).type(0.1)) == 0.1


@pytest.mark.parametrize("kind", ["usual", "every bit", "decimals"])
def test_an_array_of_narrow_floats_leaves_as_each_of_them_alone_would(kind: str) -> None:
    random = np.random.default_rng(7)
    array = random.normal(size=4000).astype("float32")
    if kind == "every bit":
        array = random.integers(0, 2**32, 4000, dtype="uint64").astype("uint32").view("float32")
        array = array[np.isfinite(array)]
    if kind == "decimals":
        array = (random.integers(-999999, 999999, 4000) / 10.0 ** random.integers(0, 9, 4000)).astype("float32")
    assert plain(array) == [float(str(value)) for value in array]
    assert (np.array(plain(array)).astype("float32") == array).all()
