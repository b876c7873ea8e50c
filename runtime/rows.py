"""Rows of JSON to what scikit-learn takes: an array (n, d), a frame with the names of its features, or a list of texts.

1. A string never turns an array of numbers into strings (SeldonIO/seldon-core#745), and "1.5" is a string.
2. null is NaN (mlflow/mlflow#5207). Integers and floats arrive as float64, as they were sent.
3. What does not fit is said with its place: row and column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .refusal import Flaw, pointer, unfit

MAX_FLAWS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpec:
    """What one row of a model looks like.

    feature_count  d; None when the model does not know (it takes texts, or anything)
    feature_names  d names, or empty
    as_frame       it selects columns by name: rows become a pandas frame
    takes_texts    False: its features are numbers, and a string among them is refused with its place
    """

    feature_count: int | None
    feature_names: tuple[str, ...]
    as_frame: bool
    takes_texts: bool = True


def rows_from_json(instances: Sequence[Any], spec: RowSpec, at: str) -> Any:
    """n instances to model input.

    instances  lists of d scalars, or objects by feature name, or (feature_count None) anything
    returns    float64 (n, d); object (n, d) when strings are among the values; a frame; or the list itself
    Raises     Refused(422) with at most 10 flaws below the JSON pointer `at`
    """
    if not instances:
        raise unfit(Flaw(path=at, message="expected at least one row, got none"))
    if isinstance(instances[0], Mapping):
        instances = [_row_from_object(row, spec, f"{at}/{index}") for index, row in enumerate(instances)]
    if spec.feature_count is None and not isinstance(instances[0], list):
        return list(instances)
    array = _array(instances, spec, at)
    if not spec.as_frame:
        return array
    import pandas as pd  # type: ignore[import-untyped, import-not-found, unused-ignore]  # where installed

    frame = pd.DataFrame(array, columns=list(spec.feature_names) or None)
    return frame.infer_objects() if array.dtype == object else frame


def is_one_row(value: Sequence[Any], spec: RowSpec) -> bool:
    """True for a bare list that is one row of scalars, not a list of rows."""
    if spec.feature_count is None or not value:
        return False
    return not any(isinstance(item, (list, Mapping)) for item in value)


def columns_to_rows(columns: Mapping[str, Any], spec: RowSpec, at: str) -> list[list[Any]]:
    """Columns by feature name, each n values or n lists of one, to n rows in the model's order."""
    _check_names(columns.keys(), spec, at)
    flat: dict[str, list[Any]] = {}
    for name in spec.feature_names:
        column = columns[name]
        if not isinstance(column, list):
            raise unfit(Flaw(path=at + pointer(name), message=f"expected a list, got {name_of(column)}"))
        flat[name] = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in column]
    lengths = {len(column) for column in flat.values()}
    if len(lengths) != 1:
        found = ", ".join(f"{name} {len(column)}" for name, column in flat.items())
        raise unfit(Flaw(path=at, message=f"expected columns of one length, got {found}"))
    return [list(row) for row in zip(*flat.values(), strict=True)]


def _array(rows: Sequence[Any], spec: RowSpec, at: str) -> Any:
    import numpy as np

    try:
        array = np.array(rows)
    except ValueError:  # ragged
        array = None
    if array is not None and array.ndim == 2 and array.dtype.kind in "fiub":
        if spec.feature_count in (None, array.shape[1]):
            return array.astype(np.float64, copy=False)
    elif array is not None and array.ndim == 1 and spec.feature_count == 1 and array.dtype.kind in "fiub":
        return array.astype(np.float64).reshape(-1, 1)
    _refuse_misshapen(rows, spec, at)
    return _mixed_array(rows)


def _mixed_array(rows: Sequence[Any]) -> Any:
    """Rows of equal length that hold nulls or strings: numbers with NaN, or objects with None left in place."""
    import numpy as np

    listed = [row if isinstance(row, list) else [row] for row in rows]
    if not any(isinstance(cell, str) for row in listed for cell in row):
        return np.array(listed, dtype=np.float64)
    array = np.empty((len(listed), len(listed[0])), dtype=object)
    for index, row in enumerate(listed):
        array[index, :] = row
    return array


def _refuse_misshapen(rows: Sequence[Any], spec: RowSpec, at: str) -> None:
    first = rows[0]
    width = spec.feature_count or (len(first) if isinstance(first, list) else 1)
    refused, wanted = (
        ((list, Mapping), "a number or a string") if spec.takes_texts else ((list, Mapping, str), "a number")
    )
    flaws = []
    for index, row in enumerate(rows):
        if not isinstance(row, list):
            if width != 1 or isinstance(row, Mapping):
                flaws.append(Flaw(path=f"{at}/{index}", message=f"expected a list of {width}, got {name_of(row)}"))
        elif len(row) != width:
            flaws.append(Flaw(path=f"{at}/{index}", message=f"expected {width} values, got {len(row)}"))
        else:
            flaws += [
                Flaw(path=f"{at}/{index}/{column}", message=f"expected {wanted}, got {name_of(cell)}")
                for column, cell in enumerate(row)
                if isinstance(cell, refused)
            ]
        if len(flaws) >= MAX_FLAWS:
            break
    if flaws:
        raise unfit(*flaws[:MAX_FLAWS])


def _row_from_object(row: Any, spec: RowSpec, at: str) -> list[Any]:
    if not isinstance(row, Mapping):
        raise unfit(Flaw(path=at, message=f"expected an object like the first row, got {name_of(row)}"))
    if not spec.feature_names:
        wanted = "a list of values" if spec.feature_count is None else f"a list of {spec.feature_count} values"
        raise unfit(Flaw(path=at, message=f"this model does not know the names of its features; expected {wanted}"))
    _check_names(row.keys(), spec, at)
    return [row[name] for name in spec.feature_names]


def _check_names(found: Any, spec: RowSpec, at: str) -> None:
    flaws = [
        Flaw(path=at + pointer(name), message="this feature is missing")
        for name in spec.feature_names
        if name not in found
    ]
    known = ", ".join(spec.feature_names)
    flaws += [
        Flaw(path=at + pointer(name), message=f"unknown feature; this model has: {known}")
        for name in found
        if name not in spec.feature_names
    ]
    if flaws:
        raise unfit(*flaws[:MAX_FLAWS])


def name_of(value: Any) -> str:
    """A JSON value's kind, with its article, for sentences."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    return f"a value of type {type(value).__name__}"
