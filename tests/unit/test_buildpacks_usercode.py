"""Which code of a repository serves: every contract by its syntax tree, ties refused, nothing imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildpacks.packs.algo_model.source import Entry, find_entry
from buildpacks.packs.algo_python.manager import read_manager
from buildpacks.packs.algo_python.wanted import Wanted, read_wanted
from buildpacks.packs.cnb import PackFailed

PREDICT = "def predict(x): ...\n"
KIT = "import Algorithmia\ndef apply(x): ...\n"
COG = "from cog import BasePredictor\nclass Predictor(BasePredictor):\n    def predict(self, x: int) -> int: ...\n"
SAGEMAKER = "def model_fn(model_dir): ...\n\ndef predict_fn(data, model): ...\n"
HANDLER = "class EndpointHandler:\n    def __call__(self, data): ...\n"
SCORE = "def init(): ...\ndef run(raw): ...\n"


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


def found(root: Path, files: dict[str, str], explicit: str = "") -> tuple[str, str, str] | None:
    entry = find_entry(write(root, files), explicit)
    return None if entry is None else (entry.kind, entry.file, entry.name)


def refusal(root: Path, files: dict[str, str], explicit: str = "") -> tuple[str, dict[str, object]]:
    with pytest.raises(PackFailed) as caught:
        find_entry(write(root, files), explicit)
    return caught.value.code, caught.value.fields


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        (PREDICT, "function", "predict"),
        ("async def predict(x): ...", "function", "predict"),
        ("from impl import predict", "function", "predict"),
        ("try:\n    predict = fast.run\nexcept NameError:\n    raise", "function", "predict"),
        ("class A: pass\nclass M:\n    def predict(self, x): ...", "class", "M"),
        ("class M:\n    def predict(self, x): ...\ndef predict(x): return M().predict(x)", "function", "predict"),
        ("def apply(x): ...", "algorithmia", "apply"),
        (KIT, "algorithmia", "apply"),
        (COG, "cog", "Predictor"),
    ],
)
def test_predict_py_is_found_by_its_syntax_tree(tmp_path: Path, source: str, kind: str, name: str) -> None:
    assert found(tmp_path, {"predict.py": source}) == (kind, "predict.py", name)


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        ({"cog.yaml": "build:\n  gpu: false\npredict: 'predict.py:Predictor'\n", "predict.py": COG},
         Entry("cog", "predict.py", "Predictor", "cog.yaml line 3: predict: predict.py:Predictor")),
        ({"cog.yaml": "run: run.py\n", "run.py": "class Runner:\n    def run(self): ...\n"},
         Entry("cog", "run.py", "Runner", "cog.yaml line 1: run: run.py")),
        ({"cog.yaml": "predict: predict.py:predict\n", "predict.py": PREDICT},
         Entry("cog", "predict.py", "predict", "cog.yaml line 1: predict: predict.py:predict")),
        ({"src/hello.py": KIT, "src/__init__.py": ""},
         Entry("algorithmia", "src/hello.py", "apply", "src/hello.py line 2: Algorithmia's apply")),
        ({"src/hello.py": "def apply(x): ...", "src/other.py": "def apply(x): ...",
          "algorithmia.conf": '{"algoname": "hello"}'},
         Entry("algorithmia", "src/hello.py", "apply",
               "src/hello.py line 1: Algorithmia's apply, and algorithmia.conf names it")),
        ({"src/hello.py": "def apply(x): ...", "other.py": "def apply(x): ..."},
         Entry("algorithmia", "src/hello.py", "apply", "src/hello.py line 1: Algorithmia's apply")),
        ({"root.py": KIT}, Entry("algorithmia", "root.py", "apply", "root.py line 2: Algorithmia's apply")),
        ({"inference.py": SAGEMAKER},
         Entry("sagemaker", "inference.py", "predict_fn", "inference.py line 1: SageMaker's model_fn, predict_fn")),
        ({"code/inference.py": "def transform_fn(m, b, c, a): ...", "code/requirements.txt": "# x\nnumpy>=1\n-r y\n"},
         Entry("sagemaker", "code/inference.py", "transform_fn", "code/inference.py line 1: SageMaker's transform_fn",
               (("numpy>=1", "code/requirements.txt"),))),
        ({"handler.py": HANDLER},
         Entry("huggingface", "handler.py", "EndpointHandler", "handler.py line 1: Hugging Face's EndpointHandler")),
        ({"score.py": SCORE}, Entry("azure", "score.py", "run", "score.py line 2: Azure's init and run")),
        ({"main.py": PREDICT}, Entry("function", "main.py", "predict", "main.py line 1: def predict")),
        ({"inference.py": PREDICT}, Entry("function", "inference.py", "predict", "inference.py line 1: def predict")),
    ],
    ids=lambda value: value.why if isinstance(value, Entry) else "",
)  # fmt: skip
def test_a_contract_is_found_with_the_file_and_line_that_decided(
    tmp_path: Path, files: dict[str, str], entry: Entry
) -> None:
    assert find_entry(write(tmp_path, files), "") == entry


def test_packages_that_cog_yaml_names_come_with_the_entry(tmp_path: Path) -> None:
    text = (
        'build:\n  python_version: "3.11"\n  python_packages:\n    - "numpy==2.1.0"  # as trained\n    - pandas\n'
        "  run:\n    - command: pip install x\npredict: predict.py:Predictor\n"
    )
    entry = find_entry(write(tmp_path, {"cog.yaml": text, "predict.py": COG}), "")
    assert entry is not None
    assert entry.packages == (("numpy==2.1.0", "cog.yaml"), ("pandas", "cog.yaml"))


def test_a_requirements_file_that_cog_yaml_names_comes_with_the_entry_and_the_list_at_the_top_by_itself(
    tmp_path: Path,
) -> None:
    text = "build:\n  python_requirements: {}\n  python_packages: [six]\npredict: predict.py:Predictor\n"
    needs = "# for Cog\nnumpy==2.1.0  # as trained\n-r more.txt\nhttps://x/y.whl\npandas[xml]>=2\n"
    files = {"cog.yaml": text.format("cog/needs.txt"), "predict.py": COG, "cog/needs.txt": needs}
    entry = find_entry(write(tmp_path, files), "")
    assert entry is not None
    assert entry.packages == (
        ("numpy==2.1.0", "cog/needs.txt"), ("pandas[xml]>=2", "cog/needs.txt"), ("six", "cog.yaml"),
    )  # fmt: skip
    write(tmp_path, {"cog.yaml": text.format("requirements.txt"), "requirements.txt": "numpy\n"})
    entry = find_entry(str(tmp_path), "")
    assert entry is not None
    assert entry.packages == (("six", "cog.yaml"),)


def test_what_cog_yaml_asks_for_and_nobody_does_is_told(tmp_path: Path) -> None:
    text = (
        "build:\n  gpu: true\n  system_packages:\n    - ffmpeg\n    - libgl1\n  run:\n    - make\n"
        "predict: predict.py:Predictor\n"
    )
    entry = find_entry(write(tmp_path, {"cog.yaml": text, "predict.py": COG, "Aptfile": "ffmpeg\n"}), "")
    assert entry is not None
    assert [note.split(",")[0].split(";")[0] for note in entry.notes] == [
        "cog.yaml names system packages", "cog.yaml has build.run commands", "cog.yaml asks for a GPU",
    ]  # fmt: skip
    assert entry.notes[0].endswith(r": printf '%s\n' libgl1 >> Aptfile")
    quiet = find_entry(write(tmp_path, {"cog.yaml": "predict: predict.py:Predictor\n"}), "")
    assert quiet is not None
    assert quiet.notes == ()


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"cog.yaml": 'build:\n  python_version: "3.11"\n'}, Wanted("==3.11.*", "cog.yaml")),
        ({"cog.yaml": "build:\n  python_version: 3.10\n"}, Wanted("==3.10.*", "cog.yaml")),
        ({"cog.yaml": "build:\n  python_version: 3.11.4\n"}, Wanted("==3.11.*", "cog.yaml", "3.11.4")),
        ({"cog.yaml": "build:\n  python_version: 3.10\n", ".python-version": "3.11\n"},
         Wanted("==3.11.*", ".python-version")),
        ({"cog.yaml": "predict: p.py:P\n"}, Wanted("", "default")),
        ({"cog.yaml": "\tpython_version"}, Wanted("", "default")),
    ],
)  # fmt: skip
def test_the_python_of_cog_yaml_is_asked_for(tmp_path: Path, files: dict[str, str], wanted: Wanted) -> None:
    assert read_wanted(write(tmp_path, files), {}) == wanted


def test_a_python_of_cog_yaml_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackFailed) as caught:
        read_wanted(write(tmp_path, {"cog.yaml": "build:\n  python_version: newest\n"}), {})
    assert (caught.value.code, caught.value.fields) == ("python-version-bad", {"file": "cog.yaml", "found": "newest"})


def test_the_requirements_file_of_cog_yaml_is_read_before_others_of_odd_names(tmp_path: Path) -> None:
    files = {"cog.yaml": "build:\n  python_requirements: requirements_cog.txt\n", "requirements_a.txt": "a\n",
             "requirements_b.txt": "b\n", "requirements_cog.txt": "six==1.17.0\n"}  # fmt: skip
    manager = read_manager(write(tmp_path, files))
    assert (manager.file, dict(manager.named)) == ("requirements_cog.txt", {"six": "==1.17.0"})


@pytest.mark.parametrize(
    ("env", "files", "file"),
    [
        ({"SAGEMAKER_PROGRAM": "serve.py"}, {"code/serve.py": SAGEMAKER}, "code/serve.py"),
        ({"SAGEMAKER_PROGRAM": "serve"}, {"serve.py": SAGEMAKER, "code/other.py": ""}, "serve.py"),
        ({"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/src"},
         {"src/serve.py": SAGEMAKER, "code/serve.py": SAGEMAKER}, "src/serve.py"),
        ({"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "s3://bucket/source.tar.gz"},
         {"code/serve.py": SAGEMAKER}, "code/serve.py"),
        ({"SAGEMAKER_PROGRAM": "serve.py"}, {"code/serve.py": SAGEMAKER, "inference.py": SAGEMAKER}, "code/serve.py"),
    ],
)  # fmt: skip
def test_the_program_that_sagemaker_is_told_is_found_where_it_looks(
    tmp_path: Path, env: dict[str, str], files: dict[str, str], file: str
) -> None:
    entry = find_entry(write(tmp_path, files), "", env)
    assert entry is not None
    assert (entry.kind, entry.file) == ("sagemaker", file)
    assert entry.why == f"{file} line 1: SageMaker's model_fn, predict_fn (SAGEMAKER_PROGRAM)"


@pytest.mark.parametrize(
    ("files", "fields"),
    [
        ({"inference.py": SAGEMAKER}, {"file": "serve.py", "expected": "the file that SAGEMAKER_PROGRAM names"}),
        ({"serve.py": "x = 1\n"},
         {"file": "serve.py", "expected": "model_fn, predict_fn or transform_fn (SAGEMAKER_PROGRAM)"}),
    ],
)  # fmt: skip
def test_a_program_of_sagemaker_that_cannot_be_called_is_refused(
    tmp_path: Path, files: dict[str, str], fields: dict[str, str]
) -> None:
    with pytest.raises(PackFailed) as caught:
        find_entry(write(tmp_path, files), "", {"SAGEMAKER_PROGRAM": "serve.py"})
    assert (caught.value.code, caught.value.fields) == ("entrypoint-missing", fields)


@pytest.mark.parametrize(
    "files",
    [
        {"other.py": "def apply(x): ..."},
        {"model.py": "def predict(x): ..."},
        {"main.py": "def predict(model, x): ..."},
        {"main.py": "def predict(): ..."},
        {"app.py": "from flask import Flask\napp = Flask(__name__)\n@app.post('/p')\ndef predict(): ..."},
        {"main.py": PREDICT, "server.py": "import fastapi\n"},
        {"score.py": "def run(x): ..."},
        {"handler.py": "def handler(event, context): ..."},
        {"inference.py": "def input_fn(body, kind): ..."},
        {"cog.yaml": "build:\n  gpu: false\n"},
        {"handler.py": "EndpointHandled ="},
    ],
)
def test_a_near_miss_is_nobodys_entry_point(tmp_path: Path, files: dict[str, str]) -> None:
    assert found(tmp_path, files) is None


@pytest.mark.parametrize(
    ("explicit", "entry"),
    [
        ("my.py:f", ("function", "my.py", "f")),
        ("my.py:C", ("class", "my.py", "C")),
        ("my.py", ("class", "my.py", "C")),
        ("serving/entry.py", ("sagemaker", "serving/entry.py", "predict_fn")),
        ("handler.py", ("huggingface", "handler.py", "EndpointHandler")),
        ("handler.py:EndpointHandler", ("huggingface", "handler.py", "EndpointHandler")),
        ("score.py:run", ("azure", "score.py", "run")),
    ],
)
def test_an_explicit_entrypoint_goes_first_and_its_contract_is_found(
    tmp_path: Path, explicit: str, entry: tuple[str, str, str]
) -> None:
    files = {
        "predict.py": PREDICT,
        "my.py": "class C:\n  def predict(self): ...\ndef f(): ...",
        "serving/entry.py": SAGEMAKER,
        "handler.py": HANDLER,
        "score.py": SCORE,
    }
    assert found(tmp_path, files, explicit) == entry


@pytest.mark.parametrize(
    ("source", "explicit", "code", "fields"),
    [
        ("def predict(x:\n", "", "syntax-error",
         {"file": "predict.py", "line": 1, "text": "def predict(x:", "message": "'(' was never closed"}),
        ("x = 1", "", "entrypoint-missing",
         {"file": "predict.py", "expected": "a function predict, or a class with a method predict"}),
        ("class A:\n def predict(s): 0\nclass B:\n def predict(s): 0", "", "ambiguous-entrypoint",
         {"file": "predict.py", "names": ["A", "B"], "setting": "predict.py:A"}),
        ("x = 1", "../etc/passwd:x", "entrypoint-missing",
         {"file": "../etc/passwd", "expected": "the file that BP_ENTRYPOINT names"}),
        ("x = 1", "predict.py:nope", "entrypoint-missing",
         {"file": "predict.py", "expected": "'nope', which BP_ENTRYPOINT names"}),
    ],
)  # fmt: skip
def test_code_that_cannot_serve_is_named(
    tmp_path: Path, source: str, explicit: str, code: str, fields: dict[str, object]
) -> None:
    assert refusal(tmp_path, {"predict.py": source}, explicit) == (code, fields)


def test_two_contracts_are_a_tie_that_names_both_and_the_line_that_decides(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"handler.py": HANDLER, "predict.py": PREDICT}) == (
        "two-contracts",
        {
            "found": ["handler.py line 1: Hugging Face's EndpointHandler", "predict.py line 1: predict"],
            "setting": "handler.py",
        },
    )
    assert found(tmp_path, {}, "predict.py") == ("function", "predict.py", "predict")


def test_a_predict_py_that_is_only_a_program_gives_way_to_a_contract(tmp_path: Path) -> None:
    files = {"handler.py": HANDLER, "predict.py": "import sys\nprint(sys.argv)\n"}
    assert found(tmp_path, files) == ("huggingface", "handler.py", "EndpointHandler")


@pytest.mark.parametrize(
    ("files", "code", "field", "value"),
    [
        ({"cog.yaml": "predict: gone.py:P\n"}, "entrypoint-missing", "expected", "the file that cog.yaml names"),
        ({"cog.yaml": "predict: ../p.py:P\n"}, "entrypoint-missing", "file", "../p.py"),
        ({"cog.yaml": "predict: p.py:P\n", "p.py": COG}, "entrypoint-missing", "expected", "'P', which cog.yaml names"),
        ({"cog.yaml": "predict: p.py\n", "p.py": ""}, "entrypoint-missing", "expected", "a class Runner or Predictor"),
        ({"cog.yaml": "predict: a.py:P\nrun: b.py:R\n"}, "cog-yaml", "message",
         "it has run and predict; one of them says what is called"),
        ({"cog.yaml": "\tpredict: a\n"}, "cog-yaml", "message", "line 1 is indented with a tab"),
        ({"cog.yaml": "build:\n  python_requirements: gone.txt\npredict: p.py:Predictor\n", "p.py": COG},
         "cog-yaml", "message", "python_requirements is gone.txt, which is no file of this repository"),
        ({"cog.yaml": "predict\n"}, "cog-yaml", "message", "it has no KEY: VALUE at its top"),
        ({"cog.yaml": "build:\n  gpu: x\npredict\n"}, "cog-yaml", "message", "line 3 is not KEY: VALUE: predict"),
        ({"src/a.py": KIT, "src/b.py": KIT}, "ambiguous-entrypoint", "setting", "src/a.py:apply"),
        ({"main.py": PREDICT, "serve.py": PREDICT}, "two-contracts", "setting", "main.py"),
        ({"inference.py": SAGEMAKER, "code/inference.py": SAGEMAKER}, "two-contracts", "setting", "code/inference.py"),
    ],
)  # fmt: skip
def test_what_does_not_decide_is_refused(
    tmp_path: Path, files: dict[str, str], code: str, field: str, value: str
) -> None:
    got, fields = refusal(tmp_path, files)
    assert (got, fields[field]) == (code, value)


def test_detection_never_runs_the_code_that_it_looks_at(tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    files = {
        "predict.py": trap + PREDICT, "model.py": trap, "main.py": trap + "def predict(model): ...\n",
        "src/a.py": trap, "setup.py": trap, "conftest.py": trap, "__init__.py": trap,
    }  # fmt: skip
    assert found(tmp_path, files) == ("function", "predict.py", "predict")
    assert not (tmp_path / "ran").exists()
