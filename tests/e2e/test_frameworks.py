"""A bare model of each framework, pushed with git and nothing beside it: every contract gives the framework's answer.

Each push installs the framework itself; TensorFlow and PyTorch are the heavy ones. PyTorch comes from an index of this
test's own, for its wheels of the public index weigh 3 GB (tests/services/torch_index.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tests.services.client import Repo
from tests.services.model_makers import ModelCase, answer_of, close_to, model_cases
from tests.services.server import Server
from tests.services.torch_index import torch_index

# The first run on a machine makes the environments and the models.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

LIGHT = {
    "xgboost-json": ("tables", "XGBoost"),
    "xgboost-ubj": ("tables", "XGBoost"),
    "lightgbm-text": ("tables", "LightGBM"),
    "onnx": ("tables", "ONNX"),
    "sklearn-skops": ("tables", "scikit-learn"),
    "sklearn-bundle": ("tables", "scikit-learn"),
    "catboost-classes": ("catboost", "CatBoost"),
    "mlflow-columns": ("mlflow", "MLflow"),
}


def push_and_ask(repo: Repo, server: Server, case: ModelCase) -> str:
    """Push the model alone, compare every call; what the push said."""
    case.put(repo.path)
    repo.commit()
    said = repo.push()
    for call in case.calls:
        path = f"/alice/{repo.app}{call.path.replace('/models/iris', f'/models/{repo.app}')}"
        found: Any = answer_of(server.request("POST", path, json=call.body))
        assert close_to(found, call.answer), f"{call.path}: {found} instead of {call.answer}"
    return said.text


def once_but_for_the_first(names: Iterable[str]) -> list[Any]:
    """One form on every target, the others once: what runs releases cannot tell them apart."""
    return [pytest.param(name, marks=[pytest.mark.once] if number else []) for number, name in enumerate(names)]


@pytest.mark.parametrize("name", once_but_for_the_first(LIGHT))
def test_a_bare_model_is_served_as_its_framework_answers(name: str, repo: Repo, server: Server) -> None:
    family, framework = LIGHT[name]
    assert framework in push_and_ask(repo, server, model_cases(family)[name])


@pytest.mark.once
@pytest.mark.parametrize("name", ["keras", "savedmodel"])
def test_a_tensorflow_model_is_served_as_tensorflow_answers(name: str, repo: Repo, server: Server) -> None:
    said = push_and_ask(repo, server, model_cases("tensorflow")[name])
    assert "tensorflow-cpu" in said


@pytest.fixture(scope="module")
def torch_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose operator has named an index of PyTorch's builds for processors."""
    with torch_index() as url:
        server = Server(tmp_path_factory.mktemp("torch") / "state", {"ready_timeout_s": "120", "torch_index": url})
        try:
            yield server.start()
        finally:
            server.close()


@pytest.mark.once
@pytest.mark.parametrize("name", ["torchscript", "torch-export", "transformers-classification"])
def test_a_pytorch_model_is_served_as_pytorch_answers(
    name: str, torch_server: Server, own: Callable[[Server, str], Repo]
) -> None:
    said = push_and_ask(own(torch_server, name), torch_server, model_cases("torch")[name])
    assert "torch==2.15.0+cpu" in said


@pytest.mark.once
def test_weights_without_their_class_are_refused_with_the_code_to_write(repo: Repo, server: Server) -> None:
    case = model_cases("torch")["torch-weights"]
    case.put(repo.path)
    repo.commit()
    said = repo.push(check=False)
    assert "main" in said.verdicts, said.text
    assert said.line_with("predict.py")


@pytest.mark.once
def test_a_file_of_keras_2_is_served_with_a_warning_where_keras_3_still_reads_it(repo: Repo, server: Server) -> None:
    said = push_and_ask(repo, server, model_cases("tensorflow")["keras-2-h5"])
    assert "old.h5 was written by keras 2.21.0, and 3." in said
    assert "Keras 3 reads only part of what Keras 2 wrote" in said


@pytest.mark.once
def test_a_file_of_keras_2_that_keras_3_does_not_read_is_refused_with_the_way_out(repo: Repo, server: Server) -> None:
    case = model_cases("tensorflow")["keras-2-lstm"]
    case.put(repo.path)
    repo.commit()
    said = repo.push(check=False)
    assert "old-lstm.h5 is of Keras 2, and Keras 3 does not read it" in said.verdicts["main"]
    assert said.line_with("tf_keras.models.load_model(...).export('model') makes a SavedModel that is served as it is")
