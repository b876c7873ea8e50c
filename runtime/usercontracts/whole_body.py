"""Code that takes a request's body as one value, as a model: what the other contracts send is put into such a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model import Tensor, TensorSpec
from ..refusal import Flaw, unfit

# (body, Content-Type, Accept) to (body, Content-Type)
Invoke = Callable[[bytes, str, str], tuple[bytes, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeBodyModel:
    """ask(value) behind all contracts.

    rows_key    the key under which the contract's callers send rows: TensorFlow Serving's rows are sent as {key: rows}
    inputs_key  the same for columns and tensors
    invoke      answers raw bodies of any content type, where the contract has content types of its own
    """

    ask: Callable[[Any], Any]
    title: str
    rows_key: str
    inputs_key: str
    invoke: Invoke | None = None
    platform: str = "python"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def native(self, value: Any) -> Any:
        """The body as it came."""
        return self.ask(value)

    def rows(self, instances: Sequence[Any], signature: str) -> Any:  # noqa: ARG002 -- one function, one signature
        """All rows in one call; code that answers {"predictions": ...} has wrapped its answer already."""
        return _unwrapped(self.ask({self.rows_key: list(instances)}), "predictions")

    def columns(self, inputs: Any, signature: str) -> Any:  # noqa: ARG002 -- likewise
        """One tensor, or tensors by name."""
        return _unwrapped(self.ask({self.inputs_key: inputs}), "outputs")

    def tensors(self, inputs: Sequence[Tensor], wanted: Sequence[str]) -> Mapping[str, Any]:
        """One tensor as its values, several as an object of values by name; a result by name stays that."""
        values = {tensor.name: _as_lists(tensor.value) for tensor in inputs}
        result = self.ask({self.inputs_key: next(iter(values.values())) if len(values) == 1 else values})
        outputs = dict(result) if isinstance(result, Mapping) else {"output-0": result}
        unknown = [name for name in wanted if name not in outputs]
        if unknown:
            known = ", ".join(outputs)
            raise unfit(Flaw(path="/outputs", message=f"no output is called {unknown[0]!r}; there is: {known}"))
        return {name: outputs[name] for name in wanted} if wanted else outputs


def _unwrapped(result: Any, key: str) -> Any:
    return result[key] if isinstance(result, Mapping) and set(result) == {key} else result


def _as_lists(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
