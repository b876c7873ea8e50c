"""Environment markers of locked packages, judged for the place that a layer is made for.  Pure.

Source  PyPA "Dependency specifiers" (PEP 508), section Environment Markers
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from buildpacks.packs.algo_python.interpreter import Interpreter
from buildpacks.packs.cnb import PackFailed

_TOKEN = re.compile(r"\s*(\(|\)|===|==|~=|!=|<=|>=|<|>|not\s+in\b|in\b|and\b|or\b|'[^']*'|\"[^\"]*\"|[A-Za-z_.]+)")
_VERSIONS = frozenset({"python_version", "python_full_version", "implementation_version"})
_NUMBER = re.compile(r"\d+")
_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "===": operator.eq, "!=": operator.ne, ">=": operator.ge, "<=": operator.le, ">": operator.gt,
    "<": operator.lt,
}  # fmt: skip


def marker_env(python: Interpreter, env: Mapping[str, str], machine: str) -> dict[str, str]:
    """The variables of the layer's place: Linux, CPython, this Python. machine as uname(2) calls it."""
    platform = env.get("ALGO_PLATFORM", "")
    return {
        "os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "extra": "",
        "platform_machine": platform.partition("-")[0] or machine, "platform_release": "", "platform_version": "",
        "platform_python_implementation": "CPython", "implementation_name": "cpython",
        "implementation_version": python.full, "python_version": python.minor, "python_full_version": python.full,
    }  # fmt: skip


def holds(marker: str, variables: Mapping[str, str]) -> bool:
    """Whether a marker is true there; an empty one always is.

    Raises  PackFailed('marker-bad') with the marker
    """
    tokens = []
    position = 0
    while marker[position:].strip():
        match = _TOKEN.match(marker, position)
        if match is None:
            raise PackFailed("marker-bad", marker=marker[:200])
        tokens.append(" ".join(match[1].split()))
        position = match.end()
    if not tokens:
        return True
    try:
        value, rest = _either(tokens, variables)
    except (IndexError, KeyError) as error:
        raise PackFailed("marker-bad", marker=marker[:200]) from error
    if rest:
        raise PackFailed("marker-bad", marker=marker[:200])
    return value


def _either(tokens: list[str], variables: Mapping[str, str]) -> tuple[bool, list[str]]:
    value, tokens = _both(tokens, variables)
    while tokens[:1] == ["or"]:
        other, tokens = _both(tokens[1:], variables)
        value = value or other
    return value, tokens


def _both(tokens: list[str], variables: Mapping[str, str]) -> tuple[bool, list[str]]:
    value, tokens = _one(tokens, variables)
    while tokens[:1] == ["and"]:
        other, tokens = _one(tokens[1:], variables)
        value = value and other
    return value, tokens


def _one(tokens: list[str], variables: Mapping[str, str]) -> tuple[bool, list[str]]:
    if tokens[0] == "(":
        value, rest = _either(tokens[1:], variables)
        if rest[0] != ")":
            raise KeyError(rest[0])
        return value, rest[1:]
    left, sign, right = tokens[0], tokens[1], tokens[2]
    are_versions = left in _VERSIONS or right in _VERSIONS
    return _compare(_value(left, variables), sign, _value(right, variables), are_versions=are_versions), tokens[3:]


def _value(token: str, variables: Mapping[str, str]) -> str:
    return token[1:-1] if token[0] in "'\"" else variables[token.replace("os.name", "os_name").replace(".", "_")]


def _compare(left: str, sign: str, right: str, *, are_versions: bool) -> bool:
    if sign in {"in", "not in"}:
        return (left in right) is (sign == "in")
    if are_versions and right.endswith(".*"):
        return f"{left}.".startswith(right[:-1]) is (sign == "==")
    if sign == "~=":
        return _numbers(left) >= _numbers(right) and f"{left}.".startswith(f"{right.rpartition('.')[0]}.")
    if are_versions:
        return _SIGNS[sign](_numbers(left), _numbers(right))
    return _SIGNS[sign](left, right)


def _numbers(version: str) -> tuple[int, ...]:
    return (*map(int, _NUMBER.findall(version)), 0, 0, 0)[:4]
