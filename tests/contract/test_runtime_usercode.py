"""Code that was written for other platforms, unmodified, under the real shim: every contract and every way to fail."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.runtime_shim import FUNCTION, SKLEARN, failing, make_shim, running, write_iris_model

PATH_V1, PATH_V2 = "/v1/models/iris:predict", "/v2/models/iris/infer"


def serve(kind: str, file: str, name: str, **more: str) -> dict[str, Any]:
    return {"kind": kind, "file": file, "name": name, **more}


def tensor(name: str, data: list[Any], datatype: str = "FP64") -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


# Cog -----------------------------------------------------------------------------------------------------------------

COG = """
from typing import Iterator, List, Optional

from cog import BaseModel, BasePredictor, ConcatenateIterator, File, Input, Path, Secret


class Output(BaseModel):
    text: str
    length: int
    file: Optional[Path] = None


class Predictor(BasePredictor):
    def setup(self):
        self.prefix = "> "

    def predict(
        self,
        text: str = Input(description="what to say", min_length=1, max_length=8),
        times: int = Input(default=1, ge=1, le=3),
        style: str = Input(default="plain", choices=["plain", "loud"]),
        image: Path = Input(default=None),
        key: Secret = Input(default=None),
    ) -> Output:
        said = self.prefix + " ".join([text] * times)
        if style == "loud":
            said = said.upper()
        if image is not None:
            said += " " + image.read_text()
            with open("/tmp/seen", "w") as seen:
                seen.write(str(image))
        if key is not None:
            said += f" {key} {len(key.get_secret_value())}"
        return Output(text=said, length=len(said))
"""


@pytest.fixture(scope="module")
def cog(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cog")
    code = COG.replace("/tmp/seen", str(folder / "seen"))
    with running(folder, {"predict.py": code}, serve("cog", "predict.py", "Predictor")) as shim:
        yield shim, shim.client(), folder


def test_a_cog_predictor_runs_without_the_package_cog(cog: Any) -> None:
    _, client, _ = cog
    answer = client.post("/predict", json={"text": "hi", "times": 2}).json()
    assert answer == {"text": "> hi hi", "length": 7, "file": None}
    assert client.post("/predict", json="hi").json()["text"] == "> hi"
    rows = client.post(PATH_V1, json={"instances": [{"text": "a"}, {"text": "b", "style": "loud"}]})
    assert [row["text"] for row in rows.json()["predictions"]] == ["> a", "> B"]
    reply = client.post(PATH_V2, json={"inputs": [tensor("text", ["a"], "BYTES"), tensor("times", [3], "INT64")]})
    assert "> a a a" in reply.text, reply.text


@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        ({}, {"path": "/text", "message": "this argument is missing"}),
        ({"text": "x", "times": 4}, {"path": "/times", "message": "expected at most 3, got 4"}),
        ({"text": "x", "times": "2"}, {"path": "/times", "message": "expected a whole number, got a string"}),
        ({"text": ""}, {"path": "/text", "message": "expected at least 1 characters or items, got 0"}),
        ({"text": "x", "style": "mad"}, {"path": "/style", "message": "expected one of 'plain', 'loud'"}),
        ({"text": "x", "image": "/etc/passwd"}, {"path": "/image", "message": "expected an http, https or data URL"}),
        ({"text": "x", "image": "file:///etc/passwd"},
         {"path": "/image", "message": "expected an http, https or data URL"}),
        ({"text": "x", "image": "data:,"[:5]}, {"path": "/image", "message": "the data URL has no comma"}),
        ({"text": "x", "nope": 1},
         {"path": "/nope", "message": "unknown argument; predict takes text, times, style, image, key"}),
    ],
)  # fmt: skip
def test_what_cogs_inputs_forbid_is_422_with_its_place(cog: Any, body: Any, flaw: dict[str, str]) -> None:
    reply = cog[1].post("/predict", json=body)
    assert (reply.status_code, reply.json()["detail"]) == (422, [flaw])


def test_a_file_for_cog_is_there_for_the_call_alone_and_a_secret_does_not_show(cog: Any) -> None:
    _, client, folder = cog
    url = "data:text/plain;base64," + base64.b64encode(b"inside").decode()
    answer = client.post("/predict", json={"text": "x", "image": url, "key": "abc"}).json()
    assert answer["text"] == "> x inside Secret('**********') 3"
    assert not Path((folder / "seen").read_text()).exists()


def test_cogs_streams_files_and_functions(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom cog import BasePredictor, ConcatenateIterator, Input, File\n"
        "class Runner(BasePredictor):\n"
        "    async def setup(self):\n        self.ready = True\n"
        "    def run(self, text: str, as_file: bool = Input(default=False)) -> ConcatenateIterator[str]:\n"
        "        if as_file:\n            return self.file(text)\n        return self.words(text)\n"
        "    def file(self, text):\n        Path('/tmp').joinpath('o.txt')\n"
        "        import tempfile, os\n        path = Path(tempfile.mkdtemp()) / 'o.txt'\n"
        "        path.write_text(text)\n        return path\n"
        "    def words(self, text):\n        assert self.ready\n        yield from text.split()\n"
    )
    with running(tmp_path, {"run.py": code}, serve("cog", "run.py", "Runner")) as shim, shim.client() as client:
        assert client.post("/predict", json={"text": "a b"}).text == '"a"\n"b"\n'
        assert client.post("/predict", json={"text": "hi", "as_file": True}).json() == "data:text/plain;base64,aGk="
        rows = client.post(PATH_V1, json={"instances": [{"text": "a b"}]}).json()
        assert rows == {"predictions": [["a", "b"]]}


def test_a_cog_of_the_app_itself_is_not_replaced(tmp_path: Path) -> None:
    files = {
        "cog.py": "class BasePredictor:\n    mine = True\n",
        "p.py": "from cog import BasePredictor\n"
        "class P(BasePredictor):\n    def predict(self):\n        return self.mine\n",
    }
    with running(tmp_path, files, serve("cog", "p.py", "P")) as shim, shim.client() as client:
        assert client.post("/predict", json={}).json() is True


# SageMaker -----------------------------------------------------------------------------------------------------------

SAGEMAKER = """
import json, os

HERE = os.environ["SM_MODEL_DIR"]


def model_fn(model_dir):
    assert model_dir == HERE
    with open(os.path.join(model_dir, "weights.json")) as file:
        return json.load(file)


def input_fn(body, content_type):
    if content_type == "application/json":
        assert isinstance(body, str)
        return json.loads(body)["instances"]
    if content_type == "image/png":
        assert isinstance(body, bytes)
        return [[len(body)]]
    raise ValueError(content_type)


def predict_fn(data, model, context):
    assert context.system_properties["model_dir"] == HERE
    return [sum(row) * model["factor"] for row in data]


def output_fn(prediction, accept):
    if accept == "text/csv":
        return ",".join(map(str, prediction)), "text/csv"
    return json.dumps({"predictions": prediction})
"""


def test_sagemakers_four_functions_with_content_types_and_context(tmp_path: Path) -> None:
    files = {"code/inference.py": SAGEMAKER, "weights.json": '{"factor": 2}'}
    with running(tmp_path, files, serve("sagemaker", "code/inference.py", "predict_fn")) as shim:
        client = shim.client()
        expected = {"predictions": [6, 2]}
        assert client.post("/predict", json={"instances": [[1, 2], [1]]}).json() == expected
        assert client.post(PATH_V1, json={"instances": [[1, 2], [1]]}).json() == expected
        reply = client.post("/invocations", json={"instances": [[1, 2]]})
        assert (reply.headers["content-type"], reply.json()) == ("application/json", {"predictions": [6]})
        csv = client.post("/invocations", json={"instances": [[1, 2]]}, headers={"accept": "text/csv"})
        assert (csv.headers["content-type"], csv.text) == ("text/csv", "6")
        image = client.post("/invocations", content=b"123", headers={"content-type": "image/png"})
        assert image.json() == {"predictions": [6]}
        failed = client.post("/invocations", content=b"123", headers={"content-type": "text/x"})
        assert (failed.status_code, set(failed.json())) == (500, {"error", "request_id"})
        assert client.get("/ping").status_code == 200


def test_sagemakers_defaults_and_the_model_folder(tmp_path: Path) -> None:
    code = (
        "class Model:\n    def predict(self, rows):\n        return [sum(row) for row in rows]\n"
        "def model_fn(model_dir, context=None):\n    open(model_dir + '/w').read()\n    return Model()\n"
    )
    files = {"inference.py": code, "model/w": "x"}
    with running(tmp_path, files, serve("sagemaker", "inference.py", "model_fn")) as shim, shim.client() as client:
        assert client.post("/predict", json=[[1, 2], [3, 4]]).json() == [3, 7]
        csv = client.post("/invocations", content=b"1,2\n3,4\n", headers={"content-type": "text/csv"})
        assert csv.json() == [3.0, 7.0]
        wrong = client.post("/invocations", content=b"1,x\n", headers={"content-type": "text/csv"})
        assert (wrong.status_code, "no number" in wrong.json()["error"]) == (400, True)
        assert client.post("/invocations", content=b"x", headers={"content-type": "text/x"}).status_code == 415
        assert client.post("/invocations", json=[[1]], headers={"accept": "text/x"}).status_code == 406


def test_transform_fn_stands_for_three_and_is_never_mixed(tmp_path: Path) -> None:
    code = (
        "def model_fn(model_dir):\n    return 3\n"
        "def transform_fn(model, body, content_type, accept):\n    return str(len(body) * model), accept\n"
    )
    entry = serve("sagemaker", "inference.py", "transform_fn")
    with running(tmp_path / "a", {"inference.py": code}, entry) as shim, shim.client() as client:
        assert client.post("/invocations", content=b"[1]").json() == 9
    failure = failing(tmp_path / "b", {"inference.py": code + "def predict_fn(d, m): ...\n"}, entry)
    assert failure["code"] == "contract-mixed"
    assert failure["fields"] == {"file": "inference.py", "first": "transform_fn", "second": "predict_fn"}


def test_invocations_of_other_models_is_no_address(tmp_path: Path) -> None:
    with running(tmp_path, {"predict.py": "def predict(x): return x\n"}, FUNCTION) as shim, shim.client() as client:
        assert client.post("/invocations", json=1).status_code == 404


# Hugging Face, Azure -------------------------------------------------------------------------------------------------


def test_a_hugging_face_handler_gets_its_folder_and_its_data(tmp_path: Path) -> None:
    code = (
        "import os\nfrom typing import Any, Dict, List\n"
        "class EndpointHandler:\n"
        "    def __init__(self, path=''):\n        self.words = open(os.path.join(path, 'words.txt')).read().split()\n"
        "    def __call__(self, data: Dict[str, Any]) -> List[Dict[str, Any]]:\n"
        "        inputs = data.pop('inputs', data)\n        top = data.pop('parameters', {}).get('top', 1)\n"
        "        return [{'label': w, 'n': len(inputs)} for w in self.words[:top]]\n"
    )
    files = {"handler.py": code, "words.txt": "a b c"}
    entry = serve("huggingface", "handler.py", "EndpointHandler")
    with running(tmp_path, files, entry) as shim, shim.client() as client:
        answer = client.post("/predict", json={"inputs": "hey", "parameters": {"top": 2}}).json()
        assert answer == [{"label": "a", "n": 3}, {"label": "b", "n": 3}]
        assert client.post("/predict", json="hello").json() == [{"label": "a", "n": 5}]
        binary = client.post("/predict", content=b"1234", headers={"content-type": "application/octet-stream"})
        assert binary.json() == [{"label": "a", "n": 4}]
        assert client.post(PATH_V1, json={"instances": ["x", "y"]}).json() == {"predictions": [{"label": "a", "n": 2}]}


def test_azures_init_and_run(tmp_path: Path) -> None:
    code = (
        "import json, os\n"
        "def init():\n    global model\n"
        "    model = json.load(open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'w.json')))\n"
        "def run(raw_data):\n    data = json.loads(raw_data)['data']\n"
        "    return {'result': [sum(r) + model for r in data]}\n"
    )
    files = {"score.py": code, "model/w.json": "10"}
    with running(tmp_path, files, serve("azure", "score.py", "run")) as shim, shim.client() as client:
        assert client.post("/predict", json={"data": [[1, 2]]}).json() == {"result": [13]}
        assert client.post(PATH_V1, json={"instances": [[1], [2]]}).json() == {"predictions": {"result": [11, 12]}}
        body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}
        outputs = client.post(PATH_V2, json=body).json()["outputs"]
        assert outputs[0]["name"] == "result"
        assert outputs[0]["data"] == [13.0]


def test_seldons_class_is_called_with_rows_alone(tmp_path: Path) -> None:
    code = "class M:\n    def predict(self, X, features_names, meta):\n        return [sum(row) for row in X]\n"
    with running(tmp_path, {"m.py": code}, serve("class", "m.py", "M")) as shim, shim.client() as client:
        assert client.post("/predict", json=[[1, 2], [3]]).json() == [3, 3]
        assert client.post(PATH_V1, json={"instances": [[1, 2]]}).json() == {"predictions": [3]}


def test_weights_and_the_class_in_the_repository_are_plain_user_code(tmp_path: Path) -> None:
    files = {
        "tinynet.py": "import pickle\ndef load(path):\n    return pickle.load(open(path, 'rb'))\n",
        "network.py": "class Net:\n    def load_state_dict(self, state):\n        self.state = state\n"
        "    def __call__(self, x):\n        return x * self.state['w'] + self.state['b']\n",
        "predict.py": "from pathlib import Path\nimport tinynet\nfrom network import Net\n\n"
        "class Model:\n    def load(self):\n        self.net = Net()\n"
        "        self.net.load_state_dict(tinynet.load(Path(__file__).parent / 'weights.pt'))\n"
        "    def predict(self, x: float) -> float:\n        return self.net(x)\n",
    }
    import pickle

    (tmp_path / "app").mkdir()
    (tmp_path / "app/weights.pt").write_bytes(pickle.dumps({"w": 2.0, "b": 1.0}))
    entry = serve("class", "predict.py", "Model", model_file="weights.pt", framework="torch", format="state_dict")
    with running(tmp_path, files, entry) as shim, shim.client() as client:
        assert client.post("/predict", json={"x": 3}).json() == 7.0


# Algorithmia ---------------------------------------------------------------------------------------------------------

ALGORITHM = """
import Algorithmia
from adk import ADK

client = Algorithmia.client()


def load(modeldata):
    with open(modeldata.get_model("words")) as file:
        modeldata["words"] = file.read().split()
    with client.file("data://alice/things/more.json").getFile() as file:
        assert file.name.endswith("more.json")
    modeldata["more"] = client.file("data://alice/things/more.json").getJson()
    return modeldata


def apply(input, globals):
    return [globals["words"][input], globals["more"]]


ADK(apply, load, client).init(0)
"""


def manifest(content: bytes, **changes: Any) -> str:
    entry = {
        "name": "words", "source_uri": "data://alice/things/words.txt", "fail_on_tamper": True,
        "md5_checksum": hashlib.md5(content).hexdigest(), **changes,
    }  # fmt: skip
    return json.dumps({"required_files": [entry], "optional_files": []})


def frozen(content: bytes) -> str:
    document = json.loads(manifest(content))
    return json.dumps({**document, "lock_checksum": hashlib.md5(str(document).encode()).hexdigest()})


ALGO = serve("algorithmia", "src/algo.py", "apply")


def test_an_algorithm_finds_its_manifest_files_and_its_data_in_the_repository(tmp_path: Path) -> None:
    files = {
        "src/algo.py": ALGORITHM, "models/words.txt": "a b", "data/more.json": "[1]",
        "model_manifest.json": manifest(b"a b"),
    }  # fmt: skip
    with running(tmp_path, files, ALGO) as shim, shim.client() as client:
        assert client.post("/v1/algo/alice/iris", json=1).json()["result"] == ["b", [1]]


@pytest.mark.parametrize(
    ("files", "code", "fields"),
    [
        ({"model_manifest.json": manifest(b"a b")}, "manifest-file-missing", {"name": "words", "path": "words.txt"}),
        ({"model_manifest.json": manifest(b"a b"), "model/words.txt": "a c"}, "manifest-file-changed",
         {"name": "words", "path": "words.txt", "expected": hashlib.md5(b"a b").hexdigest(),
          "found": hashlib.md5(b"a c").hexdigest()}),
        ({"model_manifest.json": "{"}, "manifest-bad", {"path": "model_manifest.json"}),
        ({"model_manifest.json": '{"required_files": [{"source_uri": "x"}]}'}, "manifest-bad",
         {"message": "KeyError: 'name'"}),
        ({"model_manifest.json.freeze": frozen(b"a b").replace("true", "false"), "model/words.txt": "a b"},
         "manifest-bad", {"message": "it was changed after it was frozen (lock_checksum)"}),
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_hold_ends_the_start(
    tmp_path: Path, files: Mapping[str, str], code: str, fields: Mapping[str, str]
) -> None:
    failure = failing(tmp_path, {"src/algo.py": ALGORITHM, **files}, ALGO)
    assert failure["code"] == code, failure
    assert fields.items() <= failure["fields"].items()


def test_a_frozen_manifest_that_is_whole_is_used_and_a_call_to_the_cluster_is_refused(tmp_path: Path) -> None:
    code = ALGORITHM.replace('return [globals["words"][input]', 'return client.algo("a/b").pipe(1) if input else [1')
    files = {
        "src/algo.py": code, "models/words.txt": "a b", "more.json": "{}",
        "model_manifest.json": "not read", "model_manifest.json.freeze": frozen(b"a b"),
    }  # fmt: skip
    with running(tmp_path, files, ALGO) as shim, shim.client() as client:
        assert client.post("/predict", json=0).json() == [1, {}]
        reply = client.post("/v1/algo/alice/iris", json=1).json()
        assert reply["error"]["message"].startswith("client().algo: there is no Algorithmia cluster here")


# Requests with known answers -----------------------------------------------------------------------------------------

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


# What importing runs -------------------------------------------------------------------------------------------------


def test_code_that_reads_its_input_finds_it_empty(tmp_path: Path) -> None:
    failure = failing(tmp_path, {"predict.py": "name = input('who? ')\ndef predict(x): ...\n"}, FUNCTION)
    assert (failure["code"], failure["fields"]["type"], failure["fields"]["line"]) == ("import-failed", "EOFError", 1)


def test_an_ads_template_that_runs_its_sample_does_not_block(tmp_path: Path) -> None:
    code = "from adk import ADK\ndef apply(x):\n    return x\nADK(apply).init()\n"
    with running(tmp_path, {"src/a.py": code}, serve("algorithmia", "src/a.py", "apply")) as shim:
        assert shim.client().post("/predict", json=1).json() == 1


def test_only_what_the_entry_imports_is_imported(tmp_path: Path) -> None:
    files = {
        "predict.py": "import helper\ndef predict(x):\n    return helper.plus(x)\n",
        "helper.py": "def plus(x):\n    return x + 1\n",
        "model.py": "open('trained', 'w')\n",
        "train.py": "open('trained', 'w')\n",
    }
    with running(tmp_path, files, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json=1).json() == 2
        assert not (shim.app_dir / "trained").exists()


@pytest.mark.parametrize(
    ("files", "at", "workers"),
    [
        ({"predict.py": "import time\n\nwhile True:\n    time.sleep(0.01)\n"}, "predict.py line ", "1"),
        ({"predict.py": "import train\ndef predict(x): ...\n",
          "train.py": "import threading\nthreading.Event().wait()\n"}, "train.py line 2", "1"),
        ({"predict.py": "import time\ntime.sleep(600)\n"}, "predict.py line 2", "2"),
    ],
)  # fmt: skip
def test_code_that_never_ends_its_import_is_named_by_its_line(
    tmp_path: Path, files: Mapping[str, str], at: str, workers: str
) -> None:
    env = {"ALGO_READY_TIMEOUT": "4", "OMP_NUM_THREADS": workers}
    shim = make_shim(tmp_path, files, FUNCTION, env)
    started = time.monotonic()
    try:
        shim.start()
        failure = shim.wait_failed()
    finally:
        shim.close()
    assert time.monotonic() - started < 20
    assert failure["code"] == "load-timeout"
    assert failure["fields"]["at"].startswith(at)
    assert failure["fields"]["seconds"] == 4
    assert failure["log"][0] == "Still running (your own lines):"


@pytest.mark.parametrize("is_named", [True, False])
def test_a_library_that_cannot_be_forked_is_loaded_once_and_after_the_fork(tmp_path: Path, is_named: bool) -> None:
    imports = "import tensorflow\nimport os" if is_named else "import os\nfrom helper import tensorflow"
    files = {
        "tensorflow.py": "import os, threading\nopen('loads', 'a').write('x')\nPID = os.getpid()\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n",
        "helper.py": "import tensorflow\n",
        "predict.py": f"{imports}\ndef predict():\n    return tensorflow.PID == os.getpid()\n",
    }
    with running(tmp_path, files, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json={}).json() is True
        assert (shim.app_dir / "loads").read_text() == "x"
        assert ("tensorflow cannot be shared by a fork" in shim.log) is not is_named


def test_a_load_in_time_leaves_no_thread_of_the_deadline_behind(tmp_path: Path) -> None:
    code = "import os\nPID = os.getpid()\ndef predict():\n    return PID == os.getpid()\n"
    env = {"ALGO_READY_TIMEOUT": "60"}
    with running(tmp_path, {"predict.py": code}, FUNCTION, env) as shim, shim.client() as client:
        assert client.post("/predict", json={}).json() is False, "it was loaded before the fork: no thread was seen"
        assert "started threads" not in shim.log
