"""What the contracts know of a model: four ways to ask it, and what it says of itself.

Each contract module turns bodies into one of these calls and results into its own reply; no contract knows what kind
of model answers, and no model knows who asks. Letters: n rows, d features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One named input or output. datatype: of Open Inference Protocol V2. shape: -1 is variable."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One decoded input. value: a numpy array of that shape where numpy is installed, else nested lists."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    value: Any


class Model(Protocol):
    """A loaded model. Threads call it at once. Everything raised that is not Refused is the user's own exception."""

    @property
    def title(self) -> str:
        """What it is, for logs and pages: `scikit-learn Pipeline`, `predict of predict.py`."""
        ...

    @property
    def platform(self) -> str:
        """The framework's name in metadata: `sklearn`, `python`."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs as far as they are known."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs as far as they are known."""
        ...

    def native(self, value: Any) -> Any:
        """POST /predict: the parsed body, or bytes or str as they came; returns the whole reply."""
        ...

    def rows(self, instances: Sequence[Any], signature: str) -> Any:
        """n instances to n predictions (TensorFlow Serving's row format)."""
        ...

    def columns(self, inputs: Any, signature: str) -> Any:
        """One tensor, or tensors by name, to outputs (TensorFlow Serving's column format)."""
        ...

    def tensors(self, inputs: Sequence[Tensor], wanted: Sequence[str]) -> Mapping[str, Any]:
        """Tensors to outputs by name; wanted: the names asked for, empty is the default output."""
        ...
