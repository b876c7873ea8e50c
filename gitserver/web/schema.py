"""JSON shapes: the same value checks a request and documents it in OpenAPI.  Pure.

Rules of this file
1. A request is refused, never repaired: unknown properties, wrong types and odd parameters are Problem('bad-request').
2. Only the words of JSON Schema that the API uses are known; another one is a mistake of ours and raises KeyError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gitserver.errors import Json, Problem

Schema = Mapping[str, Json]

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


def text(description: str = "", *, max_length: int = 4096, pattern: str | None = None) -> Schema:
    """A string; pattern must match the whole of it."""
    return _described(
        {"type": "string", "maxLength": max_length, **({"pattern": pattern} if pattern else {})}, description
    )


def choice(*values: str, description: str = "") -> Schema:
    """One of these strings."""
    return _described({"type": "string", "enum": list(values)}, description)


def whole(description: str = "", *, minimum: int = 0, maximum: int = 2**53) -> Schema:
    """An integer."""
    return _described({"type": "integer", "minimum": minimum, "maximum": maximum}, description)


def flag(description: str = "") -> Schema:
    """True or false; in a query `1` or `0`."""
    return _described({"type": "boolean"}, description)


def moment(description: str = "") -> Schema:
    """A point in time, RFC 3339, UTC."""
    return _described({"type": "string", "format": "date-time"}, description)


def array(items: Schema, description: str = "", *, max_items: int = 1000) -> Schema:
    """A list."""
    return _described({"type": "array", "items": dict(items), "maxItems": max_items}, description)


def mapping(values: Schema, description: str = "") -> Schema:
    """An object with free names."""
    return _described({"type": "object", "additionalProperties": dict(values)}, description)


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object with these properties and no others."""
    optional = optional or {}
    properties: dict[str, Json] = {name: dict(value) for name, value in {**required, **optional}.items()}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "nullable": True}


def matches(pattern: str, value: str) -> bool:
    """The pattern matches the whole value, in ASCII."""
    return re.fullmatch(pattern, value, re.ASCII) is not None


def check(value: Json, schema: Schema, where: str) -> None:
    """Raise Problem('bad-request', where, expected, found) at the first place where value does not fit."""
    if value is None and schema.get("nullable"):
        return
    kind = schema.get("type")
    if kind is None:  # any JSON
        return
    python_type = _TYPES[str(kind)]
    if not isinstance(value, python_type) or (isinstance(value, bool) and kind != "boolean"):
        raise _bad(where, f"{_article(str(kind))}", _kind_of(value))
    if isinstance(value, str):
        _check_text(value, schema, where)
    elif isinstance(value, dict):
        _check_object(value, schema, where)
    elif isinstance(value, list):
        _check_list(value, schema, where)
    elif isinstance(value, int) and not isinstance(value, bool):
        _check_number(value, schema, where)


def read_query(pairs: Mapping[str, list[str]], schemas: Mapping[str, Schema]) -> dict[str, Json]:
    """Query parameters as values; an unknown, doubled or unreadable one is Problem('bad-request')."""
    values: dict[str, Json] = {}
    for name, found in pairs.items():
        if name not in schemas:
            raise _bad(
                f"query {name[:60]}", f"one of: {', '.join(sorted(schemas)) or 'no parameter'}", "an unknown name"
            )
        if len(found) != 1:
            raise _bad(f"query {name}", "the parameter once", f"it {len(found)} times")
        value = _from_text(found[0], schemas[name], f"query {name}")
        check(value, schemas[name], f"query {name}")
        values[name] = value
    return values


def _from_text(found: str, schema: Schema, where: str) -> Json:
    match schema["type"]:
        case "integer":
            if not re.fullmatch(r"[0-9]{1,15}", found, re.ASCII):
                raise _bad(where, "a whole number", found)
            return int(found)
        case "boolean":
            if found not in {"0", "1", "true", "false"}:
                raise _bad(where, "1 or 0", found)
            return found in {"1", "true"}
        case _:
            return found


def _check_text(value: str, schema: Schema, where: str) -> None:
    longest, pattern, choices = schema.get("maxLength"), schema.get("pattern"), schema.get("enum")
    if isinstance(longest, int) and len(value) > longest:
        raise _bad(where, f"at most {longest} characters", f"{len(value)}")
    if isinstance(choices, list) and value not in choices:
        raise _bad(where, "one of " + ", ".join(map(str, choices)), value)
    if isinstance(pattern, str) and not matches(pattern, value):
        raise _bad(where, f"text like {pattern}", value)


def _check_object(value: dict[str, Json], schema: Schema, where: str) -> None:
    properties, required, others = (
        schema.get("properties", {}),
        schema.get("required", []),
        schema.get("additionalProperties"),
    )
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    for name in required:
        if name not in value:
            raise _bad(where, f"the property {name}", "it is absent")
    for name, item in value.items():
        inner = properties.get(name, others)
        if not isinstance(inner, dict):
            known = ", ".join(properties) or "none"
            raise _bad(where, f"no other properties than: {known}", name)
        check(item, inner, f"{where}.{name[:60]}")


def _check_list(value: list[Json], schema: Schema, where: str) -> None:
    items, longest = schema["items"], schema["maxItems"]
    assert isinstance(items, dict)
    assert isinstance(longest, int)
    if len(value) > longest:
        raise _bad(where, f"at most {longest} items", str(len(value)))
    for index, item in enumerate(value):
        check(item, items, f"{where}[{index}]")


def _check_number(value: int, schema: Schema, where: str) -> None:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if isinstance(lowest, int) and isinstance(highest, int) and not lowest <= value <= highest:
        raise _bad(where, f"a number from {lowest} to {highest}", str(value))


def _described(schema: dict[str, Json], description: str) -> Schema:
    return {**schema, "description": description} if description else schema


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _kind_of(value: Json) -> str:
    if value is None:
        return "null"
    return {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }[type(value)]


def _bad(where: str, expected: str, found: str) -> Problem:
    return Problem("bad-request", where=where, expected=expected, found=found[:120])
