"""Values to TOML text: the standard library reads TOML and cannot write it.  Pure.

Rules of this file
1. What tomllib reads back equals what was given (tests/unit/test_buildpacks_toml.py holds that for any value).
2. Same value, same bytes: keys come out in the order given; callers that need one sort it.
"""

from __future__ import annotations

from collections.abc import Mapping

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def render_toml(document: Mapping[str, object]) -> str:
    """A TOML document of strings, numbers, booleans, lists and tables.

    Raises  TypeError for anything else, None included: TOML has no null
    Source  TOML 1.0.0
    """
    lines: list[str] = []
    _table(lines, "", document)
    return "\n".join(lines) + "\n" if lines else ""


def _table(lines: list[str], path: str, table: Mapping[str, object]) -> None:
    # Plain values first: a key after a [header] would belong to that header.
    for key, value in table.items():
        if not _is_table(value) and not _is_table_list(value):
            lines.append(f"{_key(key)} = {_inline(value)}")
    for key, value in table.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]"] if lines else [f"[{name}]"]
            _table(lines, name, value)
        elif _is_table_list(value):
            assert isinstance(value, list)
            for item in value:
                lines += ["", f"[[{name}]]"] if lines else [f"[[{name}]]"]
                _table(lines, name, item)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_table_list(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if key and _BARE.issuperset(key) else _string(key)


def _string(text: str) -> str:
    out = []
    for char in text:
        code = ord(char)
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\u{code:04x}")
        else:
            out.append(char)
    return f'"{"".join(out)}"'


def _inline(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            return str(value)
        case float():
            return _float(value)
        case list() | tuple():
            return f"[{', '.join(_inline(item) for item in value)}]"
        case Mapping():
            return "{" + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + "}"
        case _:
            raise TypeError(f"no TOML form for {type(value).__name__}")


def _float(value: float) -> str:
    text = repr(value)
    if text in {"inf", "-inf", "nan"} or "." in text:
        return text
    # repr(1e16) is '1e+16': legal TOML only with digits after a point or an exponent, which it has
    return text if "e" in text else f"{text}.0"
