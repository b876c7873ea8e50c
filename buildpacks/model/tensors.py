"""Names, types and shapes of what a model takes and gives, as its file tells them.  Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MAX_TENSORS = 64  # of one side; a model of more tells the first
MAX_NAME = 100
MAX_RANK = 16
MAX_TEXT_BYTES = 8000  # a plan, a label and a document carry it


class Tensor(NamedTuple):
    """One input or output. shape None: unknown rank; a dimension None: any size. dtype '' when the file is silent."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


def render_tensors(tensors: Sequence[Tensor]) -> str:
    """JSON for ModelFile.detail: `[{"dtype": "float32", "name": "x", "shape": [null, 4]}]`; '' when there are none."""
    shown = [
        {
            "name": tensor.name[:MAX_NAME],
            "dtype": tensor.dtype[:40],
            "shape": None if tensor.shape is None else list(tensor.shape[:MAX_RANK]),
        }
        for tensor in tensors[:MAX_TENSORS]
    ]
    while shown:
        text = json.dumps(shown, sort_keys=True)
        if len(text) <= MAX_TEXT_BYTES:
            return text
        shown.pop()
    return ""


def parse_tensors(text: str) -> list[Tensor]:
    """What render_tensors wrote; empty for anything else."""
    try:
        items = json.loads(text) if text else []
        return [
            Tensor(str(i["name"]), str(i["dtype"]), None if i["shape"] is None else make_shape(i["shape"]))
            for i in items
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def make_shape(sizes: Iterable[object]) -> tuple[int | None, ...]:
    """Dimensions out of a file: what is no plain positive number is a dimension of any size."""
    return tuple(
        size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 1 << 40 else None for size in sizes
    )[:MAX_RANK]


def describe_tensors(tensors: Sequence[Tensor]) -> str:
    """`x float32 (n, 4), mask int64 (n)`: what a person reads. '' for none."""
    shown = []
    for tensor in tensors[:4]:
        sizes = "" if tensor.shape is None else f"({', '.join('n' if s is None else str(s) for s in tensor.shape)})"
        shown.append(" ".join(filter(None, [tensor.name, tensor.dtype, sizes])))
    more = len(tensors) - len(shown)
    return ", ".join(filter(None, shown)) + (f" and {more} more" if more > 0 else "")
