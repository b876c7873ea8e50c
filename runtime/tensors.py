"""Tensors of Open Inference Protocol V2 in JSON, both ways.

Source  https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md
Rules   data is flat row-major or nested like the shape; half floats have no JSON form; numbers out of the datatype's
        range are refused, not wrapped; the product of a shape is compared before anything of that size is made.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .jsontext import plain, render_json
from .model import Tensor
from .refusal import Flaw, Refused
from .rows import name_of

NUMPY_NAMES: Mapping[str, str] = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
DATATYPES = {numpy_name: datatype for datatype, numpy_name in NUMPY_NAMES.items()}
FP32_MAX = 3.4028235677973366e38  # the first double that rounds to infinity


def decode_tensor(document: Any, at: str) -> Tensor:
    """One entry of `inputs` to a Tensor. at: its JSON pointer. Raises Refused(422) that names the wrong part."""
    if not isinstance(document, Mapping):
        raise _wrong(at, f"expected a tensor object, got {name_of(document)}")
    name, datatype, shape, data = (document.get(key) for key in ("name", "datatype", "shape", "data"))
    if not isinstance(name, str) or not name:
        raise _wrong(f"{at}/name", "expected a string")
    if datatype in ("FP16", "BF16"):
        raise _wrong(f"{at}/datatype", f"{datatype} has no JSON form; send FP32")
    if not isinstance(datatype, str) or datatype not in NUMPY_NAMES:
        raise _wrong(f"{at}/datatype", f"expected one of {', '.join(NUMPY_NAMES)}")
    if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
        raise _wrong(f"{at}/shape", "expected a list of whole numbers, none below 0")
    if not isinstance(data, list):
        raise _wrong(f"{at}/data", f"expected a list, got {name_of(data)}")
    flat = _flatten(data, shape, f"{at}/data")
    count = math.prod(shape)
    if len(flat) != count:
        raise _wrong(f"{at}/data", f"shape {shape} holds {count} values, got {len(flat)}")
    values = _checked(flat, datatype, f"{at}/data")
    return Tensor(name=name, datatype=datatype, shape=tuple(shape), value=_shaped(values, datatype, shape))


def encode_tensor(name: str, value: Any) -> dict[str, Any]:
    """A model's result as one entry of `outputs`: {name, shape, datatype, data}, data flat.

    value    an array, a list (nested evenly), or a scalar, which becomes shape [1]
    strings  BYTES; objects BYTES, each its JSON text
    """
    if type(value).__module__.partition(".")[0] == "numpy" and value.ndim and value.dtype.kind in "biuf":
        datatype = DATATYPES.get(str(value.dtype), "FP32" if value.dtype.itemsize < 4 else "FP64")
        return {"name": name, "shape": list(value.shape), "datatype": datatype, "data": plain(value.reshape(-1))}
    made = plain(value)
    flat, shape = _unfold(made if isinstance(made, list) else [made])
    datatype, data = _datatype_of(flat)
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def _wrong(at: str, message: str) -> Refused:
    return Refused(422, "the tensor is not valid", flaws=[Flaw(path=at, message=message)])


def _flatten(data: list[Any], shape: Sequence[int], at: str) -> list[Any]:
    if not data or not isinstance(data[0], list):
        return data
    level: list[Any] = [data]
    for size in shape:
        if any(not isinstance(item, list) or len(item) != size for item in level):
            raise _wrong(at, f"nested lists do not have the shape {list(shape)}")
        level = list(itertools.chain.from_iterable(level))
    return level


def _checked(flat: list[Any], datatype: str, at: str) -> list[Any]:
    kinds = set(map(type, flat))
    if datatype == "BYTES":
        _only(kinds, {str}, "strings", at)
    elif datatype == "BOOL":
        _only(kinds, {bool}, "true or false", at)
    elif datatype.startswith("FP"):
        if type(None) in kinds:
            flat = [math.nan if item is None else item for item in flat]
            kinds = set(map(type, flat))
        _only(kinds, {int, float}, "numbers", at)
        if datatype == "FP32" and any(math.isfinite(item) and abs(item) >= FP32_MAX for item in flat):
            raise _wrong(at, "a number is out of the range of FP32")
    else:
        _only(kinds, {int}, "whole numbers", at)
        bits = int(datatype.lstrip("UINT"))
        low, high = (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if flat and not (low <= min(flat) and max(flat) <= high):
            raise _wrong(at, f"a number is out of the range of {datatype}")
    return flat


def _only(found: set[type], allowed: set[type], words: str, at: str) -> None:
    if not found <= allowed:
        raise _wrong(at, f"expected {words}")


def _shaped(values: list[Any], datatype: str, shape: Sequence[int]) -> Any:
    try:
        import numpy as np
    except ImportError:
        return _fold(values, shape)
    return np.array(values, dtype=NUMPY_NAMES[datatype]).reshape(tuple(shape))


def _fold(values: list[Any], shape: Sequence[int]) -> Any:
    for size in reversed(shape[1:]):
        values = [values[start : start + size] for start in range(0, len(values), size)] if size else []
    return values


def _unfold(value: list[Any]) -> tuple[list[Any], list[int]]:
    """Evenly nested lists to flat values and their shape; unevenly nested ones stay objects of one dimension."""
    shape = [len(value)]
    while value and all(isinstance(item, list) and len(item) == len(value[0]) for item in value):
        shape.append(len(value[0]))
        value = list(itertools.chain.from_iterable(value))
    return value, shape


def _datatype_of(flat: list[Any]) -> tuple[str, list[Any]]:
    kinds = set(map(type, flat))
    if kinds <= {bool} and kinds:
        return "BOOL", flat
    if kinds <= {int} and kinds and min(flat) >= -(2**63) and max(flat) < 2**63:
        return "INT64", flat
    if kinds <= {int, float, type(None)}:
        return "FP64", flat
    return "BYTES", [item if isinstance(item, str) else render_json(item).decode() for item in flat]
