"""A bare scikit-learn file as a model: loaded, asked, and what it knows of itself."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .model import Tensor, TensorSpec
from .refusal import Flaw, Refused, unfit
from .rows import RowSpec, columns_to_rows, is_one_row, name_of, rows_from_json

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")
# What TensorFlow Serving's clients say when they do not choose.
DEFAULT_SIGNATURES = ("", "serving_default", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class SklearnModel:
    """estimator with its row shape. method: what is asked by default, predict or, for a transformer, transform."""

    estimator: Any
    spec: RowSpec
    method: str
    title: str
    outputs: tuple[TensorSpec, ...]
    platform: str = "sklearn"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Named columns where the model knows them, else one matrix."""
        if self.spec.as_frame:
            return tuple(TensorSpec(name=name, datatype="FP64", shape=(-1,)) for name in self.spec.feature_names)
        if self.spec.feature_count is None:
            return (TensorSpec(name="input-0", datatype="BYTES", shape=(-1,)),)
        return (TensorSpec(name="input-0", datatype="FP64", shape=(-1, self.spec.feature_count)),)

    def native(self, value: Any) -> Any:
        """{"instances": rows}, {"inputs": rows}, rows, one row, or one object by feature name: {"predictions"}."""
        rows, at = self._native_rows(value)
        return {"predictions": self._ask(rows_from_json(rows, self.spec, at), self.method)}

    def _native_rows(self, value: Any) -> tuple[list[Any], str]:
        if isinstance(value, Mapping):
            for key in ("instances", "inputs"):
                if key in value:
                    return self._listed(value[key], f"/{key}"), f"/{key}"
            if self.spec.feature_names:
                return [value], ""
            raise unfit(Flaw(path="", message='expected {"instances": [...]} or a list of rows'))
        return self._listed(value, ""), ""

    def _listed(self, value: Any, at: str) -> list[Any]:
        if isinstance(value, Mapping):
            return [value]
        if isinstance(value, str) and self.spec.feature_count is None:
            return [value]
        if not isinstance(value, list):
            raise unfit(Flaw(path=at, message=f"expected a list of rows, got {name_of(value)}"))
        if self.spec.feature_count != 1 and is_one_row(value, self.spec):
            return [value]
        return value

    def rows(self, instances: Sequence[Any], signature: str) -> Any:
        """n rows to n predictions; signature may name another method of the estimator."""
        return self._ask(rows_from_json(instances, self.spec, "/instances"), self._method(signature))

    def columns(self, inputs: Any, signature: str) -> Any:
        """A matrix as one tensor, or columns by feature name."""
        method = self._method(signature)
        if isinstance(inputs, Mapping):
            if self.spec.feature_names:
                rows: Any = columns_to_rows(inputs, self.spec, "/inputs")
            elif len(inputs) == 1:
                rows = self._listed(next(iter(inputs.values())), "/inputs")
            else:
                raise unfit(Flaw(path="/inputs", message="this model takes one tensor"))
        else:
            rows = self._listed(inputs, "/inputs")
        return self._ask(rows_from_json(rows, self.spec, "/inputs"), method)

    def tensors(self, inputs: Sequence[Tensor], wanted: Sequence[str]) -> Mapping[str, Any]:
        """One tensor (n, d), or one per feature name; outputs are methods: predict, predict_proba, ..."""
        methods = [self._output(name) for name in wanted] or [self.method]
        rows = self._tensor_rows(inputs)
        return {name: self._ask(rows, name) for name in methods}

    def _tensor_rows(self, inputs: Sequence[Tensor]) -> Any:
        if len(inputs) == 1 and (self.spec.feature_count != 1 or inputs[0].name not in self.spec.feature_names):
            value = inputs[0].value
            if self.spec.feature_count is None or self.spec.as_frame or value.dtype.kind not in "fiub":
                return rows_from_json(self._listed(value.tolist(), "/inputs/0/data"), self.spec, "/inputs/0/data")
            if value.ndim == 1 and value.shape[0] == self.spec.feature_count:
                value = value.reshape(1, -1)
            if value.ndim != 2 or value.shape[1] != self.spec.feature_count:
                expected = f"expected [n, {self.spec.feature_count}], got {list(value.shape)}"
                raise unfit(Flaw(path="/inputs/0/shape", message=expected))
            return value
        if not self.spec.feature_names:
            raise unfit(Flaw(path="/inputs", message=f"this model takes one tensor, got {len(inputs)}"))
        columns = {tensor.name: tensor.value.reshape(-1).tolist() for tensor in inputs}
        return rows_from_json(columns_to_rows(columns, self.spec, "/inputs"), self.spec, "/inputs")

    def _ask(self, rows: Any, method: str) -> Any:
        return getattr(self.estimator, method)(rows)

    def _output(self, name: str) -> str:
        return self.method if name == "output-0" else self._known(name, "/outputs", "output")

    def _method(self, signature: str) -> str:
        if signature in DEFAULT_SIGNATURES:
            return self.method
        return self._known(signature, "/signature_name", "signature")

    def _known(self, name: str, at: str, what: str) -> str:
        if name in METHODS and hasattr(self.estimator, name):
            return name
        known = ", ".join(method for method in METHODS if hasattr(self.estimator, method))
        raise Refused(422, f"unknown {what} {name!r}", flaws=[Flaw(path=at, message=f"this model has: {known}")])


def read_estimator(path: Path) -> tuple[Any, list[str]]:
    """Unpickle the file; this runs whatever its writer put into it, so it happens in the app's own sandbox alone.

    returns  the estimator and what scikit-learn warned of (another version wrote it)
    Raises   whatever the file's classes raise; ImportError for skops files without skops
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if path.suffix == ".skops":
            import skops.io  # type: ignore[import-not-found, unused-ignore]  # only in images that need it

            estimator = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        else:
            import joblib

            estimator = joblib.load(path)  # reads plain pickles too
    seen = [str(item.message) for item in caught if item.category.__name__ == "InconsistentVersionWarning"]
    return estimator, seen


def make_sklearn_model(estimator: Any) -> SklearnModel:
    """Look at an estimator once. Raises TypeError when it can neither predict nor transform."""
    method = next((name for name in ("predict", "transform") if hasattr(estimator, name)), None)
    if method is None:
        raise TypeError(f"a {type(estimator).__name__} can neither predict nor transform")
    names = tuple(str(name) for name in _attribute(estimator, "feature_names_in_", ()))
    count = _attribute(estimator, "n_features_in_", None)
    as_frame = bool(names) and ("pandas" in sys.modules or _selects_columns(estimator))
    # Arrays reach estimators that were fitted on frames whenever pandas is not at hand; the order is checked by us.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    return SklearnModel(
        estimator=estimator,
        spec=RowSpec(feature_count=None if count is None else int(count), feature_names=names, as_frame=as_frame),
        method=method,
        title=f"scikit-learn {type(estimator).__name__}",
        outputs=(
            TensorSpec(name=method, datatype=_datatype(estimator, method), shape=_output_shape(estimator, method)),
        ),
    )


def _attribute(estimator: Any, name: str, default: Any) -> Any:
    # A pipeline delegates to steps that may lack it, or may not be fitted: any failure means "not known".
    with contextlib.suppress(Exception):
        return getattr(estimator, name)
    return default


def _selects_columns(estimator: Any) -> bool:
    steps = [step for _, step in _attribute(estimator, "steps", ())] or [estimator]
    return any(type(step).__name__ == "ColumnTransformer" for step in steps)


def _datatype(estimator: Any, method: str) -> str:
    classes = _attribute(estimator, "classes_", None)
    kind = getattr(getattr(classes, "dtype", None), "kind", "f") if method == "predict" else "f"
    if kind == "i" or (method == "predict" and hasattr(estimator, "labels_")):
        return "INT64"
    return {"b": "BOOL", "U": "BYTES", "O": "BYTES"}.get(kind, "FP64")


def _output_shape(estimator: Any, method: str) -> tuple[int, ...]:
    several = method == "transform" or _attribute(estimator, "n_outputs_", 1) != 1
    return (-1, -1) if several else (-1,)
