"""Cog: a class with setup() and predict() or run(), or a function, whose arguments say what callers may send.

Source  cog 0.23.1 (the public interface). Works with the real package where the app installs it, else with our names.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ..failure import BootFailed
from ..hints import Unfit
from ..refusal import unfit
from ..user_model import Signature, UserModel, run_coroutine
from .arity import accepts
from .cog_files import InputFiles, with_files_inlined

# (what was sent, JSON pointer to it, the call's files) to what the code gets
Turn = Callable[[Any, str, InputFiles], Any]
METHODS = ("run", "predict")
# cog's own types by name, so that it does not matter whether they are the package's or ours.
_PATHS, _FILES, _SECRETS = {"Path", "URLPath", "PosixPath"}, {"File", "URLFile", "IOBase"}, {"Secret"}
# pydantic's and dataclasses' ways to say "no default"; older versions of the package pass them on.
_NO_DEFAULTS = {"_Required", "PydanticUndefinedType", "UndefinedType", "_MISSING_TYPE", "ellipsis"}


def install() -> None:
    """Make `import cog` work, unless the app has one: installed, or a file of its own."""
    if "cog" in sys.modules or importlib.util.find_spec("cog") is not None:
        return
    from . import cog_stub

    sys.modules["cog"] = cog_stub


def make_model(entry: Any, file: str, app_dir: Path) -> UserModel:
    """The entry of cog.yaml as a model; a class is made and set up. Raises BootFailed, and what the user's code does.

    BootFailed  entry-missing: the class has neither run nor predict; contract-mixed: it has both
    """
    name = getattr(entry, "__name__", "predict")
    function = _bound(entry, file, name, app_dir) if inspect.isclass(entry) else entry
    predictor = _read_predictor(function, getattr(function, "__name__", name))
    return UserModel(function=predictor.call, signature=predictor.signature, title=f"{name} of {file}, Cog")


def _bound(entry: Any, file: str, name: str, app_dir: Path) -> Callable[..., Any]:
    methods = [method for method in METHODS if callable(getattr(entry, method, None))]
    if len(methods) > 1:
        raise BootFailed("contract-mixed", file=file, first=f"{name}.{methods[0]}", second=f"{name}.{methods[1]}")
    if not methods:
        raise BootFailed("entry-missing", file=file, name=f"{name}.predict", found=sorted(vars(entry))[:20])
    instance = entry()
    setup = getattr(instance, "setup", None)
    if callable(setup):
        weights = app_dir / "weights"
        outcome = setup(weights if weights.exists() else None) if _wants_weights(setup) else setup()
        if inspect.isawaitable(outcome):
            asyncio.run(_awaited(outcome))
    function: Callable[..., Any] = getattr(instance, methods[0])
    return function


def _wants_weights(setup: Callable[..., Any]) -> bool:
    return accepts(setup, 1) and "weights" in inspect.signature(setup).parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class _Predictor:
    """A predictor's function with its rules.

    signature  what callers may send
    defaults   what the code gets where they send nothing
    turns      arguments that callers send as text and the code gets as a file, a path or a secret
    """

    function: Callable[..., Any]
    signature: Signature
    defaults: Mapping[str, Any]
    turns: Mapping[str, Turn]

    def call(self, *placed: Any, **named: Any) -> Any:
        """The function with files fetched; files in its result become data URLs. Raises Refused, and the user's."""
        if placed and self.signature.sole is not None:
            named = {self.signature.sole: placed[0], **named}
        files = InputFiles()
        result: Any = None
        try:
            sent = {name: self._turned(name, value, files) for name, value in named.items()}
            result = self.function(**{**self.defaults, **sent})
            if inspect.isawaitable(result):
                result = run_coroutine(_awaited(result))
            if inspect.isasyncgen(result):
                return _inlined_async(result, files)
            if inspect.isgenerator(result):
                return _inlined(result, files)
            return with_files_inlined(result)
        except Unfit as exc:
            raise unfit(*exc.flaws) from exc
        finally:
            if not (inspect.isasyncgen(result) or inspect.isgenerator(result)):
                files.remove()

    def _turned(self, name: str, value: Any, files: InputFiles) -> Any:
        return self.turns[name](value, f"/{name}", files) if name in self.turns else value


async def _awaited(outcome: Any) -> Any:
    return await outcome


def _read_predictor(function: Callable[..., Any], name: str) -> _Predictor:
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 -- hints that cannot be resolved are no rules; the function still works
        hints = {}
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    required: list[str] = []
    defaults: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    turns: dict[str, Turn] = {}
    for parameter in parameters:
        rule = parameter.default if _is_rule(parameter.default) else None
        default = rule.default if rule is not None else parameter.default
        if default is parameter.empty or type(default).__name__ in _NO_DEFAULTS:
            required.append(parameter.name)
        else:
            defaults[parameter.name] = default
        turn, hint = _turn_of(hints.get(parameter.name, Any))
        if turn is not None:
            turns[parameter.name] = turn
        kept[parameter.name] = hint if rule is None else Annotated[hint, rule]
    signature = Signature(
        name=name,
        names=tuple(parameter.name for parameter in parameters),
        required=frozenset(required),
        hints=kept,
        sole=parameters[0].name if parameters and set(required) <= {parameters[0].name} else None,
        takes_any=False,
    )
    return _Predictor(function=function, signature=signature, defaults=defaults, turns=turns)


def _is_rule(default: Any) -> bool:
    return all(hasattr(default, name) for name in ("default", "description", "ge", "le"))


def _turn_of(hint: Any) -> tuple[Turn | None, Any]:
    """How what a caller sends becomes what the code gets, and the hint of what he sends."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) and type(None) in arguments:
        inner = [argument for argument in arguments if argument is not type(None)]
        turn, sent = _turn_of(inner[0]) if len(inner) == 1 else (None, hint)
        return (None, hint) if turn is None else (_unless_none(turn), sent | None)
    if origin is list and arguments:
        turn, sent = _turn_of(arguments[0])
        return (None, hint) if turn is None else (_for_each(turn), list[sent])  # type: ignore[valid-type]  # made at run time
    name = getattr(hint, "__name__", "")
    if getattr(hint, "__module__", "").partition(".")[0] not in ("cog", "pathlib", "io", __name__.partition(".")[0]):
        return None, hint
    if name in _PATHS:
        return lambda url, at, files: hint(files.save(url, at)), str
    if name in _FILES:
        return lambda url, at, files: files.save(url, at).open("rb"), str
    if name in _SECRETS:
        return lambda text, _at, _files: hint(text), str
    return None, hint


def _unless_none(turn: Turn) -> Turn:
    return lambda value, at, files: None if value is None else turn(value, at, files)


def _for_each(turn: Turn) -> Turn:
    return lambda values, at, files: [turn(value, f"{at}/{index}", files) for index, value in enumerate(values)]


def _inlined(parts: Iterator[Any], files: InputFiles) -> Iterator[Any]:
    try:
        for part in parts:
            yield with_files_inlined(part)
    finally:
        files.remove()


async def _inlined_async(parts: AsyncIterator[Any], files: InputFiles) -> AsyncIterator[Any]:
    try:
        async for part in parts:
            yield with_files_inlined(part)
    finally:
        files.remove()
