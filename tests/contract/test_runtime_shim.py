"""The real shim under gunicorn with a real model: every way to ask it, and every way not to start."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.runtime_shim import FUNCTION, SKLEARN, Shim, failing, make_shim, running, write_iris_model

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    folder = tmp_path_factory.mktemp("iris")
    write_iris_model(folder / "app/model/iris.joblib")
    with running(folder, {}, SKLEARN) as shim:
        yield shim


@pytest.fixture(scope="module")
def model(iris: Shim) -> httpx.Client:
    return iris.client()


# What it says when it is ready ---------------------------------------------------------------------------------------


def test_the_ready_file_says_what_was_loaded_and_how_long_it_took(iris: Shim) -> None:
    facts = json.loads(iris.ready_path.read_text())
    assert facts["model"] == "scikit-learn Pipeline"
    assert (facts["sample"], facts["warning"]) == ("zeros", None)
    assert facts["load_s"] > 0
    assert facts["import_s"] > 0
    assert 0 < facts["predict_ms"] < 1000
    assert 10 < facts["memory_mib"] < 1000
    assert "sklearn.linear_model" in facts["imports"]
    assert not any("_gitserver_runtime" in name for name in facts["imports"])


def test_health_and_readiness_answer_on_every_contract(model: httpx.Client) -> None:
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
        assert model.get(path).json() == {"live": True, "ready": True}
    assert model.get("/v2/models/iris/ready").json() == {"name": "iris", "ready": True}
    assert model.get("/").json()["status"] == "alive"


# Native --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "predictions"),
    [
        ({"instances": ROWS}, [0, 2]),
        ({"inputs": ROWS}, [0, 2]),
        (ROWS, [0, 2]),
        (ROWS[0], [0]),
        ([[5, 3, 1, 0]], [0]),
    ],
)
def test_a_model_file_takes_rows_in_every_native_form(model: httpx.Client, body: Any, predictions: list[int]) -> None:
    assert model.post("/predict", json=body).json() == {"predictions": predictions}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"instances": [[1, 2, 3]]}, [{"path": "/instances/0", "message": "expected 4 values, got 3"}]),
        (
            {"instances": [ROWS[0], [1, 2, [3], 4]]},
            [{"path": "/instances/1/2", "message": "expected a number or a string, got a list"}],
        ),
        ({"instances": []}, [{"path": "/instances", "message": "expected at least one row, got none"}]),
        ({"rows": ROWS}, [{"path": "", "message": 'expected {"instances": [...]} or a list of rows'}]),
        ("x", [{"path": "", "message": "expected a list of rows, got a string"}]),
    ],
)
def test_rows_that_do_not_fit_are_422_with_their_place(model: httpx.Client, body: Any, detail: Any) -> None:
    reply = model.post("/predict", json=body)
    assert reply.status_code == 422
    assert reply.json() == {"error": "the input does not fit this model", "detail": detail}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"", "application/json", 400),
        (b"[" * 5000 + b"]" * 5000, "application/json", 400),
        (b"1" * 6000, "application/json", 400),
        (b"a,b", "text/csv", 415),
    ],
)
def test_a_body_that_is_not_json_is_refused(model: httpx.Client, content: bytes, kind: str, status: int) -> None:
    reply = model.post("/predict", content=content, headers={"content-type": kind})
    assert reply.status_code == status
    assert set(reply.json()) == {"error"}


@pytest.mark.parametrize("kind", ["application/x-pickle", "application/octet-stream", "application/x-npy"])
def test_sec_47_serialised_objects_are_never_read(model: httpx.Client, kind: str) -> None:
    reply = model.post("/predict", content=b"cos\nsystem\n(S'x'\ntR.", headers={"content-type": kind})
    assert reply.status_code == 415


def test_every_answer_carries_its_headers(model: httpx.Client) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    reply = model.post("/predict", json=ROWS, headers={"X-Request-Id": "call-7", "traceparent": trace})
    assert reply.headers["x-request-id"] == "call-7"
    assert reply.headers["traceparent"] == trace
    assert reply.headers["x-model-version"] == "v1"
    assert float(reply.headers["x-predict-ms"]) > 0
    assert reply.headers["server-timing"].startswith("predict;dur=")


@pytest.mark.parametrize("sent", ["x" * 129, "a b", "é".encode("latin-1")])
def test_a_request_id_that_is_not_sane_is_replaced(model: httpx.Client, sent: str | bytes) -> None:
    reply = model.get("/healthz", headers=[(b"X-Request-Id", sent if isinstance(sent, bytes) else sent.encode())])
    assert len(reply.headers["x-request-id"]) == 16


# TensorFlow Serving, KServe V1 ---------------------------------------------------------------------------------------


def test_rows_and_columns_of_tensorflow_serving(model: httpx.Client) -> None:
    path = "/v1/models/iris:predict"
    assert model.post(path, json={"instances": ROWS}).json() == {"predictions": [0, 2]}
    assert model.post(path, json={"inputs": ROWS}).json() == {"outputs": [0, 2]}
    reply = model.post(path, json={"instances": ROWS[:1], "signature_name": "predict_proba"}).json()
    assert sum(reply["predictions"][0]) == pytest.approx(1)
    assert model.post("/v1/models/iris/versions/v1:predict", json={"instances": ROWS}).json() == {"predictions": [0, 2]}


def test_nan_tokens_are_read(model: httpx.Client) -> None:
    reply = model.post("/v1/models/iris:predict", content=b'{"instances": [[NaN, 1, Infinity, 2]]}')
    # This model refuses NaN itself: its own words come back, and no word of a syntax that is wrong.
    assert reply.status_code == 400
    assert "the model did not take it: Input X contains infinity" in reply.json()["error"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, 'expected exactly one of "instances" and "inputs"'),
        ({"instances": ROWS, "inputs": ROWS}, 'expected exactly one of "instances" and "inputs"'),
        ({"instances": []}, '"instances" is not a list of rows but a list without rows'),
        ([], 'expected an object with "instances" or "inputs", got a list'),
        ({"instances": [[1]]}, "the input does not fit this model; /instances/0: expected 4 values, got 1"),
    ],
)
def test_errors_of_tensorflow_serving_are_400_and_a_string(model: httpx.Client, body: Any, words: str) -> None:
    reply = model.post("/v1/models/iris:predict", json=body)
    assert (reply.status_code, reply.json()) == (400, {"error": words})


def test_model_status_is_the_union_of_both_clients(model: httpx.Client) -> None:
    body = model.get("/v1/models/iris").json()
    assert (body["name"], body["ready"]) == ("iris", True)
    assert body["model_version_status"][0]["state"] == "AVAILABLE"
    assert model.get("/v1/models").json() == {"models": ["iris"]}


def test_an_unknown_model_is_404_and_names_what_exists(model: httpx.Client) -> None:
    for path in ("/v1/models/rose:predict", "/v2/models/rose/infer"):
        reply = model.post(path, json={"instances": ROWS})
        assert (reply.status_code, reply.json()) == (404, {"error": "unknown model 'rose'; this server has: iris"})
    reply = model.get("/v2/models/iris/versions/v9")
    assert (reply.status_code, reply.json()) == (404, {"error": "unknown version 'v9' of iris; this server has: v1"})


# Open Inference Protocol V2 ------------------------------------------------------------------------------------------


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [2, 4], "datatype": "FP64", "data": ROWS, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": [value for row in ROWS for value in row]},
        {"datatype": "FP32"},
    ],
)
def test_tensors_nested_and_flat(model: httpx.Client, changes: dict[str, Any]) -> None:
    reply = model.post("/v2/models/iris/infer", json={"id": "a1", "inputs": [tensor(**changes)]})
    assert reply.json() == {
        "model_name": "iris",
        "model_version": "v1",
        "id": "a1",
        "outputs": [{"name": "predict", "shape": [2], "datatype": "INT64", "data": [0, 2]}],
    }


def test_requested_outputs_are_methods_of_the_model(model: httpx.Client) -> None:
    body = {"inputs": [tensor()], "outputs": [{"name": "predict_proba"}, {"name": "predict"}]}
    outputs = model.post("/v2/models/iris/infer", json=body).json()["outputs"]
    assert [(output["name"], output["shape"], output["datatype"]) for output in outputs] == [
        ("predict_proba", [2, 3], "FP64"),
        ("predict", [2], "INT64"),
    ]


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        [],
        [1],
        [tensor(shape=[2, 5])],
        [tensor(shape=[10**9, 10**9])],
        [tensor(shape=[-1, 4])],
        [tensor(datatype="FP16")],
        [tensor(datatype="INT8")],
        [tensor(datatype="nonsense")],
        [tensor(data="abc")],
        [tensor(data=[[1, 2, 3, 4], [1, 2, 3]])],
        [tensor(shape=[2, 3], data=[1, 2, 3, 4, 5, 6])],
        [tensor(), tensor()],
    ],
)
def test_wrong_tensors_are_400_with_a_string(model: httpx.Client, inputs: Any) -> None:
    reply = model.post("/v2/models/iris/infer", json={"inputs": inputs})
    assert reply.status_code == 400
    assert isinstance(reply.json()["error"], str)


def test_metadata_tells_the_shape(model: httpx.Client) -> None:
    assert model.get("/v2").json() == {"name": "algo", "version": "1", "extensions": []}
    body = model.get("/v2/models/iris").json()
    assert body["inputs"] == [{"name": "input-0", "datatype": "FP64", "shape": [-1, 4]}]
    assert body["outputs"] == [{"name": "predict", "datatype": "INT64", "shape": [-1]}]


# The rest ------------------------------------------------------------------------------------------------------------


def test_metrics_count_by_route_and_status(model: httpx.Client) -> None:
    model.post("/predict", json=ROWS)
    text = model.get("/metrics").text
    assert 'algo_requests_total{route="predict",status="200"}' in text
    assert "algo_workers_ready 1" in text
    assert 'algo_request_seconds_bucket{route="predict",le="+Inf"}' in text


def test_the_page_is_for_people(model: httpx.Client) -> None:
    reply = model.get("/", headers={"accept": "text/html"})
    assert reply.headers["content-type"].startswith("text/html")
    assert "<h1>iris</h1>" in reply.text


def test_a_wrong_method_is_405_and_an_unknown_path_names_what_exists(model: httpx.Client) -> None:
    reply = model.get("/predict")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert model.head("/healthz").status_code == 200
    reply = model.get("/nothing")
    assert reply.status_code == 404
    assert "/v2/models/iris/infer" in reply.json()["error"]


# User code -----------------------------------------------------------------------------------------------------------


def test_modules_of_the_user_named_like_ours_are_the_users(tmp_path: Path) -> None:
    names = ("runtime", "app", "flask", "gitserver", "settings", "model", "boot", "server")
    files = {f"{name}.py": f"NAME = 'my {name}'\n" for name in names}
    imports = "".join(f"import {name}\n" for name in names)
    files["predict.py"] = f"{imports}\ndef predict():\n    return [{', '.join(f'{name}.NAME' for name in names)}]\n"
    with running(tmp_path, files, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json={}).json() == [f"my {name}" for name in names]
        assert client.get("/", headers={"accept": "text/html"}).json()["status"] == "alive"


def test_a_function_gets_keyword_arguments_and_says_which_are_missing(tmp_path: Path) -> None:
    code = "def predict(name: str, times: int = 1) -> str:\n    print('asked')\n    return ' '.join([name] * times)\n"
    with running(tmp_path, {"predict.py": code}, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json={"name": "Ada", "times": 2}).json() == "Ada Ada"
        assert client.post("/predict", json="Ada").json() == "Ada"
        assert "asked" in shim.log
        reply = client.post("/predict", json={"nam": "Ada"})
        assert (reply.status_code, reply.json()["detail"]) == (
            422,
            [
                {"path": "/name", "message": "this argument is missing"},
                {"path": "/nam", "message": "unknown argument; predict takes name, times"},
            ],
        )
        reply = client.post("/predict", json={"name": "Ada", "times": "two"})
        assert reply.json()["detail"] == [{"path": "/times", "message": "expected a whole number, got a string"}]
        reply = client.post("/v1/models/iris:predict", json={"instances": [{"name": "a"}, {"name": "b", "times": 2}]})
        assert reply.json() == {"predictions": ["a", "b b"]}


def test_sec_48_what_user_code_raises_goes_to_the_log_and_a_request_id_to_the_caller(tmp_path: Path) -> None:
    code = "def predict(x):\n    raise ValueError('secret of ' + __file__)\n"
    with running(tmp_path, {"predict.py": code}, FUNCTION) as shim, shim.client() as client:
        reply = client.post("/predict", json=1, headers={"X-Request-Id": "req-1"})
        assert (reply.status_code, reply.json()) == (500, {"error": "internal error", "request_id": "req-1"})
        algo = client.post("/v1/algo/alice/iris", json=1)
        assert algo.status_code == 200
        assert set(algo.json()["error"]) == {"message", "error_type"}
        assert "secret" not in algo.text
        log = shim.log
        assert "request req-1 failed" in log
        assert '  File "predict.py", line 2, in predict' in log
        assert "ValueError: secret of" in log
        assert "gunicorn" not in log


def test_sys_exit_in_a_call_does_not_end_the_server(tmp_path: Path) -> None:
    code = "import sys\ndef predict(stop: bool):\n    return sys.exit('bye') if stop else 'here'\n"
    with running(tmp_path, {"predict.py": code}, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json=True).status_code == 500
        assert client.post("/predict", json=False).json() == "here"


def test_a_worker_that_dies_is_replaced_from_the_loaded_model(tmp_path: Path) -> None:
    code = "import os, time\nLOADED = time.time()\ndef predict(die):\n    return os._exit(9) if die else LOADED\n"
    with running(tmp_path, {"predict.py": code}, FUNCTION) as shim:
        with shim.client() as client:
            before = client.post("/predict", json=False).json()
            with pytest.raises(httpx.HTTPError):
                client.post("/predict", json=True)
        with shim.client() as client:
            assert client.post("/predict", json=False).json() == before


def test_coroutines_run_and_generators_stream(tmp_path: Path) -> None:
    code = (
        "import asyncio\n"
        "async def predict(mode: str):\n"
        "    await asyncio.sleep(0)\n"
        "    if mode == 'value':\n        return {'loop': True}\n"
        "    async def numbers():\n        for n in range(3):\n            yield {'n': n}\n"
        "    return numbers()\n"
    )
    with running(tmp_path, {"predict.py": code}, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json="value").json() == {"loop": True}
        reply = client.post("/predict", json="stream")
        assert reply.text == '{"n":0}\n{"n":1}\n{"n":2}\n'
        assert reply.headers["transfer-encoding"] == "chunked"
        events = client.post("/predict", json="stream", headers={"accept": "text/event-stream"})
        assert events.text == 'data: {"n":0}\n\ndata: {"n":1}\n\ndata: {"n":2}\n\n'


def test_a_class_is_loaded_once(tmp_path: Path) -> None:
    code = (
        "class Model:\n    loads = 0\n    def load(self):\n        self.loads += 1\n"
        "    def predict(self, text):\n        return [len(text), self.loads]\n"
    )
    serve = {"kind": "class", "file": "predict.py", "name": "Model"}
    with running(tmp_path, {"predict.py": code}, serve) as shim, shim.client() as client:
        assert client.post("/predict", json={"text": "push"}).json() == [4, 1]
        assert client.post("/predict", json="algo!").json() == [5, 1]


def test_algorithmia_code_runs_unchanged_with_its_types_and_envelope(tmp_path: Path) -> None:
    code = (
        "import Algorithmia\nfrom Algorithmia import ADK\nclient = Algorithmia.client()\n"
        "def load():\n    return {'greeting': 'hello'}\n"
        "def apply(input, globals):\n"
        "    if input == 'fail':\n"
        "        raise Algorithmia.AlgorithmException('no such name', error_type='NameError')\n"
        "    if isinstance(input, bytes):\n        return input[::-1]\n"
        "    return f\"{globals['greeting']} {input}\"\n"
        "algorithm = ADK(apply, load)\nalgorithm.init('x')\n"
    )
    serve = {"kind": "algorithmia", "file": "src/algo.py", "name": "apply"}
    with running(tmp_path, {"src/algo.py": code, "src/__init__.py": ""}, serve) as shim, shim.client() as client:
        path = "/v1/algo/alice/iris"
        reply = client.post(path, json="world").json()
        assert reply["result"] == "hello world"
        assert reply["metadata"]["content_type"] == "text"
        assert reply["metadata"]["duration"] >= 0
        text = client.post(f"{path}/1.2.3", content=b"you", headers={"content-type": "text/plain"}).json()
        assert text["result"] == "hello you"
        binary = client.post(path, content=b"abc", headers={"content-type": "application/octet-stream"}).json()
        assert (binary["result"], binary["metadata"]["content_type"]) == ("Y2Jh", "binary")
        failed = client.post(path, json="fail")
        assert failed.status_code == 200
        assert failed.json()["error"] == {"message": "no such name", "error_type": "NameError"}
        assert client.post(f"{path}?output=raw", json="raw").text == "hello raw"
        void = client.post(f"{path}?output=void", json="void", headers={"X-Request-Id": "r"}).json()
        assert void == {"async_protocol": "void", "request_id": "r"}
        assert client.post("/v1/algo/mallory/iris", json="x").status_code == 404
        assert client.post("/predict", json="world").json() == "hello world"


def test_tensors_reach_functions_by_name(tmp_path: Path) -> None:
    code = "def predict(a, b=0):\n    return {'sum': a + b, 'label': ['x', 'y']}\n"
    with running(tmp_path, {"predict.py": code}, FUNCTION) as shim, shim.client() as client:
        inputs = [
            {"name": name, "shape": [2], "datatype": "INT32", "data": data}
            for name, data in (("a", [1, 2]), ("b", [3, 4]))
        ]
        outputs = client.post("/v2/models/iris/infer", json={"inputs": inputs}).json()["outputs"]
        assert outputs == [
            {"name": "sum", "shape": [2], "datatype": "INT32", "data": [4, 6]},
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["x", "y"]},
        ]


def test_a_known_example_is_the_first_prediction(tmp_path: Path) -> None:
    files = {"predict.py": "def predict(x: int):\n    return x + 1\n", "example.json": '{"x": 1}'}
    with running(tmp_path, files, {**FUNCTION, "example": "example.json"}) as shim:
        facts = json.loads(shim.ready_path.read_text())
        assert facts["sample"] == "example.json"
        assert facts["predict_ms"] is not None


# Several workers, threads, deadlines ---------------------------------------------------------------------------------


def test_sec_50_ready_means_that_every_worker_is_loaded(tmp_path: Path) -> None:
    code = "import os\ndef predict():\n    return os.getpid()\n"
    with running(tmp_path, {"predict.py": code}, FUNCTION, {"ALGO_WORKERS": "3"}) as shim, shim.client() as client:
        assert client.get("/readyz").json()["ready"] is True
        assert "algo_workers_ready 3" in client.get("/metrics").text


def test_slow_calls_do_not_block_health(tmp_path: Path) -> None:
    code = "import time\ndef predict(s: float):\n    time.sleep(s)\n    return s\n"
    with running(tmp_path, {"predict.py": code}, FUNCTION, {"ALGO_THREADS": "1"}) as shim:
        callers = [
            subprocess.Popen([sys.executable, "-c", _SLOW_CALL, str(shim.socket_path)], stdout=subprocess.PIPE)
            for _ in range(4)
        ]
        with shim.client() as client:
            time.sleep(0.8)
            started = time.monotonic()
            assert client.get("/healthz").status_code == 200
            assert time.monotonic() - started < 0.5
        assert [caller.communicate(timeout=30)[0] for caller in callers] == [b"200 0.5\n"] * 4


_SLOW_CALL = """
import http.client, socket, sys
c = http.client.HTTPConnection("model")
c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sys.argv[1])
c.request("POST", "/predict", b"0.5", {"Content-Type": "application/json"})
r = c.getresponse(); print(r.status, r.read().decode())
"""


def test_a_call_past_its_deadline_is_504_and_its_worker_is_replaced(tmp_path: Path) -> None:
    code = "import os, time\ndef predict(s: float):\n    time.sleep(s)\n    return os.getpid()\n"
    with running(tmp_path, {"predict.py": code}, FUNCTION, {"ALGO_DEADLINE_S": "1"}) as shim:
        with shim.client() as client:
            first = client.post("/predict", json=0).json()
            started = time.monotonic()
            reply = client.post("/predict", json=600, headers={"X-Request-Id": "slow"})
            assert 0.9 < time.monotonic() - started < 3
            assert (reply.status_code, reply.json()) == (
                504,
                {"error": "the call ran past its deadline", "request_id": "slow"},
            )
        deadline_at = time.monotonic() + 30
        while True:
            with shim.client() as client:
                pid = client.post("/predict", json=0).json()
            if pid != first:
                break
            assert time.monotonic() < deadline_at
            time.sleep(0.2)


def test_more_pool_threads_load_after_the_fork(tmp_path: Path) -> None:
    code = "import os\nPID = os.getpid()\ndef predict():\n    return PID == os.getpid()\n"
    for name, env, same in (("after", {"OMP_NUM_THREADS": "2"}, True), ("before", {}, False)):
        with running(tmp_path / name, {"predict.py": code}, FUNCTION, env) as shim, shim.client() as client:
            assert client.post("/predict", json={}).json() is same


def test_code_that_starts_threads_at_load_is_loaded_in_each_worker(tmp_path: Path) -> None:
    code = (
        "import os, threading\nPID = os.getpid()\nready = threading.Event()\n"
        "threading.Thread(target=lambda: ready.wait(), daemon=True).start()\n"
        "def predict():\n    return [PID == os.getpid(), threading.active_count() > 1]\n"
    )
    with running(tmp_path, {"predict.py": code}, FUNCTION) as shim, shim.client() as client:
        assert client.post("/predict", json={}).json() == [True, True]


# Not starting --------------------------------------------------------------------------------------------------------


def test_a_syntax_error_names_file_line_and_text(tmp_path: Path) -> None:
    failure = failing(tmp_path, {"predict.py": "def predict(x:\n    return x\n"}, FUNCTION)
    assert failure["code"] == "syntax-error"
    assert (failure["fields"]["file"], failure["fields"]["line"]) == ("predict.py", 1)
    assert failure["fields"]["text"] == "def predict(x:"


def test_an_import_error_names_the_module(tmp_path: Path) -> None:
    failure = failing(tmp_path, {"predict.py": "import os\nimport numpi\n\ndef predict(x):\n    return x\n"}, FUNCTION)
    assert failure["code"] == "import-failed"
    assert failure["fields"] == {
        "module": "numpi",
        "type": "ModuleNotFoundError",
        "message": "No module named 'numpi'",
        "file": "predict.py",
        "line": 2,
    }
    assert '  File "predict.py", line 2, in <module>' in failure["log"]


def test_an_exception_at_load_comes_with_the_users_own_lines(tmp_path: Path) -> None:
    code = (
        "class Model:\n    def load(self):\n        raise ValueError('the weights are gone')\n"
        "    def predict(self, x):\n        return x\n"
    )
    failure = failing(tmp_path, {"predict.py": code}, {"kind": "class", "file": "predict.py", "name": "Model"})
    assert failure["code"] == "load-failed"
    assert failure["fields"]["type"] == "ValueError"
    assert failure["fields"]["message"] == "the weights are gone"
    assert failure["log"] == [
        "Traceback (your own lines):",
        '  File "predict.py", line 3, in load',
        "    raise ValueError('the weights are gone')",
        "ValueError: the weights are gone",
    ]


def test_an_exception_at_load_is_reported_from_workers_too(tmp_path: Path) -> None:
    shim = make_shim(tmp_path, {"predict.py": "raise OSError('no disk')\n"}, FUNCTION, {"OMP_NUM_THREADS": "2"})
    try:
        shim.start()
        failure = shim.wait_failed()
    finally:
        shim.close()
    assert (failure["code"], failure["fields"]["message"]) == ("import-failed", "no disk")


def test_sys_exit_at_import_is_an_answer(tmp_path: Path) -> None:
    failure = failing(tmp_path, {"predict.py": "import sys\nsys.exit('set the key')\n"}, FUNCTION)
    assert (failure["code"], failure["fields"]["message"]) == ("import-failed", "set the key")


def test_an_example_that_the_code_refuses_is_told_with_its_place(tmp_path: Path) -> None:
    files = {"predict.py": "def predict(x: int):\n    return x\n", "example.json": '{"y": 1}'}
    failure = failing(tmp_path, files, {**FUNCTION, "example": "example.json"})
    assert failure["code"] == "example-failed"
    assert failure["fields"]["example"] == "example.json"
    assert "/x: this argument is missing" in failure["fields"]["message"]


def test_an_example_on_which_the_code_raises(tmp_path: Path) -> None:
    files = {"predict.py": "def predict(x):\n    return 1 / x\n", "example.json": "0"}
    failure = failing(tmp_path, files, {**FUNCTION, "example": "example.json"})
    assert (failure["code"], failure["fields"]["type"], failure["fields"]["line"]) == (
        "example-failed",
        "ZeroDivisionError",
        2,
    )


def test_a_missing_entry_names_what_is_there(tmp_path: Path) -> None:
    failure = failing(tmp_path, {"predict.py": "def score(x):\n    return x\n"}, FUNCTION)
    assert failure["code"] == "entry-missing"
    assert failure["fields"] == {"file": "predict.py", "name": "predict", "found": ["score"]}


def test_a_broken_model_file_is_told_as_the_skew_when_the_versions_differ(tmp_path: Path) -> None:
    files = {"model/iris.joblib": "not a pickle"}
    assert failing(tmp_path / "same", files, SKLEARN)["code"] == "load-failed"
    failure = failing(tmp_path / "skew", files, {**SKLEARN, "written_by": "scikit-learn 0.19.0"})
    assert failure["code"] == "framework-skew"
    assert failure["fields"]["written_by"] == "scikit-learn 0.19.0"
    assert failure["fields"]["loaded_with"].startswith("scikit-learn 1.")


def test_a_setting_that_makes_no_sense_is_told(tmp_path: Path) -> None:
    failure = failing(tmp_path, {}, {"kind": "fortran"})
    assert (failure["code"], failure["fields"]["name"]) == ("runtime-setting", "ALGO_SERVE")
