"""scikit-learn: estimators in joblib, pickle and skops files, and others that look like one (XGBClassifier, ...)."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import TensorSpec
from ..rows import RowSpec
from .loaded import NeedsCode, Opened
from .row_model import RowModel, zeros_body

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "scikit-learn"
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")


def import_framework() -> str:
    """scikit-learn's version."""
    import sklearn

    return str(sklearn.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """The estimator in the file, or in a bundle of one estimator and the transformer that goes before it."""
    held, warned = read_pickle(path, skops=serve.format == "skops")
    model = make_sklearn_model(estimator_of(held))
    warning = None
    if warned:
        loaded_with = f"{DISTRIBUTION} {import_framework()}"
        warning = f"{serve.model_file} was written by {serve.written_by or 'another scikit-learn'} and is loaded by "
        warning += loaded_with
    return Opened(model=model, warning=warning, zeros=zeros_body(model))


def read_pickle(path: Path, *, skops: bool = False) -> tuple[Any, bool]:
    """Unpickle the file; this runs whatever its writer put into it, so it happens in the app's own sandbox alone.

    skops    the file is skops' zip, not a pickle
    returns  what it holds, and whether scikit-learn warned that another version wrote it
    Raises   whatever the file's classes raise; ImportError without skops or joblib for a file of theirs
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if skops:
            import skops.io as reader

            held = reader.load(path, trusted=reader.get_untrusted_types(file=path))
        else:
            held = _load(path)
    return held, any(item.category.__name__ == "InconsistentVersionWarning" for item in caught)


def _load(path: Path) -> Any:
    try:
        import joblib
    except ModuleNotFoundError:  # XGBoost and CatBoost do without it, and so does a plain pickle of theirs
        import pickle

        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301 -- the app's own file, in the app's own sandbox
    return joblib.load(path)  # reads plain pickles too


def estimator_of(held: Any) -> Any:
    """What predicts: the object itself, or the certain meaning of a bundle.

    A bundle is certain when it holds exactly one predictor, and beside plain values at most one transformer of as many
    features: then the transformer goes first. With two of either only the code that trained them knows the order, and
    a pipeline may have the transformer as a step already.
    Raises  NeedsCode that lists what the bundle holds
    """
    if _method_of(held) is not None:
        return held
    parts = _parts(held)
    if parts is None:
        raise NeedsCode(
            f"a {type(held).__module__}.{type(held).__qualname__}, which can neither predict nor transform",
            "a predict.py with `def predict(...)` that loads the file and answers",
        )
    predictors = [part for _, part in parts if hasattr(part, "predict")]
    transformers = [part for _, part in parts if not hasattr(part, "predict") and hasattr(part, "transform")]
    loose = [part for _, part in parts if _method_of(part) is None and not _is_plain(part)]
    if len(predictors) == 1 and not loose:
        if not transformers:
            return predictors[0]
        if len(transformers) == 1 and _follows(transformers[0], predictors[0]):
            from sklearn.pipeline import make_pipeline

            return make_pipeline(transformers[0], predictors[0])
    held_parts = ", ".join(f"{name}: {type(part).__name__}" for name, part in parts[:12])
    raise NeedsCode(
        f"a {type(held).__name__} of {held_parts}",
        "a predict.py that loads the file and says how they work together: "
        "`parts = joblib.load(...)`, `def predict(instances): ...`",
    )


def _parts(held: Any) -> list[tuple[str, Any]] | None:
    if isinstance(held, Mapping):
        return [(str(name), part) for name, part in held.items()]
    if isinstance(held, (tuple, list)):
        return [(str(index), part) for index, part in enumerate(held)]
    return None


def _is_plain(part: Any) -> bool:
    """True for notes beside a model: names of columns, a version, a score."""
    if part is None or isinstance(part, (str, int, float, bool)):
        return True
    if isinstance(part, (list, tuple, set, frozenset)):
        return all(_is_plain(item) for item in part)
    if isinstance(part, Mapping):
        return all(_is_plain(item) for item in part.values())
    return type(part).__module__.partition(".")[0] == "numpy"


def _follows(transformer: Any, predictor: Any) -> bool:
    """True when the predictor was fitted on as many columns as the transformer makes, and has no steps of its own."""
    if hasattr(predictor, "steps"):
        return False
    made = _attribute(transformer, "n_features_in_", None)
    with contextlib.suppress(Exception):
        made = len(transformer.get_feature_names_out())
    wanted = _attribute(predictor, "n_features_in_", None)
    return made is not None and made == wanted


def _method_of(estimator: Any) -> str | None:
    if isinstance(estimator, type):
        return None
    return next((name for name in ("predict", "transform") if callable(getattr(estimator, name, None))), None)


def make_sklearn_model(estimator: Any, *, title: str = "scikit-learn", platform: str = "sklearn") -> RowModel:
    """Look at an estimator once. Raises NeedsCode when it can neither predict nor transform."""
    method = _method_of(estimator)
    if method is None:
        raise NeedsCode(f"a {type(estimator).__name__}, which can neither predict nor transform", "a predict.py")
    names = tuple(str(name) for name in _attribute(estimator, "feature_names_in_", ()))
    count = _attribute(estimator, "n_features_in_", None)
    as_frame = bool(names) and ("pandas" in sys.modules or _selects_columns(estimator))
    # Arrays reach estimators that were fitted on frames whenever pandas is not at hand; the order is checked by us.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    return RowModel(
        methods={name: getattr(estimator, name) for name in METHODS if hasattr(estimator, name)},
        method=method,
        spec=RowSpec(feature_count=None if count is None else int(count), feature_names=names, as_frame=as_frame),
        title=f"{title} {type(estimator).__name__}",
        platform=platform,
        outputs=(
            TensorSpec(name=method, datatype=datatype_of(estimator, method), shape=_output_shape(estimator, method)),
        ),
    )


def _attribute(estimator: Any, name: str, default: Any) -> Any:
    # A pipeline delegates to steps that may lack it, or may not be fitted: any failure means "not known".
    with contextlib.suppress(Exception):
        return getattr(estimator, name)
    return default


def _selects_columns(estimator: Any) -> bool:
    steps: Iterable[Any] = [step for _, step in _attribute(estimator, "steps", ())] or [estimator]
    return any(type(step).__name__ == "ColumnTransformer" for step in steps)


def datatype_of(estimator: Any, method: str) -> str:
    """Open Inference Protocol's name for what a method answers: a classifier's classes, else numbers."""
    classes = _attribute(estimator, "classes_", None)
    kind = getattr(getattr(classes, "dtype", None), "kind", "f") if method == "predict" else "f"
    if kind == "i" or (method == "predict" and hasattr(estimator, "labels_")):
        return "INT64"
    return {"b": "BOOL", "U": "BYTES", "O": "BYTES"}.get(kind, "FP64")


def _output_shape(estimator: Any, method: str) -> tuple[int, ...]:
    several = method == "transform" or _attribute(estimator, "n_outputs_", 1) != 1
    return (-1, -1) if several else (-1,)
