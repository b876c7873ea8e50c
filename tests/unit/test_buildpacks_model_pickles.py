"""Pickles walked by their opcodes: every name that loading would import is seen, and held to a list."""

from __future__ import annotations

import collections
import copyreg
import io
import json
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

from buildpacks.model.opcodes import Walk, walk_pickle
from buildpacks.model.safety import judge
from buildpacks.model.signature import inspect_file
from buildpacks.model.stream import Source

RNG = np.random.default_rng(0)
X, Y = RNG.random((60, 4)), RNG.integers(0, 3, 60)
ESTIMATORS = [
    LogisticRegression(), RandomForestClassifier(5), GradientBoostingClassifier(n_estimators=2),
    HistGradientBoostingClassifier(max_iter=2), SVC(), KNeighborsClassifier(), DecisionTreeRegressor(),
    MLPClassifier(max_iter=3), make_pipeline(StandardScaler(), LogisticRegression()),
    GridSearchCV(LogisticRegression(), {"C": [1.0, 2.0]}, cv=2, scoring="accuracy"),
    make_pipeline(ColumnTransformer([("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(handle_unknown="ignore"),
                                                                      [2, 3])]), LogisticRegression()),
]  # fmt: skip


def walk(data: bytes) -> Walk:
    return walk_pickle(Source(iter([data])))


def names(data: bytes) -> set[str]:
    return {f"{found.module}.{found.name}" for found in walk(data).globals}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("form", ["joblib", "joblib-zlib", "pickle-2", "pickle-5"])
def test_what_scikit_learn_writes_is_on_its_list_and_read_to_its_end(tmp_path: Path, estimator: Any, form: str) -> None:
    path = tmp_path / "m.joblib"
    model = estimator.fit(X, Y)
    if form.startswith("joblib"):
        joblib.dump(model, path, compress=3 if form.endswith("zlib") else 0)
    else:
        path.write_bytes(pickle.dumps(model, int(form[-1])))
    found = inspect_file(str(path), "m.joblib")
    assert found is not None
    assert found.detail.get("outside") is None
    assert found.detail.get("unread") is None
    assert (found.framework, found.detail["class"], found.detail["features"]) == ("sklearn", type(model).__name__, 4)


def test_names_of_columns_and_steps_are_read(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    model[0].feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
    model[0].n_features_in_ = 4
    joblib.dump(model, tmp_path / "m.joblib")
    found = inspect_file(str(tmp_path / "m.joblib"), "m.joblib")
    assert found is not None
    assert (found.detail["steps"], found.detail["names"]) == (
        "StandardScaler > LogisticRegression", '["a", "b", "c", "d"]',
    )  # fmt: skip


def test_a_bundle_without_keys_tells_its_places(tmp_path: Path) -> None:
    joblib.dump((StandardScaler(), LogisticRegression().fit(X, Y)), tmp_path / "m.joblib")
    found = inspect_file(str(tmp_path / "m.joblib"), "m.joblib")
    assert found is not None
    assert (found.kind, found.detail["keys"]) == ("container", "0: StandardScaler, 1: LogisticRegression")
    assert found.version


def test_a_bundle_tells_its_keys(tmp_path: Path) -> None:
    joblib.dump({"model": LogisticRegression().fit(X, Y), "scaler": StandardScaler(), "rows": X}, tmp_path / "m.joblib")
    found = inspect_file(str(tmp_path / "m.joblib"), "m.joblib")
    assert found is not None
    assert (found.framework, found.kind) == ("pickle", "container")
    assert found.detail["keys"] == "model: LogisticRegression, scaler: StandardScaler"


@pytest.mark.parametrize(
    "value", [[1, "a", 2.5], {"a": 1}, X, np.float64(3), {"columns": ["a", "b"]}, collections.OrderedDict(a=1)],
    ids=str,
)  # fmt: skip
def test_numbers_texts_and_tables_are_data_and_no_model(tmp_path: Path, value: object) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(value))
    found = inspect_file(str(tmp_path / "m.pkl"), "m.pkl")
    assert found is not None
    assert (found.framework, found.kind) == ("pickle", "data")


class _Runs:
    def __init__(self, call: Callable[..., object], *args: object) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call, self.args


HOSTILE: dict[str, tuple[bytes, str]] = {
    "reduce": (pickle.dumps(_Runs(os.system, "true")), "posix.system"),
    "eval": (pickle.dumps(_Runs(eval, "1")), "builtins.eval"),
    "protocol 0": (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
    "inst": (b"(S'true'\nios\nsystem\n.", "os.system"),
    "obj": (b"(cos\nsystem\nS'true'\no.", "os.system"),
    "newobj": (b"\x80\x02cos\nsystem\n(S'true'\nt\x81.", "os.system"),
    "stack global through the memo": (
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x04true\x85R.", "os.system"),
    "dotted": (b"\x80\x04\x8c\x07sklearn\x8c\x15utils.os.system.thing\x93.", "sklearn.utils.os.system.thing"),
    "numpy's exec": (
        b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.", "numpy.testing._private.utils.runstring"),
    "a helper of scikit-learn's tests": (
        b"\x80\x02csklearn.utils._testing\nSafeFunction\n.", "sklearn.utils._testing.SafeFunction"),
    "code by cloudpickle": (
        b"\x80\x02ccloudpickle.cloudpickle\n_make_function\n.", "cloudpickle.cloudpickle._make_function"),
    "operator": (b"coperator\nattrgetter\n(S'system'\ntR.", "operator.attrgetter"),
    "functools": (b"cfunctools\npartial\n.", "functools.partial"),
    "torch.hub": (b"ctorch.hub\nload\n.", "torch.hub.load"),
}  # fmt: skip


@pytest.mark.parametrize("framework", ["sklearn", "torch", "pickle"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_outside_the_list_is_never_missed(name: str, framework: str) -> None:
    data, expected = HOSTILE[name]
    verdict = judge(walk(data), framework)
    assert expected in verdict.outside


@pytest.mark.parametrize(
    "name", ["posix.system", "os.system", "builtins.eval", "subprocess.Popen", "operator.attrgetter",
             "numpy.testing._private.utils.runstring", "cloudpickle.cloudpickle._make_function", "runpy.run_path"],
)  # fmt: skip
def test_what_runs_code_by_itself_is_told_loudly(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert judge(walk(f"c{module}\n{attribute}\n.".encode()), "").loud == (name,)


def test_a_hostile_part_inside_joblibs_arrays_of_objects_is_seen(tmp_path: Path) -> None:
    array = np.array([_Runs(os.system, "true"), None], dtype=object)
    joblib.dump({"model": LogisticRegression().fit(X, Y), "x": array}, tmp_path / "m.joblib")
    found = inspect_file(str(tmp_path / "m.joblib"), "m.joblib")
    assert found is not None
    assert json.loads(str(found.detail["loud"])) == ["posix.system"]


def test_what_follows_raw_arrays_is_seen(tmp_path: Path) -> None:
    joblib.dump([RNG.random(5000), X.astype("float32"), np.array(["a", "b"]), _Runs(os.system, "true")],
                tmp_path / "m.joblib")  # fmt: skip
    found = inspect_file(str(tmp_path / "m.joblib"), "m.joblib")
    assert found is not None
    assert json.loads(str(found.detail["loud"])) == ["posix.system"]


def test_code_inside_a_transformer_of_functions_is_seen(tmp_path: Path) -> None:
    joblib.dump(make_pipeline(FunctionTransformer(os.system), LogisticRegression()), tmp_path / "m.joblib")
    found = inspect_file(str(tmp_path / "m.joblib"), "m.joblib")
    assert found is not None
    assert json.loads(str(found.detail["outside"])) == ["posix.system"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x80\x04", "cut off"), (b"\x80\x02\x82\x01.", "a class by a number of copyreg's registry"),
        (b"\x80\x02(((.", ""), (b"\x80\x02\xfe.", "no pickle: KeyError"), (b"\x80\x02t.", "no pickle: no mark"),
        (b"\x80\x02h\x05.", "no pickle: KeyError"), (b"\x80\x02K\x01K\x02\x93.", "a class without a name"),
        (b"\x80\x05X\xff\xff\xff\xffabc", "cut off"), (b"\x80\x05\x8e" + b"\xff" * 8, ""),
        (b"\x80\x02" + b"(" * 1000 + b"t" * 1000, "cut off"), (b"\x80\x02" + b"N0" * 600_000 + b"N.", "too long"),
    ],
)  # fmt: skip
def test_a_stream_that_cannot_be_followed_is_unsafe(data: bytes, why: str) -> None:
    found = walk(data)
    if why:
        assert not found.complete
        assert why in found.why
        assert not judge(found, "").whole
    else:
        assert found.complete or found.why


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, (2.5, None, True, "x" * 300), {3}], b"b": 2**70}, [[], {}, (), set(), frozenset({1})],
        collections.Counter("abc"), range(3), bytearray(b"abc"), complex(1, 2), "ünï" * 200, b"\0" * 400,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_every_protocol_is_followed_to_its_end(value: object, protocol: int) -> None:
    found = walk(pickle.dumps(value, protocol))
    assert found.complete, found.why
    assert judge(found, "").outside == ()


def test_a_file_of_protocol_0_is_seen_under_a_pickles_name_alone(tmp_path: Path) -> None:
    data = b"cos\nsystem\n(S'true'\ntR."
    for name in ("m.pkl", "notes"):
        (tmp_path / name).write_bytes(data)
    found = inspect_file(str(tmp_path / "m.pkl"), "m.pkl")
    assert found is not None
    assert json.loads(str(found.detail["loud"])) == ["os.system"]
    assert inspect_file(str(tmp_path / "notes"), "notes") is None
    (tmp_path / "text.pkl").write_text("just a text\n")
    assert inspect_file(str(tmp_path / "text.pkl"), "text.pkl") is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bytes_that_are_changed_cut_or_zeroed_never_make_the_walk_fall(data: st.DataObject) -> None:
    buffer = io.BytesIO()
    joblib.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), buffer)
    changed = bytearray(buffer.getvalue())
    start = data.draw(st.integers(0, len(changed) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "zero", "insert"])):
        case "flip":
            changed[start] ^= data.draw(st.integers(1, 255))
        case "cut":
            del changed[start:]
        case "zero":
            length = min(data.draw(st.integers(1, 64)), len(changed) - start)
            changed[start : start + length] = bytes(length)
        case _:
            changed[start:start] = data.draw(st.binary(max_size=20))
    found = walk(bytes(changed))
    assert found.complete or found.why


def test_the_reconstructor_of_old_protocols_tells_the_class(tmp_path: Path) -> None:
    assert "copyreg._reconstructor" in names(pickle.dumps(LogisticRegression().fit(X, Y), 1)) | {
        f"{copyreg.__name__}._reconstructor"
    }
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(X, Y), 0))
    found = inspect_file(str(tmp_path / "m.pkl"), "m.pkl")
    assert found is not None
    assert (found.framework, found.detail["class"], found.detail["features"]) == ("sklearn", "LogisticRegression", 4)


def test_a_compressed_stream_is_followed_through_its_compression(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(zlib.compress(pickle.dumps(_Runs(os.system, "true"))))
    found = inspect_file(str(tmp_path / "m.pkl"), "m.pkl")
    assert found is not None
    assert json.loads(str(found.detail["loud"])) == ["posix.system"]
