"""JSON of callers to values, and whatever a model returns to JSON.

1. NaN, Infinity and -Infinity are accepted everywhere: real clients send them. They leave as null, because bare NaN
   is no JSON (pytorch/serve#1304).
2. Numbers keep every digit: a float leaves as the shortest text that reads back as the same float.
3. numpy, pandas and pydantic are recognised without importing them: who returns such a value has imported it.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import os
import uuid
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from .floats import shortest_doubles
from .refusal import Refused

try:
    import orjson  # type: ignore[import-not-found, unused-ignore]  # used where it is installed
except ImportError:  # a luxury of the image, not a need
    orjson = None  # type: ignore[assignment, unused-ignore]  # the name must exist either way

MAX_DEPTH = 100


class NotJson(TypeError):  # noqa: N818 -- a condition, said in plain words
    """A value that has no JSON form."""


def parse_json(body: bytes) -> Any:
    """A request body to a value. Raises Refused(400) for bad UTF-8, bad JSON, and nesting beyond 100 levels."""
    if not body:
        raise Refused(400, "the body is empty; send JSON")
    if orjson is not None:
        try:
            return _depth_checked(body, orjson.loads(body))
        except orjson.JSONDecodeError:
            pass  # NaN tokens are legal here and not there: the slower reader decides
    try:
        return _depth_checked(body, json.loads(body.decode("utf-8")))
    except UnicodeDecodeError as exc:
        raise Refused(400, f"the body is not UTF-8: byte {exc.start} is wrong") from exc
    except json.JSONDecodeError as exc:
        raise Refused(400, f"the body is not JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}") from exc
    except RecursionError as exc:
        raise Refused(400, f"the body is nested deeper than {MAX_DEPTH} levels") from exc
    except ValueError as exc:  # a number with thousands of digits
        raise Refused(400, "the body holds a number that is too long") from exc


def _depth_checked(body: bytes, value: Any) -> Any:
    """value, unless its nesting could hurt a recursive walk later; few brackets cannot, and most bodies have few."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return value
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for item in level
            for part in (item if isinstance(item, list) else item.values() if isinstance(item, dict) else ())
            if isinstance(part, (list, dict))
        ]
        if not level:
            return value
    raise Refused(400, f"the body is nested deeper than {MAX_DEPTH} levels")


def render_json(value: Any) -> bytes:
    """A plain value (see plain) to UTF-8 JSON."""
    if orjson is not None:
        try:
            return bytes(orjson.dumps(value))
        except TypeError:  # integers beyond 64 bits
            pass
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair: only an escape can carry it
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def base64_text(value: bytes) -> Any:
    """Bytes inside JSON, as the native routes write them."""
    return base64.b64encode(value).decode("ascii")


def plain(value: Any, bytes_as: Callable[[bytes], Any] = base64_text, _depth: int = 0) -> Any:
    """Whatever a model returned, as dicts, lists, strings, numbers, booleans and None.

    arrays     nested lists, NaN and infinities None        frames   a list of records
    bytes      through bytes_as                             dates    ISO 8601
    Raises     NotJson naming the type, for anything without a form (a generator, an open file, a cycle)
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if _depth > MAX_DEPTH:
        raise NotJson(f"nested deeper than {MAX_DEPTH} levels")
    if kind is list or kind is tuple:
        return [plain(item, bytes_as, _depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): plain(item, bytes_as, _depth + 1) for key, item in value.items()}
    return _plain_of_other(value, bytes_as, _depth)


def _plain_of_other(value: Any, bytes_as: Callable[[bytes], Any], depth: int) -> Any:
    library = type(value).__module__.partition(".")[0]
    if library == "numpy":
        return _plain_of_numpy(value, bytes_as, depth)
    if library == "pandas":
        return _plain_of_pandas(value, bytes_as, depth)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes_as(bytes(value))
    for kinds, turn in _TURNS:
        if isinstance(value, kinds):
            return turn(value)
    for again in (fields_of, _items_of):
        parts = again(value)
        if parts is not None:
            return plain(parts, bytes_as, depth + 1)
    raise NotJson(f"a value of type {type(value).__module__}.{type(value).__qualname__} has no JSON form")


_TURNS: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((enum.Enum,), lambda value: plain(value.value)),
    ((bool,), bool),
    ((str,), str.__str__),
    ((int,), int),
    ((float,), lambda value: float(value) if math.isfinite(value) else None),
    ((dt.datetime, dt.date, dt.time), lambda value: value.isoformat()),
    ((dt.timedelta,), lambda value: value.total_seconds()),
    ((decimal.Decimal,), lambda value: float(value) if value.is_finite() else None),
    ((uuid.UUID,), str),
    ((os.PathLike,), lambda value: os.fsdecode(os.fspath(value))),
    ((complex,), lambda value: [value.real, value.imag]),
)


def fields_of(value: Any) -> dict[str, Any] | None:
    """Field name to value of a dataclass, a pydantic model or a named tuple; None for anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for maker in ("model_dump", "_asdict"):  # pydantic 2; named tuples
        method = getattr(value, maker, None)
        if callable(method):
            made = method()
            return made if isinstance(made, dict) else None
    return None


def _items_of(value: Any) -> list[Any] | None:
    if isinstance(value, (AbstractSet, list, tuple)):
        return list(value)
    to_list = getattr(value, "tolist", None)  # tensors of other libraries
    if callable(to_list):
        made = to_list()
        return made if isinstance(made, list) else [made]
    return None


def _plain_of_numpy(value: Any, bytes_as: Callable[[bytes], Any], depth: int) -> Any:
    kind = value.dtype.kind
    if kind in "biuU":
        return value.tolist()
    if kind == "f":
        import numpy as np

        exact = value if value.dtype.itemsize >= np.dtype("f8").itemsize else shortest_doubles(value)
        if bool(np.isfinite(exact).all()):
            return exact.tolist()
        return plain(exact.tolist(), bytes_as, depth + 1)
    if kind in "mM":
        return value.astype("U").tolist()
    return plain(value.tolist(), bytes_as, depth + 1)


def _plain_of_pandas(value: Any, bytes_as: Callable[[bytes], Any], depth: int) -> Any:
    import pandas as pd  # type: ignore[import-untyped, import-not-found, unused-ignore]  # where installed

    if isinstance(value, pd.DataFrame):
        return [plain(record, bytes_as, depth + 1) for record in value.to_dict(orient="records")]
    if isinstance(value, (pd.Series, pd.Index)):
        return plain(value.tolist(), bytes_as, depth + 1)
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, (pd.Timestamp, pd.Timedelta)):
        return value.isoformat()
    raise NotJson(f"a value of type {type(value).__module__}.{type(value).__qualname__} has no JSON form")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, enum.Enum):
        return _key(key.value)
    made = plain(key)
    if isinstance(made, (list, dict)):
        raise NotJson(f"a key of type {type(key).__qualname__} has no JSON form")
    return "null" if made is None else str(made).lower() if isinstance(made, bool) else str(made)
