"""MLflow model folders: flavors, signature, packages and input example, out of MLmodel and the files beside it.

Source  https://mlflow.org/docs/latest/ml/model/ (MLmodel format, signatures as JSON strings); mlflow 3.17
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from buildpacks.model.file import ModelFile
from buildpacks.model.reading import is_file, read_head
from buildpacks.model.tensors import Tensor, make_shape, render_tensors
from buildpacks.yaml_subset import NotRead, parse_yaml

# Column types of a signature in the words of numpy.
_TYPES = {
    "double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool",
    "string": "string", "binary": "bytes", "datetime": "datetime64",
}  # fmt: skip
MAX_BYTES = 1 << 20


def read_mlflow(folder: str, path: str) -> ModelFile:
    """The model in a folder with MLmodel; framework 'unknown' when that file cannot be read."""
    try:
        document = parse_yaml(read_head(f"{folder}/MLmodel", MAX_BYTES))
    except NotRead as error:
        return ModelFile(path, "unknown", "damaged", "", {"error": f"MLmodel: {error}"})
    flavors = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(flavors, dict) or not flavors:
        return ModelFile(path, "unknown", "damaged", "", {"error": "MLmodel without flavors"})
    native = sorted(str(name) for name in flavors if name != "python_function")
    pyfunc = flavors.get("python_function")
    pyfunc = pyfunc if isinstance(pyfunc, dict) else {}
    detail: dict[str, str | int] = {
        "evidence": "folder with MLmodel", "flavors": ", ".join(native or ["python_function"])[:200],
        "loader": str(pyfunc.get("loader_module", ""))[:100],
    }  # fmt: skip
    native_version = _native_version(flavors, native)
    if native_version:
        detail["native"] = native_version
    detail.update(_signature(document.get("signature")))
    python = str(pyfunc.get("python_version", "") or "")[:20]
    if python:
        detail["python"] = python
    detail.update(_packages(folder, path))
    example = _example(folder, document.get("saved_input_example_info"))
    if example:
        detail["example"] = f"{path}/{example}" if path != "." else example
    return ModelFile(path, "mlflow", "dir", str(document.get("mlflow_version", "") or "")[:40], detail)


def requirements(folder: str) -> list[str]:
    """The lines of the model's own requirements.txt that name a package; options and comments are left out."""
    text = read_head(f"{folder}/requirements.txt", MAX_BYTES).decode("utf-8", "replace")
    lines = [line.split(" #", 1)[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and line[0].isalnum() and "://" not in line and " @ " not in line][:200]


def _packages(folder: str, path: str) -> dict[str, str | int]:
    lines = requirements(folder)
    if not is_file(f"{folder}/requirements.txt"):
        return {}
    return {
        "requirements": json.dumps(lines[:100]),
        "requirements_file": "requirements.txt" if path == "." else f"{path}/requirements.txt",
    }


def _native_version(flavors: Mapping[object, object], native: list[str]) -> str:
    """`scikit-learn 1.9.1` of the first native flavor that says its version."""
    names = {
        "sklearn": ("scikit-learn", "sklearn_version"), "xgboost": ("xgboost", "xgb_version"),
        "lightgbm": ("lightgbm", "lgb_version"), "catboost": ("catboost", "catboost_version"),
        "pytorch": ("torch", "pytorch_version"), "tensorflow": ("tensorflow", "tensorflow_version"),
        "keras": ("keras", "keras_version"), "onnx": ("onnx", "onnx_version"),
        "transformers": ("transformers", "transformers_version"),
    }  # fmt: skip
    for name in native:
        flavor = flavors.get(name)
        if name in names and isinstance(flavor, dict) and flavor.get(names[name][1]):
            return f"{names[name][0]} {str(flavor[names[name][1]])[:40]}"
    return ""


def _signature(value: object) -> dict[str, str | int]:
    if not isinstance(value, dict):
        return {}
    found: dict[str, str | int] = {}
    for side in ("inputs", "outputs"):
        text = value.get(side)
        try:
            items = json.loads(text) if isinstance(text, str) else []
        except (ValueError, RecursionError):
            continue
        tensors = [_tensor(item, number) for number, item in enumerate(items[:64])] if isinstance(items, list) else []
        if tensors:
            found[side] = render_tensors(tensors)
    return found


def _tensor(item: object, number: int) -> Tensor:
    if not isinstance(item, dict):
        return Tensor(str(number), "", None)
    name = str(item.get("name", "" if "tensor-spec" in item else number))
    spec = item.get("tensor-spec")
    if isinstance(spec, dict):
        shape = spec.get("shape")
        return Tensor(name, str(spec.get("dtype", "")), make_shape(shape) if isinstance(shape, list) else None)
    kind = str(item.get("type", ""))
    return Tensor(name, _TYPES.get(kind, kind), (None,))


def _example(folder: str, info: object) -> str:
    """The serving input that MLflow wrote (a request body as it stands), else the plain example."""
    if not isinstance(info, dict):
        return ""
    for key in ("serving_input_path", "artifact_path"):
        name = str(info.get(key) or "")
        if name and "/" not in name and name.endswith(".json") and is_file(f"{folder}/{name}"):
            return name
    return ""
