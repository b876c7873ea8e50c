"""How models are called in front of people, which of them are served as they are, and what the others need.  Pure."""

from __future__ import annotations

from buildpacks.model.file import ModelFile

NAMES = {
    "sklearn": "scikit-learn", "torch": "PyTorch", "keras": "Keras", "tensorflow": "TensorFlow", "xgboost": "XGBoost",
    "lightgbm": "LightGBM", "onnx": "ONNX", "catboost": "CatBoost", "mlflow": "MLflow", "transformers": "transformers",
    "safetensors": "safetensors", "gguf": "GGUF", "tflite": "TensorFlow Lite", "pickle": "Python pickle",
    "sentence-transformers": "sentence-transformers", "diffusers": "diffusers", "peft": "PEFT", "openvino": "OpenVINO",
    "flax": "Flax", "orbax": "Orbax", "tensorrt": "TensorRT", "unknown": "damaged file",
}  # fmt: skip
# What wrote a file, as package indexes call it.
DISTRIBUTIONS = {
    "sklearn": "scikit-learn", "pickle": "scikit-learn", "xgboost": "xgboost", "keras": "keras", "torch": "torch",
    "tensorflow": "tensorflow", "transformers": "transformers", "catboost": "catboost", "flax": "transformers",
}  # fmt: skip
_KINDS = {
    "torchscript": "TorchScript", "export": "torch.export", "state_dict": "weights", "module": "pickled module",
    "legacy": "old torch.save", "savedmodel": "SavedModel", "h5": "H5", "h5-weights": "H5 weights", "json": "JSON",
    "ubj": "UBJ", "skops": "skops", "container": "several objects", "weights": "weights", "adapter": "adapter",
}  # fmt: skip
_SERVED = {
    "sklearn": {"pickle", "skops"}, "xgboost": {"json", "ubj", "pickle"}, "lightgbm": {"text", "pickle"},
    "catboost": {"cbm", "pickle"}, "onnx": {"onnx"}, "torch": {"torchscript", "export"}, "keras": {"keras", "h5"},
    "tensorflow": {"savedmodel"}, "mlflow": {"dir"}, "transformers": {"dir"}, "pickle": {"container"},
}  # fmt: skip
_CODE = "write predict.py with a function predict that "
# (what the file holds, what to do); {path} is the file.
_NEEDS = {
    ("torch", "state_dict"): (
        "a PyTorch state_dict: weights without the class that computes with them",
        "write predict.py with that class, load_state_dict(torch.load('{path}')) and a function predict",
    ),
    ("torch", "module"): (
        "a pickled PyTorch module, whose class is code: {classes}",
        "write predict.py that has that class and loads {path}, or save it with torch.jit.script or torch.export",
    ),
    ("torch", "legacy"): (
        "a file of torch.save in the format before PyTorch 1.6",
        "write predict.py with the model's class that loads {path}, or save it again with torch.jit.script",
    ),
    ("safetensors", "weights"): (
        "tensors alone ({tensors} of them), without the model that computes with them",
        "write predict.py with the model's class that loads {path}, or commit its config.json beside it",
    ),
    ("keras", "h5-weights"): (
        "weights of a Keras model, without its layers",
        "save the whole model: model.save('model.keras')",
    ),
    ("sentence-transformers", "dir"): (
        "a sentence-transformers model",
        _CODE + "calls SentenceTransformer('{path}').encode, name sentence-transformers in requirements.txt",
    ),
    ("diffusers", "dir"): (
        "a diffusers pipeline",
        _CODE + "calls DiffusionPipeline.from_pretrained('{path}'), name diffusers in requirements.txt",
    ),
    ("peft", "adapter"): (
        "a PEFT adapter, which changes a base model that is not here",
        "merge it (model.merge_and_unload().save_pretrained('model')), or write predict.py that loads both",
    ),
    ("gguf", "gguf"): (
        "a GGUF model, for llama.cpp",
        _CODE + "calls llama_cpp.Llama('{path}'), name llama-cpp-python in requirements.txt",
    ),
    ("tflite", "tflite"): (
        "a TensorFlow Lite model",
        _CODE + "runs ai_edge_litert's Interpreter('{path}'), name ai-edge-litert in requirements.txt",
    ),
    ("openvino", "ir"): (
        "an OpenVINO model",
        _CODE + "calls openvino.Core().compile_model('{path}'), name openvino in requirements.txt",
    ),
    ("orbax", "checkpoint"): (
        "an Orbax checkpoint: arrays without the model that computes with them",
        "write predict.py with the model that restores {path}",
    ),
    ("tensorrt", "plan"): (
        "a TensorRT engine, which runs on one kind of GPU alone",
        "commit the ONNX file that it was made of",
    ),
    ("pickle", "skops"): (
        "a skops file of {class}, which is no scikit-learn estimator",
        _CODE + "loads {path}",
    ),
    ("pickle", "pickle"): (
        "a Python object of the class {module}.{class}",
        _CODE + "loads {path}, beside the file that defines {class}",
    ),
    ("pickle", "container"): (
        "several Python objects in one pickle ({keys})",
        _CODE + "loads {path} and says which of them is the model",
    ),
    ("pickle", "data"): ("data, no model", _CODE + "loads what it needs"),
}
_FLAX = ("Flax weights: arrays without the model that computes with them", "write predict.py with the model's class")


def has_no_code(model: ModelFile) -> bool:
    """The model is served as it is, without code of the user's."""
    if model.kind == "container" and not model.version:
        return False  # a collection without anything of scikit-learn: what is the model in it, only code knows
    return model.kind in _SERVED.get(model.framework, ())


def title_of(model: ModelFile) -> str:
    """`PyTorch TorchScript`, `scikit-learn Pipeline`: framework, and what of it."""
    name = NAMES.get(model.framework, model.framework)
    kind = _KINDS.get(model.kind, "")
    if model.framework in {"sklearn", "lightgbm", "catboost", "transformers", "pickle"} or model.kind == "pickle":
        kind = str(model.detail.get("class", "")) or kind
    if model.framework in {"xgboost", "keras"} and model.kind != "pickle":
        kind = " ".join(filter(None, [str(model.detail.get("class", "")), f"({kind})" if kind else ""]))
    if model.framework == "mlflow":
        kind = str(model.detail.get("flavors", ""))
    return " ".join(filter(None, [name, kind])).replace("safetensors weights", "safetensors")


def what_and_todo(model: ModelFile) -> tuple[str, str]:
    """What a file that cannot be served alone holds, and what its owner does about it."""
    name = NAMES.get(model.framework, model.framework)
    fallback = _FLAX if model.framework == "flax" else (f"a {name} model ({model.kind})", _CODE + "loads {path}")
    what, todo = _NEEDS.get((model.framework, model.kind), fallback)
    fields = {
        "path": model.path,
        "class": "?",
        "module": "?",
        "classes": "its class",
        "tensors": "some",
        **model.detail,
    }
    return what.format_map(fields), todo.format_map(fields)
