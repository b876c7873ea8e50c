"""A model of tensors: named inputs and outputs with types and shapes, asked by position when there is only one.

1. A single input is taken whatever it is called: exporters give it names that no caller knows (`keras_tensor`).
2. Several inputs are taken by name; the answer holds outputs by name when there are several.
3. Rows are stacked along the first axis. A model that was exported for a batch of one is asked once a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model import Tensor, TensorSpec
from ..refusal import Flaw, Refused, pointer, unfit
from ..rows import MAX_FLAWS, name_of
from .blame import refusal_of
from .casting import ArraySpec, array_from_json, cast_tensor, check_shape, is_row
from .row_model import DEFAULT_SIGNATURES

MAX_ZEROS = 1_000_000
Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One way to ask: arrays by input name to arrays by output name, in the order of the outputs."""

    inputs: tuple[ArraySpec, ...]
    outputs: tuple[TensorSpec, ...]
    run: Run

    @property
    def batch(self) -> int | None:
        """The size of the first axis that all inputs share: -1 any, None when they do not share one."""
        sizes = {spec.shape[0] if spec.shape else None for spec in self.inputs if spec.shape is not None}
        return sizes.pop() if len(sizes) == 1 else -1 if not sizes else None

    def ask(self, arrays: Mapping[str, Any], at: str) -> Mapping[str, Any]:
        """run(arrays). Raises Refused for what it says of the input, with its place; else what run raises."""
        try:
            return self.run(arrays)
        except Exception as exc:
            refusal = refusal_of(exc, at)
            if refusal is None:
                raise
            raise refusal from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorModel:
    """Signatures by name; default is the one that is asked when nobody chooses."""

    signatures: Mapping[str, Signature]
    default: str
    title: str
    platform: str

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Of the default signature."""
        return tuple(spec.described for spec in self.signatures[self.default].inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Of the default signature."""
        return self.signatures[self.default].outputs

    def native(self, value: Any) -> Any:
        """{"instances": rows}, {"inputs": tensor or tensors by name}, tensors by name, a batch, or one row.

        returns  {"predictions": ...}: a row each; several outputs are an object by name, in rows for instances
        """
        signature = self.signatures[self.default]
        if isinstance(value, Mapping):
            if "instances" in value:
                return {"predictions": self.rows(_rows_of(value["instances"], "/instances"), "")}
            if "inputs" in value and not any(spec.name == "inputs" for spec in signature.inputs):
                return {"predictions": _alone(self._columns(signature, value["inputs"], "/inputs"))}
            if any(spec.name in value for spec in signature.inputs):
                return {"predictions": _alone(self._columns(signature, value, ""))}
            known = ", ".join(spec.name for spec in signature.inputs)
            message = f'expected {{"instances": [...]}}, a list, or the inputs by name; this model has: {known}'
            raise unfit(Flaw(path="", message=message))
        return {"predictions": _alone(self._columns(signature, value, ""))}

    def rows(self, instances: Sequence[Any], signature: str) -> Any:
        """n instances, each a value or an object by input name, to n predictions."""
        chosen = self._signature(signature)
        listed = _rows_of(instances, "/instances")
        batch = chosen.batch
        if batch is None or 0 <= batch != len(listed):
            if batch != 1:
                message = f"this model takes exactly {batch} rows, got {len(listed)}"
                if batch is None:
                    message = 'the inputs of this model share no first axis; send {"inputs": {...}}'
                raise unfit(Flaw(path="/instances", message=message))
            return [self._stacked(chosen, [row], f"/instances/{index}")[0] for index, row in enumerate(listed)]
        return self._stacked(chosen, listed, "/instances")

    def _stacked(self, signature: Signature, rows: Sequence[Any], at: str) -> Any:
        """Rows as one batch, answers row by row."""
        columns = _columns_of_rows(rows, signature, at)
        arrays = {spec.name: array_from_json(columns[spec.name], spec, at) for spec in signature.inputs}
        outputs = signature.ask(arrays, at)
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        for name, value in outputs.items():
            if not getattr(value, "ndim", 1) or len(value) != len(rows):
                message = f'the output {name} does not have an entry for each row; send {{"inputs": {{...}}}}'
                raise unfit(Flaw(path=at, message=message))
        return [{name: value[index] for name, value in outputs.items()} for index in range(len(rows))]

    def columns(self, inputs: Any, signature: str) -> Any:
        """One tensor, or tensors by name, to one output, or outputs by name."""
        return _alone(self._columns(self._signature(signature), inputs, "/inputs"))

    def _columns(self, signature: Signature, inputs: Any, at: str) -> Mapping[str, Any]:
        if not isinstance(inputs, Mapping):
            if len(signature.inputs) != 1:
                known = ", ".join(spec.name for spec in signature.inputs)
                raise unfit(Flaw(path=at, message=f"expected an object of {known}, got {name_of(inputs)}"))
            only = signature.inputs[0]
            value = [inputs] if is_row(inputs, only) else inputs
            return signature.ask({only.name: array_from_json(value, only, at)}, at)
        if len(signature.inputs) == 1 and len(inputs) == 1:
            key, value = next(iter(inputs.items()))
            only = signature.inputs[0]
            return signature.ask({only.name: array_from_json(value, only, at + pointer(key))}, at + pointer(key))
        _check_names(inputs, signature, at)
        arrays = {
            spec.name: array_from_json(inputs[spec.name], spec, at + pointer(spec.name)) for spec in signature.inputs
        }
        return signature.ask(arrays, at)

    def tensors(self, inputs: Sequence[Tensor], wanted: Sequence[str]) -> Mapping[str, Any]:
        """Tensors by name, a single one by position; outputs by name, `output-0` is the first."""
        signature = self.signatures[self.default]
        places = {tensor.name: (index, tensor) for index, tensor in enumerate(inputs)}
        if len(signature.inputs) == 1 and len(inputs) == 1:
            places = {signature.inputs[0].name: (0, inputs[0])}
        _check_names(places, signature, "/inputs")
        arrays = {}
        for spec in signature.inputs:
            index, tensor = places[spec.name]
            arrays[spec.name] = cast_tensor(tensor, spec, f"/inputs/{index}")
        outputs = signature.ask(arrays, "/inputs")
        if not wanted:
            return outputs
        first = next(iter(outputs))
        for name in wanted:
            if name not in outputs and name != "output-0":
                known = ", ".join(outputs)
                flaw = Flaw(path="/outputs", message=f"this model has: {known}")
                raise Refused(422, f"unknown output {name!r}", flaws=[flaw])
        return {name: outputs[name if name in outputs else first] for name in wanted}

    def _signature(self, name: str) -> Signature:
        if name in self.signatures:
            return self.signatures[name]
        if name in DEFAULT_SIGNATURES:
            return self.signatures[self.default]
        flaw = Flaw(path="/signature_name", message=f"this model has: {', '.join(self.signatures)}")
        raise Refused(422, f"unknown signature {name!r}", flaws=[flaw])


def zeros_body(signature: Signature) -> Any:
    """A body of zeros that the signature allows: n is 1. None when a size is unknown, it holds texts, or it is huge."""
    body, total = {}, 0
    for spec in signature.inputs:
        if spec.shape is None or spec.datatype == "BYTES" or any(size == -1 for size in spec.shape[1:]):
            return None
        shape = [1 if size == -1 else size for size in spec.shape]
        value: Any = False if spec.datatype == "BOOL" else 0
        for size in reversed(shape):
            value = [value] * size
        count = 1
        for size in shape:
            count *= size
        total += count
        check_shape(shape, spec, "")
        body[spec.name] = value
    return {"inputs": body} if total <= MAX_ZEROS else None


def _rows_of(value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise unfit(Flaw(path=at, message=f"expected a list of rows, got {name_of(value)}"))
    if not value:
        raise unfit(Flaw(path=at, message="expected at least one row, got none"))
    return value


def _columns_of_rows(rows: Sequence[Any], signature: Signature, at: str) -> dict[str, list[Any]]:
    """Rows, each one value or an object by name, to a list of values by input."""
    if len(signature.inputs) == 1 and not isinstance(rows[0], Mapping):
        return {signature.inputs[0].name: list(rows)}
    flaws = [
        Flaw(path=f"{at}/{index}", message=f"expected an object by input name, got {name_of(row)}")
        for index, row in enumerate(rows)
        if not isinstance(row, Mapping)
    ]
    if flaws:
        raise unfit(*flaws[:MAX_FLAWS])
    if len(signature.inputs) == 1 and all(len(row) == 1 for row in rows):
        return {signature.inputs[0].name: [next(iter(row.values())) for row in rows]}
    for index, row in enumerate(rows):
        _check_names(row, signature, f"{at}/{index}")
    return {spec.name: [row[spec.name] for row in rows] for spec in signature.inputs}


def _check_names(found: Mapping[str, Any], signature: Signature, at: str) -> None:
    known = [spec.name for spec in signature.inputs]
    flaws = [Flaw(path=at + pointer(name), message="this input is missing") for name in known if name not in found]
    flaws += [
        Flaw(path=at + pointer(name), message=f"unknown input; this model has: {', '.join(known)}")
        for name in found
        if name not in known
    ]
    if flaws:
        raise unfit(*flaws[:MAX_FLAWS])


def _alone(outputs: Mapping[str, Any]) -> Any:
    """The one output itself, several by name."""
    return next(iter(outputs.values())) if len(outputs) == 1 else dict(outputs)
