"""Which of the found models is served, or why none can be.  Pure."""

from __future__ import annotations

import os
from collections.abc import Sequence

from buildpacks.model.file import ModelFile
from buildpacks.packs.algo_model.titles import NAMES, has_no_code, title_of, what_and_todo
from buildpacks.packs.cnb import PackFailed

# The same model in several formats: the safest that is served wins (contracts 5.2).
_PREFERENCE = (
    ("torch", "export"), ("torch", "torchscript"), ("onnx", "onnx"), ("tensorflow", "savedmodel"), ("keras", "keras"),
    ("sklearn", "skops"), ("xgboost", "ubj"), ("xgboost", "json"), ("lightgbm", "text"), ("catboost", "cbm"),
    ("keras", "h5"), ("sklearn", "pickle"), ("xgboost", "pickle"), ("lightgbm", "pickle"), ("catboost", "pickle"),
)  # fmt: skip
_NETWORKS = frozenset({"torch", "safetensors", "tensorflow", "keras", "onnx", "flax"})


def refuse_pointers(models: Sequence[ModelFile]) -> None:
    """Raises PackFailed('lfs-pointer') when a model is the text that stands for a file which was not pushed."""
    for model in models:
        if model.framework == "lfs":
            raise PackFailed("lfs-pointer", path=model.path, size=model.detail.get("size", 0))


def choose_model(models: Sequence[ModelFile], explicit: str) -> ModelFile | None:
    """The model to serve without user code; None when the repository holds none.

    explicit  BP_MODEL_FILE
    Raises    PackFailed: model-missing, ambiguous-models, framework-not-served, model-damaged, model-part-missing
    """
    if explicit:
        chosen = next((model for model in models if model.path == explicit), None)
        if chosen is None:
            raise PackFailed("model-missing", path=explicit, found=[model.path for model in models] or ["none"])
        return _servable(chosen)
    candidates = _without_twins([model for model in models if model.kind != "data"])
    if len(candidates) > 1:
        shown = [f"{model.path} ({title_of(model)})" for model in candidates]
        first = next((m.path for m in candidates if has_no_code(m)), candidates[0].path)
        raise PackFailed("ambiguous-models", models=shown, setting=f"BP_MODEL_FILE={first}")
    return _servable(candidates[0]) if candidates else None


def _servable(model: ModelFile) -> ModelFile:
    if model.framework == "unknown":
        raise PackFailed("model-damaged", path=model.path)
    if not has_no_code(model):
        what, todo = what_and_todo(model)
        raise PackFailed(
            "framework-not-served",
            path=model.path,
            framework=NAMES.get(model.framework, model.framework),
            what=what,
            todo=todo,
        )
    if model.detail.get("missing"):
        raise PackFailed("model-part-missing", path=model.path, missing=model.detail["missing"])
    return model


def _without_twins(models: Sequence[ModelFile]) -> list[ModelFile]:
    best: dict[tuple[str, str], ModelFile] = {}
    for model in models:
        key = (_stem(model.path), _group(model, models))
        other = best.get(key)
        if other is None or _rank(model) < _rank(other):
            best[key] = model
    return list(best.values())


def _stem(path: str) -> str:
    stem = os.path.splitext(path)[0]  # noqa: PTH122 -- no pathlib in buildpacks
    return stem.removesuffix(".weights").removesuffix("_weights")


def _group(model: ModelFile, models: Sequence[ModelFile]) -> str:
    """Frameworks whose files of one name are one model: ONNX is an export of anything, networks of each other."""
    if model.framework == "onnx":
        beside = [m.framework for m in models if m.framework != "onnx" and _stem(m.path) == _stem(model.path)]
        return _family(beside[0]) if beside else "networks"
    return _family(model.framework)


def _family(framework: str) -> str:
    return "networks" if framework in _NETWORKS else framework


def _rank(model: ModelFile) -> int:
    key = (model.framework, model.kind)
    return _PREFERENCE.index(key) if key in _PREFERENCE else len(_PREFERENCE)
