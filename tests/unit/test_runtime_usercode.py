"""Rules of user-code contracts: bounds of arguments, files of callers, folders, answers that are compared."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.deadline import describe_hang, process_age_s
from runtime.failure import BootFailed
from runtime.hints import Unfit, bare, cast, takes_mapping
from runtime.model import Tensor
from runtime.refusal import Refused
from runtime.settings import Kind, ServeDoc, parse_serve
from runtime.smoketests import find_difference, read_cases
from runtime.usercontracts import cog_stub
from runtime.usercontracts.algorithmia_client import LocalClient
from runtime.usercontracts.arity import accepts, call_with_room
from runtime.usercontracts.cog import make_model
from runtime.usercontracts.cog_files import InputFiles, with_files_inlined
from runtime.usercontracts.model_folder import find_model_folder
from runtime.usercontracts.whole_body import WholeBodyModel

# The serve document ---------------------------------------------------------------------------------------------------


def test_a_serve_document_has_every_key_and_passes_over_the_unknown() -> None:
    text = json.dumps(
        {
            "kind": "model-file", "file": None, "name": None, "model_file": "m.json", "framework": "xgboost",
            "format": "json", "written_by": "xgboost 3.2.0", "example": None, "tests": "TEST_CASES.json", "later": 1,
        }
    )  # fmt: skip
    assert parse_serve(text) == ServeDoc(
        kind=Kind.MODEL_FILE, model_file="m.json", framework="xgboost", format="json", written_by="xgboost 3.2.0",
        tests="TEST_CASES.json",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["sklearn-file", "fortran", ""])
def test_a_kind_that_is_not_known_is_refused(kind: str) -> None:
    with pytest.raises(BootFailed) as caught:
        parse_serve(json.dumps({"kind": kind, "file": "a.py", "name": "f", "model_file": "m"}))
    assert caught.value.fields["name"] == "ALGO_SERVE"


# Arguments ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    ge: float | None = None
    lt: float | None = None
    pattern: str | None = None


@dataclass(frozen=True)
class Field:
    metadata: tuple[Any, ...]


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        (3, Annotated[int, Bound(ge=4)], "expected at least 4, got 3"),
        (4, Annotated[int, Bound(lt=4)], "expected less than 4, got 4"),
        ("x", Annotated[str, Bound(pattern="[0-9]")], "expected text that matches [0-9]"),
        ("x1", Annotated[str, cog_stub.Input(regex="[0-9]")], "expected text that matches [0-9]"),
        ("é", bytes, "expected base64 text"),
        (3, Annotated[int, Field((Bound(ge=9),))], "expected at least 9, got 3"),
        ("abc", Annotated[str, cog_stub.Input(max_length=2)], "expected at most 2 characters or items, got 3"),
        ("c", Annotated[str, cog_stub.Input(choices=["a", "b"])], "expected one of 'a', 'b'"),
        (True, Annotated[int, Bound(ge=0)], "expected a whole number, got a boolean"),
    ],
)
def test_bounds_beside_a_hint_are_kept(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(Unfit) as caught:
        cast(value, hint, "/x")
    assert [(flaw.path, flaw.message) for flaw in caught.value.flaws] == [("/x", message)]


def test_bounds_leave_alone_what_they_do_not_speak_of() -> None:
    assert cast(None, Annotated[int | None, Bound(ge=4)], "") is None
    assert cast(5, Annotated[int, Bound(ge=4, lt=6), "a note"], "") == 5
    assert cast("x1", Annotated[str, Bound(pattern="[0-9]")], "") == "x1"
    assert bare(Annotated[int, 1]) is int
    assert takes_mapping(Annotated[dict[str, int], "note"]) is True


def test_a_function_gets_as_many_arguments_as_it_has_room_for() -> None:
    assert call_with_room(lambda a: a, 1, extra="context") == 1
    assert call_with_room(lambda a, context: context, 1, extra="context") == "context"
    assert call_with_room(lambda *everything: everything, 1, extra=2) == (1, 2)
    assert accepts(dict, 1)
    assert not accepts(lambda: None, 1)


# Cog ------------------------------------------------------------------------------------------------------------------


def test_a_cog_function_needs_what_has_no_default() -> None:
    def predict(a: int, b: int = cog_stub.Input(default=2, le=5), c: str = cog_stub.Input()) -> str:
        return f"{a}{b}{c}"

    model = make_model(predict, "p.py", Path("/nowhere"))
    assert model.signature.required == {"a", "c"}
    assert model.native({"a": 1, "c": "x"}) == "12x"
    assert [spec.datatype for spec in model.inputs] == ["INT64", "INT64", "BYTES"]
    with pytest.raises(Refused, match="does not fit"):
        model.native({"a": 1, "b": 6, "c": "x"})


def test_a_cog_class_with_run_and_predict_is_refused() -> None:
    class Both:
        def run(self) -> None: ...

        def predict(self) -> None: ...

    with pytest.raises(BootFailed, match="contract-mixed"):
        make_model(Both, "p.py", Path("/nowhere"))
    with pytest.raises(BootFailed, match="entry-missing"):
        make_model(type("Neither", (), {}), "p.py", Path("/nowhere"))


def test_cogs_weights_folder_reaches_setup(tmp_path: Path) -> None:
    class Predictor(cog_stub.BasePredictor):
        def setup(self, weights: Any = None) -> None:
            self.weights = weights

        def predict(self) -> str:
            return "none" if self.weights is None else self.weights.name

    assert make_model(Predictor, "p.py", tmp_path).native({}) == "none"
    (tmp_path / "weights").mkdir()
    assert make_model(Predictor, "p.py", tmp_path).native({}) == "weights"


def test_input_takes_no_default_factory_as_cogs_does_not() -> None:
    with pytest.raises(TypeError, match="default_factory"):
        cog_stub.Input(default_factory=list)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/cat.png").write_bytes(b"meow")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_behind_a_url_is_fetched_and_deleted_again(site: str) -> None:
    files = InputFiles()
    path = files.save(f"{site}/cat.png", "/image")
    assert (path.name, path.read_bytes()) == ("cat.png", b"meow")
    files.remove()
    assert not path.parent.parent.exists()
    with pytest.raises(Unfit) as caught:
        files.save(f"{site}/dog.png", "/image")
    assert "404" in caught.value.flaws[0].message
    files.remove()


@pytest.mark.parametrize(
    "url",
    ["/etc/passwd", "file:///etc/passwd", "ftp://x/y", "data:text/plain", "data:;base64,%%", "data:;base64,é", 5,
     "../x", "", "http://a b/"],
)  # fmt: skip
def test_sec_a_caller_never_names_a_file_of_the_machine(url: Any) -> None:
    files = InputFiles()
    with pytest.raises(Unfit):
        files.save(url, "/image")
    files.remove()


@dataclass(frozen=True)
class Drawn:
    image: Path
    count: int


def test_files_in_a_result_leave_as_data_urls(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hi")
    url = "data:text/plain;base64,aGk="
    assert with_files_inlined({"a": [tmp_path / "a.txt", 1]}) == {"a": [url, 1]}
    assert with_files_inlined(Drawn(tmp_path / "a.txt", 1)) == {"image": url, "count": 1}
    with (tmp_path / "a.txt").open("rb") as file:
        assert with_files_inlined(file) == url


# Whole bodies, folders, Algorithmia's client --------------------------------------------------------------------------


def test_what_other_contracts_send_becomes_a_body() -> None:
    model = WholeBodyModel(ask=lambda value: value, title="echo", rows_key="instances", inputs_key="inputs")
    assert model.rows([1, 2], "") == {"instances": [1, 2]}
    assert model.columns({"a": 1}, "") == {"inputs": {"a": 1}}
    one = Tensor(name="a", datatype="FP64", shape=(1,), value=[1.0])
    other = Tensor(name="b", datatype="FP64", shape=(1,), value=[2.0])
    assert model.tensors([one], ()) == {"inputs": [1.0]}
    assert model.tensors([one, other], ["inputs"]) == {"inputs": {"a": [1.0], "b": [2.0]}}
    with pytest.raises(Refused, match="does not fit"):
        model.tensors([one], ["nope"])


@pytest.mark.parametrize(
    ("folders", "file", "model_file", "found"),
    [
        (["code"], "code/inference.py", None, ""),
        (["model/code"], "model/code/inference.py", None, "model"),
        (["model"], "score.py", None, "model"),
        (["model", "models"], "score.py", None, ""),
        (["model", "models"], "score.py", "models/a/b.bin", "models"),
        (["data/x"], "score.py", "data/x/b.bin", "data/x"),
        ([], "score.py", "b.bin", ""),
        ([], "score.py", None, ""),
    ],
)
def test_the_models_folder_is_where_the_platform_would_unpack_it(
    tmp_path: Path, folders: list[str], file: str, model_file: str | None, found: str
) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    serve = ServeDoc(kind=Kind.SAGEMAKER, file=file, name="model_fn", model_file=model_file)
    assert find_model_folder(serve, tmp_path) == tmp_path / found


def test_the_client_knows_files_of_the_repository_alone(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"b": 1}')

    def find(name: str) -> Path | None:
        return tmp_path / name if (tmp_path / name).is_file() else None

    file = LocalClient(find, ValueError).file("data://me/there/a.json")
    assert (file.exists(), file.getJson(), file.getString(), file.getBytes()) == (
        True,
        {"b": 1},
        '{"b": 1}',
        b'{"b": 1}',
    )
    gone = LocalClient(find, ValueError).file("data://me/there/gone.json")
    assert gone.exists() is False
    with pytest.raises(ValueError, match=r"data://me/there/gone\.json: .* gone\.json is not in the repository"):
        gone.getFile()
    with pytest.raises(ValueError, match="put is not possible"):
        file.put("x")


# Answers --------------------------------------------------------------------------------------------------------------

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_a_value_never_differs_from_itself(value: Any) -> None:
    assert find_difference(value, json.loads(json.dumps(value)), None) is None


@given(PLAIN, PLAIN)
def test_two_values_differ_from_both_sides(one: Any, other: Any) -> None:
    assert (find_difference(one, other, None) is None) == (find_difference(other, one, None) is None)


@pytest.mark.parametrize(
    ("expected", "found", "place"),
    [
        (1, 1.0, None),
        (1.0, 1.0000001, None),
        (0, 1e-12, None),
        (1.0, 1.00001, ""),
        (True, 1, ""),
        ("1", 1, ""),
        ([1, 2], [1, 3], "/1"),
        ([1], [1, 2], ""),
        ({"a": {"b/c": [0, 1]}}, {"a": {"b/c": [0, 2]}}, "/a/b~1c/1"),
        ({"a": 1}, {"a": 1, "b": 2}, "/b"),
        ("ab", ["a", "b"], ""),
        (["a"], "a", ""),
        (None, 0, ""),
    ],
)
def test_the_place_where_answers_differ_is_found(expected: Any, found: Any, place: str | None) -> None:
    assert find_difference(expected, found, None) == place


def test_a_tolerance_is_absolute_or_relative() -> None:
    assert find_difference(100.0, 101.0, 0.02) is None
    assert find_difference(0.0, 0.01, 0.02) is None
    assert find_difference(100.0, 103.0, 0.02) == ""


def test_a_sample_without_an_answer_is_one_request_that_must_not_raise(tmp_path: Path) -> None:
    (tmp_path / "sample_input.json").write_text('[{"input": 1}, {"input": 2}]')
    [case] = read_cases(tmp_path, "sample_input.json")
    assert (case.type, case.body) == ("NO_EXCEPTION", [{"input": 1}, {"input": 2}])


# Hangs ----------------------------------------------------------------------------------------------------------------


def test_a_hang_is_told_by_the_users_line_and_without_one_by_the_package(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("def fit(frame):\n    return frame()\n")
    scope: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    frame = scope["fit"](_own_frame)
    hang = describe_hang(frame, tmp_path, 30)
    assert (hang.code, hang.fields) == (
        "load-timeout", {"at": "train.py line 2", "file": "train.py", "line": 2, "seconds": 30}
    )  # fmt: skip
    assert hang.log == ("Still running (your own lines):", '  File "train.py", line 2, in fit')
    assert describe_hang(sys._getframe(), tmp_path, 30).fields["at"] == f"the package {__name__.partition('.')[0]}"
    assert describe_hang(None, tmp_path, 30).fields["at"] == "the load"


def _own_frame() -> Any:
    return sys._getframe()


def test_a_process_knows_its_age() -> None:
    assert 0 < process_age_s(os.getpid()) < 24 * 3600
