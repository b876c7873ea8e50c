"""Which of the found models is served, or why none can be.  Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence

from buildpacks.model.file import ModelFile
from buildpacks.packs.cnb import PackFailed

# Same model in several formats: the safest that is served wins (contracts 5.2).
_PREFERENCE = ("skops", "pickle")
NAMES = {
    "sklearn": "scikit-learn", "torch": "PyTorch", "keras": "Keras", "tensorflow": "TensorFlow", "xgboost": "XGBoost",
    "lightgbm": "LightGBM", "onnx": "ONNX", "catboost": "CatBoost", "mlflow": "MLflow", "transformers": "transformers",
    "safetensors": "safetensors", "gguf": "GGUF", "tflite": "TensorFlow Lite", "pickle": "Python pickle",
    "unknown": "damaged file",
}  # fmt: skip


def refuse_pointers(models: Sequence[ModelFile]) -> None:
    """Raises PackFailed('lfs-pointer') when a model is the text that stands for a file which was not pushed."""
    for model in models:
        if model.framework == "lfs":
            raise PackFailed("lfs-pointer", path=model.path, size=model.detail.get("size", 0))


def choose_model(models: Sequence[ModelFile], explicit: str) -> ModelFile | None:
    """The model to serve without user code; None when the repository holds none.

    explicit  BP_MODEL_FILE
    Raises    PackFailed: model-missing, ambiguous-models, framework-not-served, model-damaged
    """
    if explicit:
        chosen = next((model for model in models if model.path == explicit), None)
        if chosen is None:
            raise PackFailed("model-missing", path=explicit, found=[model.path for model in models])
        return _servable(chosen)
    candidates = _without_twins(models)
    if len(candidates) > 1:
        known = [model for model in candidates if model.framework != "unknown"]
        shown = [f"{model.path} ({NAMES.get(model.framework, model.framework)})" for model in candidates]
        first = next((m.path for m in known if m.framework == "sklearn"), candidates[0].path)
        raise PackFailed("ambiguous-models", models=shown, setting=f"BP_MODEL_FILE={first}")
    return _servable(candidates[0]) if candidates else None


def _servable(model: ModelFile) -> ModelFile:
    if model.framework == "unknown":
        raise PackFailed("model-damaged", path=model.path)
    if model.framework != "sklearn":
        raise PackFailed(
            "framework-not-served",
            path=model.path,
            framework=NAMES.get(model.framework, model.framework),
            kind=model.kind,
        )
    return model


def _without_twins(models: Sequence[ModelFile]) -> list[ModelFile]:
    best: dict[tuple[str, str], ModelFile] = {}
    for model in models:
        key = (os.path.splitext(model.path)[0], model.framework)  # noqa: PTH122 -- no pathlib in buildpacks
        other = best.get(key)
        if other is None or _rank(model) < _rank(other):
            best[key] = model
    return list(best.values())


def _rank(model: ModelFile) -> int:
    return _PREFERENCE.index(model.kind) if model.kind in _PREFERENCE else len(_PREFERENCE)
