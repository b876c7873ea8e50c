"""A model that takes a table: rows of features in, one answer a row out. What every tabular framework here shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model import Tensor, TensorSpec
from ..refusal import Flaw, Refused, unfit
from ..rows import RowSpec, columns_to_rows, is_one_row, name_of, rows_from_json
from .blame import refusal_of

# What TensorFlow Serving's clients say when they do not choose.
DEFAULT_SIGNATURES = ("", "serving_default", "default")
Method = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowModel:
    """Methods with the row shape that they share.

    methods  name to function: rows (n, d), as rows_from_json makes them, to n answers; all may run at once
    method   the one that is asked by default
    """

    methods: Mapping[str, Method]
    method: str
    spec: RowSpec
    title: str
    platform: str
    outputs: tuple[TensorSpec, ...]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Named columns where the model selects by name, else one matrix."""
        if self.spec.as_frame:
            return tuple(TensorSpec(name=name, datatype="FP64", shape=(-1,)) for name in self.spec.feature_names)
        if self.spec.feature_count is None:
            return (TensorSpec(name="input-0", datatype="BYTES", shape=(-1,)),)
        return (TensorSpec(name="input-0", datatype="FP64", shape=(-1, self.spec.feature_count)),)

    def native(self, value: Any) -> Any:
        """{"instances": rows}, {"inputs": rows}, rows, one row, or one object by feature name: {"predictions"}."""
        rows, at = self._native_rows(value)
        return {"predictions": _ask(self.methods[self.method], rows_from_json(rows, self.spec, at), at)}

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
        """n rows to n predictions; signature may name another method of the model."""
        return _ask(self._method(signature), rows_from_json(instances, self.spec, "/instances"), "/instances")

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
        return _ask(method, rows_from_json(rows, self.spec, "/inputs"), "/inputs")

    def tensors(self, inputs: Sequence[Tensor], wanted: Sequence[str]) -> Mapping[str, Any]:
        """One tensor (n, d), or one per feature name; outputs are methods: predict, predict_proba, ..."""
        methods = [self._output(name) for name in wanted] or [self.method]
        rows = self._tensor_rows(inputs)
        return {name: _ask(self.methods[name], rows, "/inputs") for name in methods}

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

    def _output(self, name: str) -> str:
        if name == "output-0":
            return self.method
        return self._known(name, "/outputs", "output")

    def _method(self, signature: str) -> Method:
        if signature in DEFAULT_SIGNATURES:
            return self.methods[self.method]
        return self.methods[self._known(signature, "/signature_name", "signature")]

    def _known(self, name: str, at: str, what: str) -> str:
        if name in self.methods:
            return name
        known = ", ".join(self.methods)
        raise Refused(422, f"unknown {what} {name!r}", flaws=[Flaw(path=at, message=f"this model has: {known}")])


def _ask(method: Method, rows: Any, at: str) -> Any:
    """method(rows). Raises Refused for what it says of the input, with its place; else what method raises."""
    try:
        return method(rows)
    except Exception as exc:
        refusal = refusal_of(exc, at)
        if refusal is None:
            raise
        raise refusal from exc


def zeros_body(model: RowModel) -> Any:
    """One row of zeros, or one empty text, as a body; None when columns may hold strings: zeros say nothing there."""
    if model.spec.as_frame:
        return None
    return [""] if model.spec.feature_count is None else [[0.0] * model.spec.feature_count]
