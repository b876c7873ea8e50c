"""JSON values to the arrays of a signature: the dtype that the model says, each misfit with its place.

1. A string is never a number and a number never a string; null is NaN in floats and refused in whole numbers.
2. A float that is a whole number fits whole numbers (JSON has one kind of number); 1.5 does not.
3. A number out of the dtype's range is refused, never wrapped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model import Tensor, TensorSpec
from ..refusal import Flaw, unfit
from ..rows import MAX_FLAWS, name_of
from ..tensors import NUMPY_NAMES

HALF_FLOATS = {"FP16": "float16"}
_WORDS = {"f": "a number", "i": "a whole number", "u": "a whole number", "b": "true or false", "O": "a string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """One input of a signature. datatype: of Open Inference Protocol V2; shape: -1 is variable, None is any rank."""

    name: str
    datatype: str
    shape: tuple[int, ...] | None

    @property
    def described(self) -> TensorSpec:
        """As metadata says it."""
        return TensorSpec(name=self.name, datatype=self.datatype, shape=(-1,) if self.shape is None else self.shape)

    @property
    def dtype(self) -> str:
        """The numpy dtype."""
        return HALF_FLOATS.get(self.datatype) or NUMPY_NAMES[self.datatype]


def array_from_json(value: Any, spec: ArraySpec, at: str) -> Any:
    """value, a scalar or nested lists, as an array of the spec's dtype and shape.

    at      JSON pointer of value
    Raises  Refused(422) with at most 10 flaws
    """
    import numpy as np

    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # ragged, or a number of hundreds of digits
        array = None
    kind = np.dtype(spec.dtype).kind
    if array is None or array.dtype.kind not in {"f": "fiub", "i": "iu", "u": "iu", "b": "b", "O": ""}[kind]:
        array = _by_hand(value, spec, kind, at)
    check_shape(array.shape, spec, at)
    return _fitted(array, spec, at)


def cast_tensor(tensor: Tensor, spec: ArraySpec, at: str) -> Any:
    """A decoded tensor of Open Inference Protocol V2 as the spec wants it: floats may change their width, kinds not."""
    array = tensor.value
    kinds = {"f": "f", "i": "iu", "u": "iu", "b": "b", "O": "O"}
    import numpy as np

    if array.dtype.kind not in kinds[np.dtype(spec.dtype).kind]:
        message = f"expected {spec.datatype}, got {tensor.datatype}"
        raise unfit(Flaw(path=f"{at}/datatype", message=message))
    check_shape(array.shape, spec, f"{at}/shape")
    return _fitted(array, spec, f"{at}/data")


def check_shape(shape: Sequence[int], spec: ArraySpec, at: str) -> None:
    """Raises Refused(422) unless the shape is one that the spec allows."""
    if spec.shape is None:
        return
    fits = len(shape) == len(spec.shape) and all(
        wanted in (-1, size) for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        expected = ", ".join("n" if size == -1 else str(size) for size in spec.shape)
        raise unfit(Flaw(path=at, message=f"expected the shape [{expected}], got {list(shape)}"))


def _fitted(array: Any, spec: ArraySpec, at: str) -> Any:
    import numpy as np

    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    if wanted.kind == "f" and wanted.itemsize < 8 and array.size:
        largest = np.finfo(wanted).max
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        if finite.size and np.abs(finite.astype(np.float64)).max() > largest:
            raise unfit(Flaw(path=at, message=f"a number is out of the range of {spec.datatype}"))
    elif wanted.kind in "iu" and array.size:
        limits = np.iinfo(wanted)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise unfit(Flaw(path=at, message=f"a number is out of the range of {spec.datatype}"))
    return array.astype(wanted)


def _by_hand(value: Any, spec: ArraySpec, kind: str, at: str) -> Any:
    """The slow way: every value looked at, so that what does not fit has its place."""
    import numpy as np

    shape: list[int] = []
    level = value
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flaws: list[Flaw] = []
    flat: list[Any] = []
    _walk(value, shape, kind, at, flat, flaws)
    if flaws:
        raise unfit(*flaws[:MAX_FLAWS])
    dtype = {"f": "float64", "b": "bool", "O": "object"}.get(kind, "int64")
    try:
        array = np.empty(len(flat), dtype=dtype)
        array[:] = flat
    except OverflowError:
        if kind == "u":
            try:
                return np.array(flat, dtype="uint64").reshape(shape)
            except OverflowError:
                pass  # beyond every whole number that a tensor has: told below
        raise unfit(Flaw(path=at, message=f"a number is out of the range of {spec.datatype}")) from None
    return array.reshape(shape)


def _walk(value: Any, shape: Sequence[int], kind: str, at: str, flat: list[Any], flaws: list[Flaw]) -> None:
    if len(flaws) >= MAX_FLAWS:
        return
    if shape:
        if not isinstance(value, list):
            flaws.append(Flaw(path=at, message=f"expected a list of {shape[0]}, got {name_of(value)}"))
        elif len(value) != shape[0]:
            flaws.append(Flaw(path=at, message=f"expected {shape[0]} values, got {len(value)}"))
        else:
            for index, item in enumerate(value):
                _walk(item, shape[1:], kind, f"{at}/{index}", flat, flaws)
        return
    made = _scalar(value, kind)
    if made is None:
        flaws.append(Flaw(path=at, message=f"expected {_WORDS[kind]}, got {name_of(value)}"))
    else:
        flat.append(made)


def _scalar(value: Any, kind: str) -> Any:
    """value as the kind wants it, or None."""
    if kind == "f":
        return float("nan") if value is None else value if isinstance(value, (int, float)) else None
    if kind == "b":
        return value if isinstance(value, bool) else None
    if kind == "O":
        return value if isinstance(value, (str, bytes)) else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_row(value: Any, spec: ArraySpec) -> bool:
    """True when value has one dimension less than the spec: one row where a batch is due."""
    if spec.shape is None:
        return False
    depth = 0
    while isinstance(value, list) and value:
        value, depth = value[0], depth + 1
    return depth == len(spec.shape) - 1 and not isinstance(value, Mapping)
