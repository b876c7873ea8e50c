"""Code for SageMaker, Hugging Face, Azure and Seldon, unmodified, under the real shim."""

from __future__ import annotations

from pathlib import Path

from tests.contract.runtime_shim import (
    FUNCTION,
    SKLEARN,
    V1_PREDICT,
    V2_INFER,
    failing,
    running,
    serving,
    write_iris_model,
)

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
    with running(tmp_path, files, serving("sagemaker", "code/inference.py", "predict_fn")) as shim:
        client = shim.client()
        expected = {"predictions": [6, 2]}
        assert client.post("/predict", json={"instances": [[1, 2], [1]]}).json() == expected
        assert client.post(V1_PREDICT, json={"instances": [[1, 2], [1]]}).json() == expected
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
    with running(tmp_path, files, serving("sagemaker", "inference.py", "model_fn")) as shim, shim.client() as client:
        assert client.post("/predict", json=[[1, 2], [3, 4]]).json() == [3, 7]
        csv = client.post("/invocations", content=b"1,2\n3,4\n", headers={"content-type": "text/csv"})
        assert csv.json() == [3.0, 7.0]
        wrong = client.post("/invocations", content=b"1,x\n", headers={"content-type": "text/csv"})
        assert (wrong.status_code, "no number" in wrong.json()["error"]) == (400, True)
        assert client.post("/invocations", content=b"x", headers={"content-type": "text/x"}).status_code == 415
        assert client.post("/invocations", json=[[1]], headers={"accept": "text/x"}).status_code == 406


def test_a_model_file_without_model_fn_is_loaded_by_its_framework(tmp_path: Path) -> None:
    write_iris_model(tmp_path / "app/model/iris.joblib")
    files = {"inference.py": "def predict_fn(data, model):\n    return model.predict(data)['predictions']\n"}
    entry = {**SKLEARN, **serving("sagemaker", "inference.py", "predict_fn")}
    with running(tmp_path, files, entry) as shim, shim.client() as client:
        assert client.post("/invocations", json=[[5.1, 3.5, 1.4, 0.2]]).json() == [0]
        csv = client.post("/invocations", content=b"5.1,3.5,1.4,0.2\n", headers={"content-type": "text/csv"})
        assert csv.json() == [0]
        broken = client.post("/invocations", content=b"x", headers={"content-type": "application/x-npy"})
        assert (broken.status_code, "no NPY array" in broken.json()["error"]) == (400, True)


def test_transform_fn_stands_for_three_and_is_never_mixed(tmp_path: Path) -> None:
    code = (
        "def model_fn(model_dir):\n    return 3\n"
        "def transform_fn(model, body, content_type, accept):\n    return str(len(body) * model), accept\n"
    )
    entry = serving("sagemaker", "inference.py", "transform_fn")
    with running(tmp_path / "a", {"inference.py": code}, entry) as shim, shim.client() as client:
        assert client.post("/invocations", content=b"[1]").json() == 9
    failure = failing(tmp_path / "b", {"inference.py": code + "def predict_fn(d, m): ...\n"}, entry)
    assert failure["code"] == "contract-mixed"
    assert failure["fields"] == {"file": "inference.py", "first": "transform_fn", "second": "predict_fn"}


def test_invocations_of_other_models_is_no_address(tmp_path: Path) -> None:
    with running(tmp_path, {"predict.py": "def predict(x): return x\n"}, FUNCTION) as shim, shim.client() as client:
        assert client.post("/invocations", json=1).status_code == 404


# Hugging Face, Azure, Seldon, plain code ------------------------------------------------------------------------------


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
    entry = serving("huggingface", "handler.py", "EndpointHandler")
    with running(tmp_path, files, entry) as shim, shim.client() as client:
        answer = client.post("/predict", json={"inputs": "hey", "parameters": {"top": 2}}).json()
        assert answer == [{"label": "a", "n": 3}, {"label": "b", "n": 3}]
        assert client.post("/predict", json="hello").json() == [{"label": "a", "n": 5}]
        binary = client.post("/predict", content=b"1234", headers={"content-type": "application/octet-stream"})
        assert binary.json() == [{"label": "a", "n": 4}]
        assert client.post(V1_PREDICT, json={"instances": ["x", "y"]}).json() == {
            "predictions": [{"label": "a", "n": 2}]
        }


def test_azures_init_and_run(tmp_path: Path) -> None:
    code = (
        "import json, os\n"
        "def init():\n    global model\n"
        "    model = json.load(open(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'w.json')))\n"
        "def run(raw_data):\n    data = json.loads(raw_data)['data']\n"
        "    return {'result': [sum(r) + model for r in data]}\n"
    )
    files = {"score.py": code, "model/w.json": "10"}
    with running(tmp_path, files, serving("azure", "score.py", "run")) as shim, shim.client() as client:
        assert client.post("/predict", json={"data": [[1, 2]]}).json() == {"result": [13]}
        assert client.post(V1_PREDICT, json={"instances": [[1], [2]]}).json() == {"predictions": {"result": [11, 12]}}
        body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}
        outputs = client.post(V2_INFER, json=body).json()["outputs"]
        assert outputs[0]["name"] == "result"
        assert outputs[0]["data"] == [13.0]


def test_seldons_class_is_called_with_rows_alone(tmp_path: Path) -> None:
    code = "class M:\n    def predict(self, X, features_names, meta):\n        return [sum(row) for row in X]\n"
    with running(tmp_path, {"m.py": code}, serving("class", "m.py", "M")) as shim, shim.client() as client:
        assert client.post("/predict", json=[[1, 2], [3]]).json() == [3, 3]
        assert client.post(V1_PREDICT, json={"instances": [[1, 2]]}).json() == {"predictions": [3]}


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
    entry = serving("class", "predict.py", "Model", model_file="weights.pt", framework="torch", format="state_dict")
    with running(tmp_path, files, entry) as shim, shim.client() as client:
        assert client.post("/predict", json={"x": 3}).json() == 7.0
