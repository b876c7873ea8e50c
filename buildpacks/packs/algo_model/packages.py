"""What Python packages serving a model takes, each giving way to a user who names it.  Pure.

A version is asked for exactly where the format is bound to it (pickles, XGBoost's, Keras 3), from that version on and
below the next major one where newer ones read older files (torch.export, SavedModel, transformers), and not at all
where the file does not say. Whoever wrote it goes along: the lock is held against it when it is made (skew.py).

Source  contracts 5.1; XGBoost "Introduction to Model IO" (backward compatible); TensorFlow version compatibility;
        scikit-learn "Model persistence"; keras.io/api/models/model_saving_apis
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from buildpacks.model.file import ModelFile

# scikit-learn 1.4.2 release notes: "This release only includes support for numpy 2." Older metadata does not say so.
FIRST_WITH_NUMPY_2 = (1, 4, 2)
# What the shim itself needs. Loose: a user who names these decides their versions.
SHIM_PACKAGES = ("flask>=2.2", "gunicorn>=22")
_RELEASE = re.compile(r"(\d+(?:\.\d+){1,3})(?:\+[\w.]+)?")
_FLAVORS = {
    "sklearn": ("scikit-learn",), "xgboost": ("xgboost",), "lightgbm": ("lightgbm",), "catboost": ("catboost",),
    "pytorch": ("torch",), "tensorflow": ("tensorflow",), "keras": ("keras", "tensorflow"),
    "onnx": ("onnxruntime", "onnx"), "transformers": ("transformers", "torch"), "statsmodels": ("statsmodels",),
    "spacy": ("spacy",), "prophet": ("prophet",),
}  # fmt: skip
# Modules that pickles of pipelines name -> what to install.
_DISTRIBUTIONS = {
    "pandas": "pandas", "xgboost": "xgboost", "lightgbm": "lightgbm", "catboost": "catboost", "sklearn": "scikit-learn",
    "imblearn": "imbalanced-learn", "category_encoders": "category-encoders", "feature_engine": "feature-engine",
    "mlxtend": "mlxtend", "tpot": "tpot", "statsmodels": "statsmodels", "umap": "umap-learn", "hdbscan": "hdbscan",
    "sklearn_crfsuite": "sklearn-crfsuite", "skops": "skops", "cloudpickle": "cloudpickle",
}  # fmt: skip
Package = dict[str, str]


def packages_for(models: Sequence[ModelFile], *, with_code: bool, declared: bool) -> list[Package]:
    """{"spec", "why", "written_by": version that wrote a model, "kind": of that model, "beside": package for whose
    version it is needed}

    models     that are served, or that user code may load
    with_code  user code serves
    declared   the repository has a list of packages of its own: then it knows which frameworks the code uses, and
               only versions that a file is bound to are added to it
    """
    packages = [_package(spec) for spec in SHIM_PACKAGES]
    for model in models:
        if with_code and declared and model.framework != "sklearn":
            packages += [package for package in _of_model(model) if package["written_by"] and "==" in package["spec"]]
        else:
            packages += _of_model(model)
    return packages


def release_of(version: str) -> str:
    """`2.13.0` of `2.13.0+cpu`; '' for a development version, which no index has."""
    match = _RELEASE.fullmatch(version)
    return "" if match is None else match[1]


def _of_model(model: ModelFile) -> list[Package]:
    make = _MAKERS.get(model.framework)
    return [] if make is None else make(model)


def _xgboost(model: ModelFile) -> list[Package]:
    version = release_of(model.version)
    spec = f"xgboost=={version}" if version else "xgboost"
    return [_needed(model, spec, version), *_with_sklearn(model), *_imported(model)]


def _lightgbm(model: ModelFile) -> list[Package]:
    return [_needed(model, "lightgbm"), *_with_sklearn(model), *_imported(model)]


def _from_on(name: str, version: str) -> str:
    """`torch>=2.15.0,<3`: the name alone for an unknown version."""
    return f"{name}>={version},<{int(version.split('.', maxsplit=1)[0]) + 1}" if version else name


def _torch(model: ModelFile) -> list[Package]:
    version = release_of(model.version) if model.kind == "export" else ""
    return [_needed(model, _from_on("torch", version), version), _needed(model, "numpy")]


def _safetensors(model: ModelFile) -> list[Package]:
    torch = [_needed(model, "torch")] if model.detail.get("written_for") == "pt" else []
    return [_needed(model, "safetensors"), _needed(model, "numpy"), *torch]


def _tensorflow(model: ModelFile) -> list[Package]:
    version = release_of(model.version)
    # TensorFlow 2 reads the folders of TensorFlow 1, which no Python of today has.
    return [_needed(model, _from_on("tensorflow", "" if version.startswith("1.") else version), version)]


def _transformers(model: ModelFile) -> list[Package]:
    version = release_of(model.version)
    return [_needed(model, _from_on("transformers", version), version), _needed(model, "torch")]


def _pickle(model: ModelFile) -> list[Package]:
    return _sklearn(model) if model.kind in {"container", "skops"} and model.version else _imported(model)


def _sklearn(model: ModelFile) -> list[Package]:
    version = release_of(model.version)
    packages = [_needed(model, f"scikit-learn=={version}" if version else "scikit-learn", version)]
    if version and tuple(int(part) for part in version.split(".")[:3]) < FIRST_WITH_NUMPY_2:
        packages.append(_package("numpy<2", f"scikit-learn=={version} was made for it", beside="scikit-learn"))
    if model.kind == "skops" and re.fullmatch(r"[\d.]+", str(model.detail.get("skops", ""))):
        packages.append(_needed(model, f"skops>={model.detail['skops']}"))
    if model.detail.get("names") and "ColumnTransformer" in f"{model.detail.get('steps')} {model.detail.get('class')}":
        packages.append(_package("pandas", f"{model.path} chooses columns by name"))
    return packages + _imported(model)


def _imported(model: ModelFile) -> list[Package]:
    """Other libraries that the pickle names."""
    tops = str(model.detail.get("imports", "")).split(", ")
    return [_needed(model, _DISTRIBUTIONS[top]) for top in tops if top in _DISTRIBUTIONS]


def _with_sklearn(model: ModelFile) -> list[Package]:
    """XGBClassifier, LGBMRegressor and the like are scikit-learn estimators: their pickles import it."""
    return [_needed(model, "scikit-learn")] if str(model.detail.get("module", "")).endswith(".sklearn") else []


def _keras(model: ModelFile) -> list[Package]:
    version = release_of(model.version)
    if version.startswith("3."):
        return [_needed(model, f"keras=={version}", version), _needed(model, "tensorflow")]
    # Keras 2 comes with TensorFlow up to 2.15: who wants that says so; the newest is tried, and told what it meets.
    return [_needed(model, "tensorflow"), _needed(model, "keras", version), _needed(model, "h5py")]


def _mlflow(model: ModelFile) -> list[Package]:
    lines = json.loads(str(model.detail.get("requirements", "[]")))
    native, _, version = str(model.detail.get("native", "")).partition(" ")
    packages = []
    for line in lines:
        # The small distribution has everything that loading takes; the whole one is a tracking server, too.
        spec = re.sub(r"^mlflow(?=[=<>!~; ]|$)", "mlflow-skinny", str(line))
        if native and re.fullmatch(rf"{re.escape(native)}(?:==[\w.]+)?", spec):
            exact = f"{native}=={version}" if spec == native and release_of(version) else spec
            packages.append(_needed(model, exact, release_of(version)))
        else:
            packages.append(_package(spec, f"{model.detail['requirements_file']} names it"))
    named = {re.split(r"[=<>!~\[; ]", package["spec"], maxsplit=1)[0].lower() for package in packages}
    wanted = ["mlflow-skinny", "numpy", "pandas"]
    for flavor in str(model.detail.get("flavors", "")).split(", "):
        wanted += _FLAVORS.get(flavor, ())
    return packages + [_needed(model, name) for name in wanted if name not in named]


def _needed(model: ModelFile, spec: str, written_by: str = "") -> Package:
    if not written_by:
        return _package(spec, f"{model.path} needs it")
    return {**_package(spec, f"{model.path} was written by it", written_by), "kind": model.kind}


def _package(spec: str, why: str = "", written_by: str = "", beside: str = "") -> Package:
    return {"spec": spec, "why": why, "written_by": written_by, **({"beside": beside} if beside else {})}


_MAKERS: dict[str, Callable[[ModelFile], list[Package]]] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": lambda model: [_needed(model, "catboost"), *_imported(model)],
    "onnx": lambda model: [_needed(model, "onnxruntime")],
    "torch": _torch,
    "safetensors": _safetensors,
    "keras": _keras,
    "tensorflow": _tensorflow,
    "mlflow": _mlflow,
    "transformers": _transformers,
    "pickle": _pickle,
}
