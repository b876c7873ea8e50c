"""A user's function as a model: arguments from a body, from rows, from tensors.

1. A JSON object is keyword arguments; anything else is the one argument. A single parameter whose hint is a mapping
   (dict, a dataclass, ...) takes the whole object unless the object names it.
2. Batch contracts give a function all rows at once; a function whose hints are scalars is asked once per row.
3. A coroutine is awaited on one loop per process, so that what it keeps (a session, a pool) stays on its loop.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .hints import SCALARS, Unfit, bare, cast, takes_mapping
from .model import Tensor, TensorSpec
from .refusal import Flaw, pointer, unfit
from .rows import name_of

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_PLACED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


_DATATYPES = {int: "INT64", float: "FP64", bool: "BOOL", str: "BYTES", bytes: "BYTES"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a function takes. hints: only those that resolve. takes_any: it has **kwargs."""

    name: str
    names: tuple[str, ...]
    required: frozenset[str]
    hints: Mapping[str, Any]
    sole: str | None
    takes_any: bool

    @property
    def is_scalar(self) -> bool:
        """True when every parameter's hint is a scalar: such a function wants one row at a time."""
        return bool(self.names) and all(bare(self.hints.get(name)) in SCALARS for name in self.names)


def make_signature(function: Callable[..., Any], name: str) -> Signature:
    """Read parameters and hints once. A function that hides them (a builtin) takes one argument."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return Signature(name=name, names=(), required=frozenset(), hints={}, sole="value", takes_any=False)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 -- hints that cannot be resolved are no rules; the function still works
        hints = {}
    required = [p.name for p in parameters if p.default is p.empty and p.kind in (*_NAMED, *_PLACED)]
    placed = [p.name for p in parameters if p.kind in _PLACED or p.kind is inspect.Parameter.VAR_POSITIONAL]
    return Signature(
        name=name,
        names=tuple(p.name for p in parameters if p.kind in _NAMED),
        required=frozenset(required),
        hints={key: hint for key, hint in hints.items() if key != "return"},
        sole=placed[0] if placed and set(required) <= {placed[0]} else None,
        takes_any=any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserModel:
    """function behind signature. whole: it always takes the body as its one argument (Algorithmia's apply)."""

    function: Callable[..., Any]
    signature: Signature
    title: str
    whole: bool = False
    platform: str = "python"
    outputs: tuple[TensorSpec, ...] = ()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """One per parameter, with the datatype of its hint where it has one."""
        hints = self.signature.hints
        return tuple(
            TensorSpec(name=name, datatype=_DATATYPES[bare(hints[name])], shape=(-1,))
            for name in self.signature.names
            if bare(hints.get(name)) in SCALARS
        )

    def native(self, value: Any) -> Any:
        """The result itself."""
        if not self.whole and isinstance(value, Mapping) and not self._takes_whole(value):
            return self._call_named(value, "")
        return self._call_sole(value, "")

    def rows(self, instances: Sequence[Any], signature: str) -> Any:  # noqa: ARG002 -- one function, one signature
        """All rows in one call, or one call per row for scalar hints and for objects that are keyword arguments."""
        if not self.whole and self._are_rows_of_arguments(instances):
            return [settled(self._call_named(row, f"/instances/{index}")) for index, row in enumerate(instances)]
        if not self.whole and self.signature.is_scalar and self.signature.sole:
            return [settled(self._call_sole(row, f"/instances/{index}")) for index, row in enumerate(instances)]
        return self._call_sole(list(instances), "/instances")

    def columns(self, inputs: Any, signature: str) -> Any:  # noqa: ARG002 -- one function, one signature
        """Named tensors are keyword arguments, anything else the one argument."""
        if not self.whole and isinstance(inputs, Mapping) and not self._takes_whole(inputs):
            return self._call_named(inputs, "/inputs")
        return self._call_sole(inputs, "/inputs")

    def tensors(self, inputs: Sequence[Tensor], wanted: Sequence[str]) -> Mapping[str, Any]:
        """Tensors by parameter name, or the only tensor as the one argument; scalar hints are asked row by row."""
        named = {tensor.name: tensor.value for tensor in inputs}
        if not self.whole and self._binds(named):
            result = self._ask_rowwise(named) if self.signature.is_scalar else self._plain_call(named)
        elif len(inputs) == 1 and self.signature.sole is not None:
            value = inputs[0].value
            hint = bare(self.signature.hints.get(self.signature.sole))
            wants_list = (typing.get_origin(hint) or hint) is list
            result = self._run(value.tolist() if wants_list and hasattr(value, "tolist") else value)
        else:
            self._refuse_names(named, "/inputs")
            raise unfit(Flaw(path="/inputs", message=f"{self.signature.name} takes one argument, got {len(inputs)}"))
        outputs = dict(result) if isinstance(result, Mapping) else {"output-0": result}
        unknown = [name for name in wanted if name not in outputs]
        if unknown:
            known = ", ".join(outputs)
            raise unfit(Flaw(path="/outputs", message=f"no output is called {unknown[0]!r}; there is: {known}"))
        return {name: outputs[name] for name in wanted} if wanted else outputs

    def _takes_whole(self, value: Mapping[str, Any]) -> bool:
        sole = self.signature.sole
        if sole is None or sole in value:
            return False
        return not self.signature.names or takes_mapping(self.signature.hints.get(sole))

    def _are_rows_of_arguments(self, instances: Sequence[Any]) -> bool:
        return all(isinstance(row, Mapping) and self._binds(row) for row in instances)

    def _binds(self, named: Mapping[str, Any]) -> bool:
        keys = set(named)
        return self.signature.required <= keys and (self.signature.takes_any or keys <= set(self.signature.names))

    def _refuse_names(self, named: Mapping[str, Any], at: str) -> None:
        flaws = [
            Flaw(path=at + pointer(name), message="this argument is missing")
            for name in self.signature.names
            if name in self.signature.required and name not in named
        ]
        if not self.signature.takes_any:
            takes = ", ".join(self.signature.names) or "no arguments"
            flaws += [
                Flaw(path=at + pointer(name), message=f"unknown argument; {self.signature.name} takes {takes}")
                for name in named
                if name not in self.signature.names
            ]
        if flaws:
            raise unfit(*flaws)

    def _call_named(self, named: Mapping[str, Any], at: str) -> Any:
        self._refuse_names(named, at)
        cast_values: dict[str, Any] = {}
        flaws: list[Flaw] = []
        for name, value in named.items():
            try:
                cast_values[name] = self._cast(name, value, at + pointer(name))
            except Unfit as exc:
                flaws += exc.flaws
        if flaws:
            raise unfit(*flaws)
        return self._plain_call(cast_values)

    def _call_sole(self, value: Any, at: str) -> Any:
        sole = self.signature.sole
        if sole is None:
            takes = ", ".join(self.signature.names)
            wanted = f"{self.signature.name} takes {takes}: send a JSON object" if takes else "send {}"
            raise unfit(Flaw(path=at, message=f"{wanted}, got {name_of(value)}"))
        try:
            value = self._cast(sole, value, at)
        except Unfit as exc:
            raise unfit(*exc.flaws) from exc
        return self._run(value)

    def _cast(self, name: str, value: Any, at: str) -> Any:
        hint = self.signature.hints.get(name, Any)
        return value if hint is Any or isinstance(value, bytes) else cast(value, hint, at)

    def _ask_rowwise(self, named: Mapping[str, Any]) -> list[Any]:
        columns = {name: _flat(value) for name, value in named.items()}
        if len({len(column) for column in columns.values()}) != 1:
            raise unfit(Flaw(path="/inputs", message="expected tensors of one length"))
        return [
            settled(self._call_named(dict(zip(columns, row, strict=True)), "/inputs"))
            for row in zip(*columns.values(), strict=True)
        ]

    def _plain_call(self, named: Mapping[str, Any]) -> Any:
        return self._run(**named)

    def _run(self, *arguments: Any, **named: Any) -> Any:
        result = self.function(*arguments, **named)
        if inspect.isawaitable(result):
            return run_coroutine(_await(result))
        return result


def settled(result: Any) -> Any:
    """A result that is no stream: code that yields gives the list of what it yields."""
    if inspect.isasyncgen(result):
        return run_coroutine(_gathered(result))
    return list(result) if inspect.isgenerator(result) else result


async def _gathered(stream: Any) -> list[Any]:
    return [item async for item in stream]


def _flat(value: Any) -> list[Any]:
    if hasattr(value, "reshape"):
        return list(value.reshape(-1).tolist())
    return [part for item in value for part in (_flat(item) if isinstance(item, list) else [item])]


async def _await(result: Any) -> Any:
    return await result


def run_coroutine(coroutine: Any) -> Any:
    """Run it on this process' loop and wait for its result."""
    return asyncio.run_coroutine_threadsafe(coroutine, _Loop.running()).result()


def close_loop() -> None:
    """End the loop's thread; the next coroutine starts another."""
    _Loop.close()


class _Loop:
    """One event loop in a thread of its own, made at first need: a thread made before the fork would be lost by it."""

    _lock = threading.Lock()
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    @classmethod
    def running(cls) -> asyncio.AbstractEventLoop:
        with cls._lock:
            if cls._loop is None:
                cls._loop = asyncio.new_event_loop()
                cls._thread = threading.Thread(target=cls._loop.run_forever, name="coroutines", daemon=True)
                cls._thread.start()
            return cls._loop

    @classmethod
    def close(cls) -> None:
        with cls._lock:
            if cls._loop is not None and cls._thread is not None:
                cls._loop.call_soon_threadsafe(cls._loop.stop)
                cls._thread.join(timeout=5)
                cls._loop.close()
                cls._loop = None
