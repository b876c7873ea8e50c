"""How many arguments a user's function takes: contracts pass what it has room for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def accepts(function: Callable[..., Any], count: int) -> bool:
    """Whether function can be called with that many positional arguments; a builtin that hides its own takes any."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def call_with_room(function: Callable[..., Any], *arguments: Any, extra: Any) -> Any:
    """function(*arguments, extra) where it has room for extra, else function(*arguments).

    Why  by arity and not by name: toolkits call their trailing argument `context`, and users call it anything
    """
    if accepts(function, len(arguments) + 1):
        return function(*arguments, extra)
    return function(*arguments)
