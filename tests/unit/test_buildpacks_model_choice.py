"""Which model is served, what it takes, what its pickle may name, what other versions do to it, how a push tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildpacks.model.file import ModelFile
from buildpacks.model.skew import REFUSE, WARN, skew
from buildpacks.packs.algo_model.choice import choose_model, refuse_pointers
from buildpacks.packs.algo_model.describing import describe
from buildpacks.packs.algo_model.examples import find_example, find_tests
from buildpacks.packs.algo_model.packages import packages_for, release_of
from buildpacks.packs.algo_model.policy import check_pickles
from buildpacks.packs.algo_model.titles import title_of, what_and_todo
from buildpacks.packs.algo_model.words import WORDS
from buildpacks.packs.cnb import PackFailed
from buildpacks.packs.skewed import check_skew

SK = ModelFile("model/a.joblib", "sklearn", "pickle", "1.5.2", {"class": "Pipeline"})
SKOPS = ModelFile("model/a.skops", "sklearn", "skops", "1.5.2", {"skops": "0.16.0"})
SK2 = ModelFile("model/b.joblib", "sklearn", "pickle", "1.5.2")
XGB = ModelFile("model/b.json", "xgboost", "json", "3.2.0", {"class": "Booster"})
WEIGHTS = ModelFile("model/net.pt", "torch", "state_dict")
SCRIPT = ModelFile("model/net.ts", "torch", "torchscript")
EXPORT = ModelFile("model/net.pt2", "torch", "export", "2.15.0+cpu")
ONNX = ModelFile("model/net.onnx", "onnx", "onnx")
H5_WEIGHTS = ModelFile("model/k.weights.h5", "keras", "h5-weights")
KERAS = ModelFile("model/k.keras", "keras", "keras", "3.15.1", {"class": "Sequential"})
DATA = ModelFile("model/columns.pkl", "pickle", "data")


def failure(caught: pytest.ExceptionInfo[PackFailed]) -> tuple[str, dict[str, object]]:
    return caught.value.code, caught.value.fields


# -- the choice


@pytest.mark.parametrize(
    ("models", "explicit", "chosen"),
    [
        ([], "", None),
        ([SK], "", SK),
        ([SK, SKOPS], "", SKOPS),
        ([SK, SK2], "model/b.joblib", SK2),
        ([XGB], "", XGB),
        ([SK, DATA], "", SK),
        ([DATA], "", None),
        ([WEIGHTS, SCRIPT, EXPORT, ONNX], "", EXPORT),
        ([WEIGHTS, SCRIPT, ONNX], "", SCRIPT),
        ([WEIGHTS, ONNX], "", ONNX),
        ([KERAS, H5_WEIGHTS], "", KERAS),
        ([SK, ModelFile("model/a.onnx", "onnx", "onnx")], "", ModelFile("model/a.onnx", "onnx", "onnx")),
    ],
)  # fmt: skip
def test_one_model_is_chosen_and_of_its_formats_the_safest(
    models: list[ModelFile], explicit: str, chosen: ModelFile | None
) -> None:
    assert choose_model(models, explicit) == chosen


@pytest.mark.parametrize(
    ("models", "explicit", "code", "fields"),
    [
        ([SK, XGB], "", "ambiguous-models",
         {"models": ["model/a.joblib (scikit-learn Pipeline)", "model/b.json (XGBoost Booster (JSON))"],
          "setting": "BP_MODEL_FILE=model/a.joblib"}),
        ([SK, SK2], "", "ambiguous-models",
         {"models": ["model/a.joblib (scikit-learn Pipeline)", "model/b.joblib (scikit-learn)"],
          "setting": "BP_MODEL_FILE=model/a.joblib"}),
        ([SK2, XGB], "", "ambiguous-models",  # one name, and no export of each other
         {"models": ["model/b.joblib (scikit-learn)", "model/b.json (XGBoost Booster (JSON))"],
          "setting": "BP_MODEL_FILE=model/b.joblib"}),
        ([ModelFile("w.safetensors", "safetensors", "weights", "", {"tensors": 3}), ONNX], "", "ambiguous-models",
         {"models": ["w.safetensors (safetensors)", "model/net.onnx (ONNX)"],
          "setting": "BP_MODEL_FILE=model/net.onnx"}),
        ([WEIGHTS], "", "framework-not-served",
         {"path": "model/net.pt", "framework": "PyTorch",
          "what": "a PyTorch state_dict: weights without the class that computes with them",
          "todo": "write predict.py with that class, load_state_dict(torch.load('model/net.pt')) and a function "
          "predict"}),
        ([SK], "nope", "model-missing", {"path": "nope", "found": ["model/a.joblib"]}),
        ([], "nope", "model-missing", {"path": "nope", "found": ["none"]}),
        ([ModelFile("m.pt", "unknown", "damaged")], "", "model-damaged", {"path": "m.pt"}),
        ([ModelFile("model", "transformers", "dir", "5.1", {"missing": "model-00002-of-00002.safetensors"})], "",
         "model-part-missing", {"path": "model", "missing": "model-00002-of-00002.safetensors"}),
    ],
)  # fmt: skip
def test_a_choice_that_would_be_a_guess_is_refused(
    models: list[ModelFile], explicit: str, code: str, fields: dict[str, object]
) -> None:
    with pytest.raises(PackFailed) as caught:
        choose_model(models, explicit)
    assert failure(caught) == (code, fields)


@pytest.mark.parametrize(
    ("framework", "kind", "word"),
    [
        ("sentence-transformers", "dir", "SentenceTransformer('model')"), ("diffusers", "dir", "DiffusionPipeline"),
        ("peft", "adapter", "merge_and_unload"), ("gguf", "gguf", "llama_cpp"), ("tflite", "tflite", "ai-edge-litert"),
        ("openvino", "ir", "openvino"), ("flax", "dir", "class"), ("orbax", "checkpoint", "restores"),
        ("tensorrt", "plan", "ONNX"), ("safetensors", "weights", "config.json"), ("keras", "h5-weights", "model.save"),
        ("torch", "module", "torch.export"), ("torch", "legacy", "torch.jit.script"),
        ("pickle", "pickle", "predict.py"), ("something", "new", "predict.py"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_alone_is_named_with_what_to_do(framework: str, kind: str, word: str) -> None:
    with pytest.raises(PackFailed) as caught:
        choose_model([ModelFile("model", framework, kind)], "")
    code, fields = failure(caught)
    assert code == "framework-not-served"
    assert word in str(fields["todo"])
    assert WORDS[code].title.format_map(fields).endswith("needs a predict.py")


def test_a_pointer_is_no_model() -> None:
    with pytest.raises(PackFailed) as caught:
        refuse_pointers([ModelFile("m.pt", "lfs", "pointer", "", {"size": 9})])
    assert failure(caught) == ("lfs-pointer", {"path": "m.pt", "size": 9})


def test_a_class_of_the_users_is_named_in_what_to_do() -> None:
    model = ModelFile("m.pkl", "pickle", "pickle", "", {"module": "shop.models", "class": "Net"})
    assert what_and_todo(model)[0] == "a Python object of the class shop.models.Net"
    assert title_of(model) == "Python pickle Net"


# -- packages


def specs(*models: ModelFile, with_code: bool = False, declared: bool = False) -> list[str]:
    return [p["spec"] for p in packages_for(models, with_code=with_code, declared=declared)][2:]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (SK, ["scikit-learn==1.5.2"]),
        (ModelFile("m.pkl", "sklearn", "pickle", "1.4.1"), ["scikit-learn==1.4.1", "numpy<2"]),
        (ModelFile("m.pkl", "sklearn", "pickle", "1.9.dev0"), ["scikit-learn"]),
        (SKOPS, ["scikit-learn==1.5.2", "skops>=0.16.0"]),
        (ModelFile("m.pkl", "sklearn", "pickle", "1.5.2",
                   {"steps": "ColumnTransformer > XGBClassifier", "names": '["a"]', "imports": "pandas, xgboost"}),
         ["scikit-learn==1.5.2", "pandas", "pandas", "xgboost"]),
        (XGB, ["xgboost==3.2.0"]),
        (ModelFile("m.pkl", "xgboost", "pickle", "", {"module": "xgboost.sklearn"}), ["xgboost", "scikit-learn"]),
        (ModelFile("m.txt", "lightgbm", "text"), ["lightgbm"]),
        (ModelFile("m.cbm", "catboost", "cbm"), ["catboost"]),
        (ONNX, ["onnxruntime"]),
        (SCRIPT, ["torch", "numpy"]),
        (EXPORT, ["torch>=2.15.0,<3", "numpy"]),
        (KERAS, ["keras==3.15.1", "tensorflow"]),
        (ModelFile("m.h5", "keras", "h5", "2.11.0"), ["tensorflow", "keras", "h5py"]),
        (ModelFile("m", "tensorflow", "savedmodel", "2.21.0"), ["tensorflow>=2.21.0,<3"]),
        (ModelFile("m", "tensorflow", "savedmodel", "1.15.0"), ["tensorflow"]),
        (ModelFile("m", "transformers", "dir", "5.1.0"), ["transformers>=5.1.0,<6", "torch"]),
        (ModelFile("m", "transformers", "dir", "4.6.0.dev0"), ["transformers", "torch"]),
        (ModelFile("m", "mlflow", "dir", "3.17.2", {"flavors": "sklearn", "requirements_file": "m/requirements.txt",
                                                    "requirements": '["mlflow==3.17.2", "scikit-learn==1.9.1"]'}),
         ["mlflow-skinny==3.17.2", "scikit-learn==1.9.1", "numpy", "pandas"]),
        (ModelFile("m", "mlflow", "dir", "3.17.2", {"flavors": "sklearn", "requirements_file": "m/requirements.txt",
                                                    "requirements": '["scikit-learn"]',
                                                    "native": "scikit-learn 1.9.1"}),
         ["scikit-learn==1.9.1", "mlflow-skinny", "numpy", "pandas"]),
        (ModelFile("m", "mlflow", "dir", "", {"flavors": "python_function, lightgbm"}),
         ["mlflow-skinny", "numpy", "pandas", "lightgbm"]),
        (ModelFile("m", "gguf", "gguf"), []),
    ],
)  # fmt: skip
def test_each_format_asks_for_what_loads_it(model: ModelFile, expected: list[str]) -> None:
    assert specs(model) == expected


def test_code_with_a_list_of_its_own_gets_only_the_versions_that_files_are_bound_to() -> None:
    models = [SK, ONNX, KERAS, SCRIPT]
    assert specs(*models, with_code=True, declared=True) == ["scikit-learn==1.5.2", "keras==3.15.1"]
    assert "onnxruntime" in specs(*models, with_code=True, declared=False)


@pytest.mark.parametrize(
    ("model", "name", "written_by"),
    [
        (SK, "scikit-learn", "1.5.2"), (XGB, "xgboost", "3.2.0"), (EXPORT, "torch", "2.15.0"),
        (KERAS, "keras", "3.15.1"), (ModelFile("m.h5", "keras", "h5", "2.11.0"), "keras", "2.11.0"),
        (ModelFile("m", "tensorflow", "savedmodel", "2.21.0"), "tensorflow", "2.21.0"),
        (ModelFile("m", "transformers", "dir", "5.1.0"), "transformers", "5.1.0"),
        (ModelFile("m", "mlflow", "dir", "3.1", {"flavors": "sklearn", "requirements_file": "m/requirements.txt",
                                                 "requirements": '["scikit-learn==1.9.1"]',
                                                 "native": "scikit-learn 1.9.1"}), "scikit-learn", "1.9.1"),
    ],
)  # fmt: skip
def test_the_plan_says_who_wrote_a_model_so_that_the_lock_is_held_against_it(
    model: ModelFile, name: str, written_by: str
) -> None:
    found = [p for p in packages_for([model], with_code=False, declared=False) if p["written_by"]]
    assert [(p["spec"].split("=")[0].rstrip(">"), p["written_by"], p["kind"]) for p in found] == [
        (name, written_by, model.kind)
    ]
    assert found[0]["why"] == f"{model.path} was written by it"


def test_a_file_that_does_not_say_its_writer_claims_none() -> None:
    for model in (SCRIPT, ONNX, ModelFile("m.h5", "keras", "h5"), ModelFile("m", "transformers", "dir", "5.0.0.dev0")):
        assert [p["spec"] for p in packages_for([model], with_code=False, declared=False) if p["written_by"]] == []


def test_a_development_version_is_in_no_index() -> None:
    assert [release_of(v) for v in ("2.13.0+cpu", "3.2.0", "1.9.dev0", "4.6.0.dev0", "x", "")] == [
        "2.13.0", "3.2.0", "", "", "", "",
    ]  # fmt: skip


# -- pickles


LOUD = ModelFile("m.pkl", "sklearn", "pickle", "1.5.2", {
    "outside": json.dumps(["os.system", "shop.Scaler"]), "loud": json.dumps(["os.system"]),
})  # fmt: skip


def test_a_pickle_that_runs_code_is_told_loudly_and_one_with_own_classes_quietly() -> None:
    assert check_pickles([SK], "") == []
    assert check_pickles([LOUD], "warn") == [
        "m.pkl RUNS CODE when it is loaded: it names os.system. Trust it only if you made it",
        "m.pkl is a pickle that names shop.Scaler, beyond what models of its kind need",
    ]
    unread = ModelFile("m.pkl", "pickle", "data", "", {"unread": "cut off"})
    assert check_pickles([unread], "") == ["m.pkl is a pickle that could not be looked through (cut off)"]


@pytest.mark.parametrize("detail", [LOUD.detail, {"unread": "cut off"}, {"outside": '["shop.Scaler"]'}])
def test_deny_refuses_whatever_is_on_no_list(detail: dict[str, str | int]) -> None:
    with pytest.raises(PackFailed) as caught:
        check_pickles([SK, SK2._replace(detail=detail)], "deny")
    code, fields = failure(caught)
    assert (code, fields["path"], fields["framework"]) == ("pickle-unsafe", "model/b.joblib", "scikit-learn")
    assert fields["names"]
    assert "skops.io.dump" in str(fields["todo"])
    assert check_pickles([SK], "deny") == []


@pytest.mark.parametrize(("policy", "word"), [("convert", "Converting means loading"), ("x", "The policies are warn")])
def test_a_policy_that_is_none_is_refused_with_its_reason(policy: str, word: str) -> None:
    with pytest.raises(PackFailed) as caught:
        check_pickles([], policy)
    code, fields = failure(caught)
    assert (code, fields["found"]) == ("pickle-policy", policy)
    assert str(fields["reason"]).startswith(word)


# -- skew


@pytest.mark.parametrize(
    ("package", "written_by", "loaded", "kind", "level"),
    [
        ("scikit-learn", "1.5.2", "1.5.2", "pickle", None), ("scikit-learn", "1.5.1", "1.5.2", "pickle", None),
        ("scikit-learn", "1.2.2", "1.5.2", "pickle", WARN), ("scikit-learn", "", "1.5.2", "pickle", None),
        ("xgboost", "1.7.6", "3.2.0", "json", None), ("xgboost", "3.2.0", "2.1.0", "json", REFUSE),
        ("xgboost", "3.2.0", "3.1.0", "ubj", WARN), ("xgboost", "3.1.0", "3.2.0", "pickle", WARN),
        ("keras", "2.11.0", "3.15.1", "h5", WARN), ("keras", "3.15.1", "2.15.0", "keras", REFUSE),
        ("keras", "3.15.1", "3.2.0", "keras", WARN), ("keras", "3.2.0", "3.15.1", "keras", None),
        ("tensorflow", "2.12.0", "2.21.0", "savedmodel", None), ("tensorflow", "2.21.0", "2.12.0", "savedmodel", WARN),
        ("torch", "2.15.0+cpu", "2.9.1", "export", REFUSE), ("torch", "2.15.0", "2.9.1", "", REFUSE),
        ("torch", "1.13.1", "2.15.0", "torchscript", None), ("transformers", "5.9.0", "5.1.0", "dir", WARN),
        ("transformers", "5.1.0", "4.50.0", "dir", WARN), ("transformers", "4.6.0", "5.1.0", "dir", None),
        ("lightgbm", "3.0", "4.7.0", "text", None),
    ],
)  # fmt: skip
def test_what_other_versions_do_to_a_file_is_known(
    package: str, written_by: str, loaded: str, kind: str, level: str | None
) -> None:
    found = skew(package, written_by, loaded, kind=kind)
    assert (None if found is None else found.level) == level
    assert found is None or (found.reason and found.todo)


def test_a_pair_that_cannot_load_is_refused_before_the_rollout() -> None:
    with pytest.raises(PackFailed) as caught:
        check_skew("m.json", "xgboost", "3.2.0", "2.0.3", kind="json")
    assert failure(caught) == ("model-skew", {
        "path": "m.json", "package": "xgboost", "written_by": "3.2.0", "loaded": "2.0.3",
        "reason": "an older XGBoost does not read the files of a newer one",
        "todo": "echo 'xgboost==3.2.0' >> requirements.txt",
    })  # fmt: skip
    assert check_skew("m.pkl", "scikit-learn", "1.2.2", "1.5.2").startswith(
        "m.pkl was written by scikit-learn 1.2.2, and 1.5.2 will load it"
    )
    assert check_skew("m.pkl", "scikit-learn", "1.5.2", "1.5.2") == ""


# -- the push


def test_the_push_tells_what_where_and_by_which_bytes() -> None:
    facts = {
        "path": "model/iris.json", "framework": "xgboost", "kind": "json", "version": "3.2.0", "class": "Booster",
        "features": 4, "size": 12_000, "evidence": 'JSON, "learner"', "objective": "multi:softprob", "classes": 3,
    }  # fmt: skip
    serve = {"file": None, "kind": "model-file", "name": None, "written_by": "xgboost 3.2.0"}
    assert describe(serve, facts, "") == [
        "Model: iris.json 12 kB, XGBoost Booster (JSON), input (n, 4), written by XGBoost 3.2.0",
        'Found by JSON, "learner"; objective multi:softprob; 3 classes',
    ]


def test_the_push_tells_names_types_and_shapes_and_the_code_that_serves() -> None:
    facts = {
        "path": "m.onnx", "framework": "onnx", "kind": "onnx", "version": "", "size": 151,
        "inputs": '[{"dtype": "float32", "name": "x", "shape": [null, 4]}]',
        "outputs": '[{"dtype": "float32", "name": "y", "shape": [null, 3]}]',
    }  # fmt: skip
    serve = {"file": "predict.py", "kind": "function", "name": "predict", "written_by": None}
    assert describe(serve, facts, "predict.py line 3: def predict") == [
        "Model: m.onnx 151 B, ONNX, input x float32 (n, 4), output y float32 (n, 3)",
        "Served by predict.py, function predict (predict.py line 3: def predict)",
    ]
    assert describe(serve, None, "predict.py line 3: def predict") == [
        "Model: predict.py, function predict", "Found by predict.py line 3: def predict",
    ]  # fmt: skip


def test_sample_requests_are_found_beside_the_model_first(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for path in ("example.json", "model/sample.json", "TEST_CASES.json"):
        (tmp_path / path).write_text("{}")
    (tmp_path / "model" / "sample_input.json").symlink_to(tmp_path / "example.json")
    assert find_example(str(tmp_path), SK) == "model/sample.json"
    assert find_example(str(tmp_path), None) == "example.json"
    assert find_tests(str(tmp_path), SK) == "TEST_CASES.json"
    mlflow = ModelFile("ml", "mlflow", "dir", "", {"example": "ml/serving_input_example.json"})
    assert find_example(str(tmp_path), mlflow) == "ml/serving_input_example.json"
