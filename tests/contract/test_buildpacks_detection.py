"""Detection against real models of every framework, and over whole repositories: found, described, planned for.

What a framework itself has written is the only proof that its signature is read right, so these models are made by it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import random
import struct
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from buildpacks.model.file import READER_VERSION, ModelFile
from buildpacks.model.notes import parse_facts, render_facts
from buildpacks.model.search import find_models
from buildpacks.model.signature import inspect_file
from buildpacks.model.tensors import parse_tensors
from buildpacks.order import BigFile
from buildpacks.packs.algo_model.detect import detect, written_by
from buildpacks.packs.cnb import NOT_MINE, PASS, Context, PackFailed
from tests.contract.kitchen_house import Kitchen, layers, text
from tests.services.model_makers import model_cases
from tests.services.models import iris_bytes

FAMILIES = ("tables", "catboost", "mlflow", "tensorflow", "torch")
NEED_CODE = ("h5-weights", "state_dict", "module", "legacy", "weights")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


def plan_of(app: Path, **env: str) -> tuple[int, dict[str, Any]]:
    """Status and plan of algo/model's detection."""
    plan = app.parent / f"{app.name}.plan.toml"
    plan.write_text("")
    context = Context(app=str(app), layers="", platform="", plan=str(plan), buildpack="", env=env)
    status = detect(context)
    return status, tomllib.loads(plan.read_text())


def web_of(app: Path, **env: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What is served, the model's facts, the packages."""
    status, plan = plan_of(app, **env)
    assert status == PASS
    web, python = (want["metadata"] for want in plan["requires"])
    return json.loads(web["serve"]), json.loads(web["model"]), [package["spec"] for package in python["packages"]]


def refused(app: Path, **env: str) -> tuple[str, Mapping[str, object]]:
    with pytest.raises(PackFailed) as caught:
        plan_of(app, **env)
    return caught.value.code, caught.value.fields


def write(app: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, data in files.items():
        target = app / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
    return app


# -- real models


@pytest.mark.parametrize("family", FAMILIES)
def test_every_model_that_a_framework_writes_is_what_it_is(family: str, tmp_path: Path) -> None:
    for name, case in model_cases(family).items():
        app = tmp_path / name
        case.put(app)
        if case.serve.get("format") in NEED_CODE:
            assert refused(app, BP_MODEL_FILE=case.file)[0] == "framework-not-served", name
            continue
        serve, facts, packages = web_of(app, BP_MODEL_FILE=case.file)
        expected = {"kind": "model-file", "file": None, "name": None, **case.serve}
        wanted = {
            key: value for key, value in expected.items() if value is not None and key not in {"example", "tests"}
        }
        assert {key: serve[key] for key in wanted} == wanted, name
        assert facts["size"] > 0
        assert facts["evidence"]
        assert len(packages) > 2
        assert "outside" not in facts or family == "mlflow", name


def test_signatures_are_read_out_of_the_files_themselves(tmp_path: Path) -> None:
    told: dict[str, Any] = {}
    for family in ("tables", "tensorflow"):
        for name, case in model_cases(family).items():
            if case.serve.get("format") in {*NEED_CODE, "pickle"}:
                continue
            case.put(tmp_path / name)
            _, facts, _ = web_of(tmp_path / name, BP_MODEL_FILE=case.file)
            inputs = parse_tensors(str(facts.get("inputs", "")))
            told[name] = [(tensor.name, tensor.dtype, tensor.shape) for tensor in inputs] or facts.get("features")
    assert told["xgboost-json"] == told["xgboost-ubj"] == told["lightgbm-text"] == told["sklearn-skops"] == 4
    assert all(told.values()), told
    assert len(told["onnx-two-inputs"]) == len(told["keras-two-inputs"]) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_damage_anywhere_in_a_real_file_is_a_fact_and_never_a_crash(family: str, tmp_path: Path) -> None:
    rng = random.Random(5)
    files = [
        path
        for case in model_cases(family).values()
        for path in ([case.host_path] if case.host_path.is_file() else sorted(case.host_path.rglob("*")))
        if path.is_file() and path.stat().st_size < 60_000
    ]
    assert files
    for path in files:
        whole = path.read_bytes()
        for number in range(8):
            data = bytearray(whole)
            place = rng.randrange(len(data) + 1)
            match number % 4:
                case 0:
                    del data[place:]
                case 1:
                    data[place : place + 64] = bytes(len(data[place : place + 64]))
                case 2 if place < len(data):
                    data[place] ^= 1 << rng.randrange(8)
                case _:
                    data[place:place] = rng.randbytes(9)
            target = tmp_path / path.name
            target.write_bytes(data)
            started = time.process_time()
            found = inspect_file(str(target), f"model/{path.name}")
            assert found is None or found.detail.get("error") != "MemoryError"
            assert time.process_time() - started < 5
            target.unlink()


@pytest.mark.parametrize("name", ["MLmodel", "saved_model.pb", "config.json"])
def test_damage_in_a_folder_is_a_fact_and_never_a_crash(name: str, tmp_path: Path) -> None:
    rng = random.Random(7)
    cases = [case for family in ("mlflow", "tensorflow", "torch") for case in model_cases(family).values()]
    folder = next(case for case in cases if (case.host_path / name).is_file())
    for number in range(12):
        app = tmp_path / str(number)
        folder.put(app)
        target = app / folder.file / name
        data = bytearray(target.read_bytes())
        place = rng.randrange(len(data))
        data[place : place + 5] = rng.randbytes(rng.randrange(9))
        target.write_bytes(data[: len(data) if number % 3 else place])
        assert isinstance(find_models(str(app)), list)


# -- repositories


def test_a_transformers_folder_with_pointers_in_it_is_refused_as_pointers(tmp_path: Path) -> None:
    app = write(tmp_path / "app", {
        "config.json": '{"architectures": ["BertForSequenceClassification"], "model_type": "bert"}',
        "model.safetensors": LFS, "tokenizer.json": "{}",
    })  # fmt: skip
    assert refused(app) == ("lfs-pointer", {"path": "model.safetensors", "size": 12345})


def test_a_repository_that_is_a_model_folder_itself_is_one_model(tmp_path: Path) -> None:
    app = write(tmp_path / "app", {
        "config.json": '{"architectures": ["BertForSequenceClassification"], "model_type": "bert", '
        '"transformers_version": "5.1.0"}',
        "model.safetensors": struct.pack("<Q", 2) + b"{}", "tokenizer.json": "{}", "README.md": "x",
    })  # fmt: skip
    serve, facts, packages = web_of(app)
    assert (serve["model_file"], serve["framework"], facts["task"]) == (".", "transformers", "text-classification")
    assert packages[2:] == ["transformers>=5.1.0,<6", "torch"]


def test_shards_are_one_model_and_a_missing_one_is_named(tmp_path: Path) -> None:
    index = json.dumps(
        {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    )
    shard = struct.pack("<Q", 2) + b"{}"
    app = write(tmp_path / "app", {
        "model/config.json": '{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}',
        "model/model.safetensors.index.json": index, "model/model-00001-of-00002.safetensors": shard,
    })  # fmt: skip
    assert refused(app) == ("model-part-missing", {"path": "model", "missing": "model-00002-of-00002.safetensors"})
    write(app, {"model/model-00002-of-00002.safetensors": shard})
    assert web_of(app)[0]["model_file"] == "model"


@pytest.mark.parametrize(
    ("mark", "framework"),
    [("modules.json", "sentence-transformers"), ("model_index.json", "diffusers"), ("adapter_config.json", "PEFT"),
     ("_CHECKPOINT_METADATA", "Orbax")],
)  # fmt: skip
def test_relatives_of_transformers_are_named_and_refused_with_what_to_do(
    mark: str, framework: str, tmp_path: Path
) -> None:
    app = write(tmp_path / "app", {f"model/{mark}": "[]", "model/config.json": "{}", "model/model.safetensors": "x"})
    code, fields = refused(app)
    assert (code, fields["framework"], fields["path"]) == ("framework-not-served", framework, "model")


def test_a_model_outside_the_places_is_served_when_it_is_named(tmp_path: Path) -> None:
    app = write(tmp_path / "app", {"weights/deep/m.joblib": iris_bytes("joblib"), "README.md": "x"})
    assert refused(app)[0] == "nothing-to-serve"
    assert web_of(app, BP_MODEL_FILE="weights/deep/m.joblib")[0]["model_file"] == "weights/deep/m.joblib"
    for path in ("../secret", "/etc/passwd", "weights/deep", "", "weights/../weights/deep/m.joblib"):
        if path:
            assert refused(app, BP_MODEL_FILE=path)[0] == "model-missing"


def test_a_web_app_beside_a_model_is_left_to_its_buildpack(tmp_path: Path) -> None:
    app = write(tmp_path / "app", {
        "app.py": "from flask import Flask\napp = Flask(__name__)\n", "model.joblib": iris_bytes("joblib"),
        "requirements.txt": "flask\n",
    })  # fmt: skip
    assert plan_of(app)[0] == NOT_MINE
    assert web_of(app, BP_MODEL_FILE="model.joblib")[0]["kind"] == "model-file"


def test_the_pickle_policy_holds_for_what_is_served(tmp_path: Path) -> None:
    hostile = b"\x80\x02cos\nsystem\nU\x04true\x85R."
    app = write(tmp_path / "app", {"model/m.pkl": hostile})
    assert refused(app)[0] == "framework-not-served"
    write(app, {"predict.py": "def predict(x):\n    return x\n"})
    status, plan = plan_of(app)
    assert status == PASS
    assert plan["requires"][0]["metadata"]["warnings"] == [
        "model/m.pkl RUNS CODE when it is loaded: it names os.system. Trust it only if you made it"
    ]
    code, fields = refused(app, BP_PICKLE_POLICY="deny")
    assert (code, fields["names"]) == ("pickle-unsafe", ["os.system"])


def test_samples_reach_the_shims_orders(tmp_path: Path) -> None:
    app = write(tmp_path / "app", {
        "model/m.joblib": iris_bytes("joblib"), "model/sample_input.json": '{"input": 1}',
        "example.json": "[[1,2,3,4]]",
    })  # fmt: skip
    serve, _, _ = web_of(app)
    assert (serve["tests"], serve["example"]) == ("model/sample_input.json", "example.json")


# -- figures


def test_ten_thousand_files_are_looked_through_without_opening_one(tmp_path: Path) -> None:
    app = tmp_path / "app"
    for folder in range(100):
        (app / f"src{folder}").mkdir(parents=True)
        for number in range(100):
            (app / f"src{folder}" / f"f{number}.py").touch()
    write(app, {"model/iris.joblib": iris_bytes("joblib")})
    opened = []

    def look(host_path: str, path: str) -> ModelFile | None:
        opened.append(path)
        return inspect_file(host_path, path)

    started = time.process_time()
    assert [model.path for model in find_models(str(app), look)] == ["model/iris.joblib"]
    assert time.process_time() - started < 0.3
    assert opened == ["model/iris.joblib"]


class Watch:
    """inotify on one file: every open and every read of it by anybody. Source: inotify(7)."""

    ACCESS, OPEN, NONBLOCK = 0x1, 0x20, 0o4000

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
        self._descriptor = libc.inotify_init1(self.NONBLOCK)
        assert libc.inotify_add_watch(self._descriptor, os.fsencode(path), self.ACCESS | self.OPEN) >= 0

    def seen(self) -> list[int]:
        """Masks of what happened since the last look."""
        try:
            data = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return []
        masks, place = [], 0
        while place < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, place)
            masks.append(mask)
            place += 16 + length
        return masks

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(state=tmp_path)


@pytest.fixture
def watched(kitchen: Kitchen) -> Iterator[tuple[BigFile, Watch]]:
    blob = kitchen.state / "blob"
    blob.write_bytes(iris_bytes("joblib"))
    watch = Watch(blob)
    yield BigFile(git_oid="b" * 40, host_path=blob, size_bytes=blob.stat().st_size), watch
    watch.close()


def test_a_big_model_that_did_not_change_is_not_opened_by_the_next_push(
    kitchen: Kitchen, watched: tuple[BigFile, Watch]
) -> None:
    big, watch = watched
    first = kitchen.build({"README.md": "one"}, big={"model/iris.joblib": big})
    assert watch.seen()
    second = kitchen.build({"README.md": "two"}, big={"model/iris.joblib": big}, previous=first)
    assert watch.seen() == []
    assert second.config["model"] == first.config["model"]
    assert layers(second)["slice", "model/iris.joblib"] == layers(first)["slice", "model/iris.joblib"]
    assert "Model: iris.joblib" in text(kitchen)


def test_what_is_known_goes_by_content_and_not_by_path(kitchen: Kitchen, watched: tuple[BigFile, Watch]) -> None:
    big, watch = watched
    first = kitchen.build({}, big={"model/iris.joblib": big})
    watch.seen()
    moved = kitchen.build({}, big={"model/other.joblib": big}, previous=first)
    watch.seen()  # sealed under its new name, it was read once more
    assert isinstance(moved.config["model"], dict)
    assert isinstance(moved.config["model"]["facts"], dict)
    assert moved.config["model"]["facts"]["path"] == "model/other.joblib"
    other = BigFile(git_oid="c" * 40, host_path=big.host_path, size_bytes=big.size_bytes)
    kitchen.build({}, big={"model/other.joblib": other}, previous=moved)
    assert watch.seen()


@pytest.mark.parametrize(
    "notes", ["", "{", "[]", '{"reader": 0, "files": {}}', '{"reader": %d, "files": {"%s": [1]}}', '{"reader": %d}'],
)  # fmt: skip
def test_notes_of_another_shape_are_no_notes(kitchen: Kitchen, watched: tuple[BigFile, Watch], notes: str) -> None:
    big, watch = watched
    folder = kitchen.state / "cache" / "apps" / "1"
    folder.mkdir(parents=True)
    filled = notes % ((READER_VERSION, big.git_oid)[: notes.count("%")]) if "%" in notes else notes
    (folder / "model-facts.json").write_text(filled)
    built = kitchen.build({}, big={"model/iris.joblib": big})
    assert watch.seen()
    assert built.config["model"] is not None
    assert parse_facts((folder / "model-facts.json").read_text()).keys() == {big.git_oid}


def test_facts_survive_their_way_through_text() -> None:
    model = ModelFile("a", "onnx", "onnx", "1", {"size": 3, "inputs": "[]"})
    assert parse_facts(render_facts({"a": model, "b": None})) == {"a": model, "b": None}
    assert written_by(model) == ""
    assert written_by(ModelFile("a", "xgboost", "json", "3.2.0")) == "xgboost 3.2.0"
