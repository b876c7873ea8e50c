"""Model files read as bytes: what they are, who wrote them; nothing in them ever runs."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from buildpacks.model.file import ModelFile
from buildpacks.model.search import find_models
from buildpacks.model.signature import inspect_file, read_model

SKLEARN = str(sklearn.__version__)
X, Y = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.5]], [0, 1, 0, 1]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


def facts(data: bytes, path: str = "model/m.bin") -> tuple[str, str, str]:
    found = read_model(io.BytesIO(data), path)
    assert found is not None
    return found.framework, found.kind, found.version


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_estimator_tells_its_class_and_version(protocol: int) -> None:
    data = pickle.dumps(LogisticRegression().fit(X, Y), protocol)
    found = read_model(io.BytesIO(data), "m.pkl")
    assert found is not None
    assert (found.framework, found.version, found.detail["class"], found.detail["features"]) == (
        "sklearn", SKLEARN, "LogisticRegression", 2,
    )  # fmt: skip


@pytest.mark.parametrize("compress", [0, 1, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_joblib_files_are_read_through_their_compression(tmp_path: Path, compress: int | tuple[str, int]) -> None:
    joblib.dump(
        make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), tmp_path / "m.joblib", compress=compress
    )
    found = inspect_file(str(tmp_path / "m.joblib"), "m.joblib")
    assert found is not None
    assert (found.framework, found.kind, found.version, found.detail["class"]) == (
        "sklearn",
        "pickle",
        SKLEARN,
        "Pipeline",
    )


def test_a_forest_whose_arrays_come_first_still_tells(tmp_path: Path) -> None:
    joblib.dump(RandomForestClassifier(20).fit(X * 50, Y * 50), tmp_path / "m.joblib")
    found = inspect_file(str(tmp_path / "m.joblib"), "m.joblib")
    assert found is not None
    assert (found.version, found.detail["class"]) == (SKLEARN, "RandomForestClassifier")


def test_a_dictionary_of_models_is_no_model() -> None:
    assert facts(pickle.dumps({"m": LogisticRegression()})) == ("pickle", "container", SKLEARN)


def test_a_users_own_class_is_an_object_of_no_framework() -> None:
    data = b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x08__main__\x94\x8c\x05Model\x94\x93)\x81."
    found = read_model(io.BytesIO(data), "m.pkl")
    assert found is not None
    assert (found.framework, found.detail["module"], found.detail["class"]) == ("pickle", "__main__", "Model")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (LFS, ("lfs", "pointer", "")),
        ((20).to_bytes(8, "little") + b'{"__metadata__": {}}', ("safetensors", "weights", "")),
        (b'{"learner":{"a":1},"version":[3,2,0]}', ("xgboost", "json", "3.2.0")),
        (b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{", ("xgboost", "ubj", "")),
        (b"tree\nversion=v4\nnum_class=1\n", ("lightgbm", "text", "")),
        (b"GGUF\x03\x00\x00\x00", ("gguf", "gguf", "3")),
        (b"\x00\x00\x00\x00TFL3", ("tflite", "tflite", "")),
        (b"CBM1\x00", ("catboost", "cbm", "")),
        (b"\x89HDF\r\n\x1a\n" + b"model_config" + b"keras_version\x00\x003.15.0", ("keras", "h5", "")),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100 + b"layer_names", ("keras", "h5-weights", "")),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, None),
        (zipped(a__constants__pkl=b"") + b"", None),
        (zipped(**{"m/data.pkl": b"ctorch._utils\n_rebuild_tensor_v2\n."}), ("torch", "state_dict", "")),
        (zipped(**{"m/data.pkl": b"ctorch._utils\n_rebuild_tensor_v2\n"}), ("torch", "module", "")),
        (zipped(**{"m/data.pkl": b"c__main__\nNet\n"}), ("torch", "module", "")),
        (zipped(**{"m/constants.pkl": b"", "m/code/x.py": b"", "m/data.pkl": b""}), ("torch", "torchscript", "")),
        (zipped(**{"m/archive_format": b"pt2", "m/archive_version": b"0"}), ("torch", "export", "")),
        (
            zipped(**{"config.json": b"{}", "metadata.json": b'{"keras_version": "3.15.1"}', "model.weights.h5": b""}),
            ("keras", "keras", "3.15.1"),
        ),
        (
            zipped(**{"schema.json": json.dumps(
                {"__module__": "sklearn.svm", "__class__": "SVC", "_skops_version": "0.16"}).encode()}),
            ("sklearn", "skops", ""),
        ),
        (gzip.compress(b"a,b,c\n1,2,3\n"), None),
        (b"", None),
        (b"hello", None),
    ],
)  # fmt: skip
def test_first_bytes_decide(data: bytes, expected: tuple[str, str, str] | None) -> None:
    if expected is None:
        assert read_model(io.BytesIO(data), "model/m") is None
    else:
        assert facts(data) == expected


def test_onnx_is_known_by_its_whole_structure_and_never_by_its_first_bytes() -> None:
    cut = b"\x08\x0a\x12\x07pytorch\x1a"
    assert facts(cut, "model/m.onnx") == ("unknown", "damaged", "")
    assert read_model(io.BytesIO(cut), "model/m.bin") is None
    whole = b"\x08\x0a\x12\x07pytorch" + b"\x3a\x02\x12\x00" + b"\x42\x04\x0a\x00\x10\x11"
    assert facts(whole, "model/m.bin") == ("onnx", "onnx", "")


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress, bytes])
def test_a_file_that_is_cut_off_anywhere_is_a_fact_and_no_crash(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    data = pack(pickle.dumps(LogisticRegression().fit(X, Y)))
    path = tmp_path / "m.joblib"
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        inspect_file(str(path), "m.joblib")


HEADS = [
    b"", b"\x80\x04", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b'{"learner"', b"tree\nversion=", b"GGUF", b"x\x9c",
    b"\x1f\x8b", b"BZh9", b"]\x00\x00", b"\xfd7zXZ\x00", b"\x80\x04\x8c", b"\x08\x07", LFS[:50],
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HEADS), st.binary(max_size=400))
def test_no_bytes_make_a_reader_fall(tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.bin"
    path.write_bytes(head + rest)
    found = inspect_file(str(path), "model/fuzz.onnx")
    assert found is None or isinstance(found, ModelFile)


def test_a_decompression_bomb_costs_a_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(zlib.compress(b"\x80\x04" + b"\0" * (400 << 20), 1))
    found = inspect_file(str(path), "m.joblib")
    assert found is not None
    assert (found.framework, found.kind, found.version) == ("pickle", "data", "")
    assert "unread" in found.detail


class _Canary:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (os.environ["CANARY_DIR"],)


def test_sec_38_a_hostile_pickle_is_looked_at_and_never_run(tmp_path: Path) -> None:
    os.environ["CANARY_DIR"] = str(tmp_path / "ran")
    try:
        (tmp_path / "model").mkdir()
        data = pickle.dumps(_Canary())
        (tmp_path / "model" / "m.pkl").write_bytes(data)
        (tmp_path / "model" / "z.joblib").write_bytes(zlib.compress(data))
        (tmp_path / "model" / "n.pt").write_bytes(zipped(**{"m/data.pkl": data}))
        found = find_models(str(tmp_path))
    finally:
        del os.environ["CANARY_DIR"]
    assert [(m.path, m.framework) for m in found] == [
        ("model/m.pkl", "pickle"), ("model/n.pt", "torch"), ("model/z.joblib", "pickle"),
    ]  # fmt: skip
    assert not (tmp_path / "ran").exists()


def test_models_are_found_in_their_places_and_nowhere_else(tmp_path: Path) -> None:
    data = pickle.dumps(LogisticRegression())
    for path in ("top.pkl", "model/a/deep.pkl", "models/x.pkl", "artifacts/y.pkl", "data/not.pkl", "model/notes.md"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert [m.path for m in find_models(str(tmp_path))] == [
        "artifacts/y.pkl", "model/a/deep.pkl", "models/x.pkl", "top.pkl",
    ]  # fmt: skip


def test_folders_that_are_one_model_are_one_model(tmp_path: Path) -> None:
    for path, data in {
        "model/saved/saved_model.pb": "\x12\x00", "model/saved/variables/v": "",
        "models/ml/MLmodel": "flavors:\n  sklearn:\n    sklearn_version: 1.5.2\n",
        "artifacts/bert/config.json": '{"model_type": "bert", "transformers_version": "5.1"}',
        "artifacts/bert/model.safetensors": "",
    }.items():  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(data)
    assert [(m.path, m.framework, m.version) for m in find_models(str(tmp_path))] == [
        ("artifacts/bert", "transformers", "5.1"), ("model/saved", "tensorflow", ""), ("models/ml", "mlflow", ""),
    ]  # fmt: skip


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.txt").write_bytes(pickle.dumps(LogisticRegression()))
    (tmp_path / "model" / "m.pkl").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(tmp_path / "model" / "p.pkl")
    assert [m.path for m in find_models(str(tmp_path))] == ["secret.txt"]


def test_a_pointer_at_the_top_counts_only_under_a_models_name(tmp_path: Path) -> None:
    (tmp_path / "logo.xyz").write_bytes(LFS)
    assert find_models(str(tmp_path)) == []
    (tmp_path / "m.joblib").write_bytes(LFS)
    assert [(m.framework, m.detail["size"]) for m in find_models(str(tmp_path))] == [("lfs", 12345)]
