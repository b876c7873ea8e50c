"""Type hints of a user's function as rules for what callers send: cast what fits, say where it does not."""

from __future__ import annotations

import base64
import dataclasses
import operator
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .refusal import Flaw, pointer
from .rows import name_of

SCALARS = (int, float, str, bool, bytes)
_BOUNDS = (
    ("ge", operator.ge, "at least"),
    ("gt", operator.gt, "more than"),
    ("le", operator.le, "at most"),
    ("lt", operator.lt, "less than"),
)
_LENGTHS = (("min_length", operator.ge, "at least"), ("max_length", operator.le, "at most"))
# cog matches its regex from the start; pydantic and JSON Schema look for their pattern anywhere.
_PATTERNS: tuple[tuple[str, Callable[[str, str], Any]], ...] = (("regex", re.match), ("pattern", re.search))
_WORDS = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", bytes: "base64 text"}


class Unfit(Exception):  # noqa: N818 -- gathered into one 422
    """A value does not fit its hint. flaws: where and how."""

    def __init__(self, *flaws: Flaw) -> None:
        self.flaws = flaws
        super().__init__(str(flaws))


def cast(value: Any, hint: Any, at: str) -> Any:
    """value as the hint wants it; hints that say nothing about JSON let it pass as it is.

    at      JSON pointer of the value
    Raises  Unfit for a value of another kind; a whole number is a float, a boolean is no number
    """
    if hint in SCALARS:
        return _cast_scalar(value, hint, at)
    if hint is None or hint is type(None):
        return _expect(value is None, value, "null", at)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        made = cast(value, arguments[0], at)
        for rule in arguments[1:]:
            _check_rule(made, rule, at)
        return made
    if origin is typing.Literal:
        return _expect(value in arguments, value, "one of " + ", ".join(map(repr, arguments)), at)
    if origin in (typing.Union, types.UnionType):
        return _cast_union(value, arguments, at)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _cast_dataclass(value, hint, at)
    return _cast_container(value, origin or hint, arguments, at)


def bare(hint: Any) -> Any:
    """The hint without what Annotated adds to it."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


def takes_mapping(hint: Any) -> bool:
    """True for hints that want a whole JSON object: dict, Mapping, TypedDict, a dataclass, a pydantic model."""
    hint = bare(hint)
    plain_hint = typing.get_origin(hint) or hint
    if not isinstance(plain_hint, type):
        return False
    return (
        issubclass(plain_hint, Mapping)
        or dataclasses.is_dataclass(plain_hint)
        or hasattr(plain_hint, "model_validate")
        or typing.is_typeddict(plain_hint)
    )


def _expect(fits: bool, value: Any, words: str, at: str) -> Any:
    if not fits:
        raise Unfit(Flaw(path=at, message=f"expected {words}, got {name_of(value)}"))
    return value


def _check_rule(value: Any, rule: Any, at: str) -> None:
    """Bounds in Annotated: cog's Input, pydantic's Field, annotated_types; known by attribute, so none is imported."""
    if value is None:
        return
    for part in getattr(rule, "metadata", None) or ():  # pydantic keeps its bounds one by one in there
        _check_rule(value, part, at)
    is_number = isinstance(value, (int, float))
    for name, holds, words in _BOUNDS:
        bound = getattr(rule, name, None)
        if is_number and isinstance(bound, (int, float)) and not holds(value, bound):
            raise Unfit(Flaw(path=at, message=f"expected {words} {bound}, got {value}"))
    for name, holds, words in _LENGTHS:
        bound = getattr(rule, name, None)
        if isinstance(bound, int) and isinstance(value, (str, list, bytes)) and not holds(len(value), bound):
            raise Unfit(Flaw(path=at, message=f"expected {words} {bound} characters or items, got {len(value)}"))
    for name, finds in _PATTERNS:
        pattern = getattr(rule, name, None)
        if isinstance(pattern, str) and isinstance(value, str) and not finds(pattern, value):
            raise Unfit(Flaw(path=at, message=f"expected text that matches {pattern}"))
    choices = getattr(rule, "choices", None)
    if isinstance(choices, (list, tuple)) and value not in choices:
        raise Unfit(Flaw(path=at, message="expected one of " + ", ".join(map(repr, choices))))


def _cast_scalar(value: Any, hint: type, at: str) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if hint is int and type(value) is float and value.is_integer():
        return int(value)
    if hint is bytes and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:  # binascii.Error is one; letters beyond ASCII raise the plain one
            raise Unfit(Flaw(path=at, message="expected base64 text")) from None
    return _expect(type(value) is hint, value, _WORDS[hint], at)


def _cast_union(value: Any, options: Sequence[Any], at: str) -> Any:
    if value is None and type(None) in options:
        return None
    failures = []
    for option in options:
        try:
            return cast(value, option, at)
        except Unfit as exc:
            failures.append(exc)
    # The option that got furthest into the value says most.
    raise max(failures, key=lambda failure: len(failure.flaws[0].path))


def _cast_dataclass(value: Any, hint: Any, at: str) -> Any:
    _expect(isinstance(value, Mapping), value, f"an object ({hint.__name__})", at)
    try:
        hints = typing.get_type_hints(hint)
    except Exception:  # noqa: BLE001 -- a hint that names what is not there says nothing
        hints = {}
    made: dict[str, Any] = {}
    flaws: list[Flaw] = []
    for field in dataclasses.fields(hint):
        if field.name in value:
            try:
                made[field.name] = cast(value[field.name], hints.get(field.name, Any), at + pointer(field.name))
            except Unfit as exc:
                flaws += exc.flaws
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            flaws.append(Flaw(path=at + pointer(field.name), message="this field is missing"))
    flaws += [Flaw(path=at + pointer(key), message="unknown field") for key in value if key not in _names(hint)]
    if flaws:
        raise Unfit(*flaws)
    return hint(**made)


def _names(hint: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(hint)}


def _cast_container(value: Any, hint: Any, arguments: Sequence[Any], at: str) -> Any:
    if hint in (list, Sequence, tuple, set):
        _expect(isinstance(value, list), value, "a list", at)
        inner = arguments[0] if arguments and (len(arguments) == 1 or arguments[-1] is Ellipsis) else Any
        items = value if inner is Any else _cast_items(value, inner, at)
        return items if hint in (list, Sequence) else hint(items)
    if isinstance(hint, type) and issubclass(hint, Mapping):
        _expect(isinstance(value, Mapping), value, "an object", at)
        if len(arguments) == 2 and arguments[1] is not Any:
            return {key: cast(item, arguments[1], at + pointer(key)) for key, item in value.items()}
        return value
    return _cast_foreign(value, hint, at)


def _cast_items(value: list[Any], inner: Any, at: str) -> list[Any]:
    if inner is float and set(map(type, value)) <= {float}:
        return value
    return [cast(item, inner, f"{at}/{index}") for index, item in enumerate(value)]


def _cast_foreign(value: Any, hint: Any, at: str) -> Any:
    """numpy.ndarray, pandas.DataFrame, pydantic models: known by name, so that none is imported here."""
    name = f"{getattr(hint, '__module__', '')}.{getattr(hint, '__qualname__', '')}"
    try:
        if name == "numpy.ndarray" and isinstance(value, list):
            import numpy as np

            return np.asarray(value)
        if name.startswith("pandas.") and name.endswith(".DataFrame"):
            return hint(value if isinstance(value, (list, dict)) else [value])
        if hasattr(hint, "model_validate"):
            return hint.model_validate(value)
    except (ValueError, TypeError) as exc:
        raise Unfit(Flaw(path=at, message=str(exc).partition("\n")[0][:200])) from exc
    return value
