"""The names of the package `cog`, for code that imports it where it is not installed: declarations, no server.

Source  cog 0.23.1 (the public interface; this is not its code). The real package needs a native extension and brings
        a server of its own; predictors need neither.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Opaque = Any


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputRule:
    """What Input() says of one argument: its default, and what a value must fulfil."""

    default: Any
    description: str | None
    ge: float | None
    le: float | None
    min_length: int | None
    max_length: int | None
    regex: str | None
    choices: Sequence[Any] | None
    deprecated: bool | None


def Input(  # noqa: N802, PLR0913 -- the name and the arguments that user code writes
    default: Any = REQUIRED,
    *,
    description: str | None = None,
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    regex: str | None = None,
    choices: Sequence[Any] | None = None,
    deprecated: bool | None = None,
    accept: str | None = None,
    default_factory: Any = None,
) -> Any:
    """The default value of an argument of predict(). Raises TypeError for default_factory, as cog does."""
    del accept  # a hint for the form of a web page
    if default_factory is not None:
        raise TypeError("Input(default_factory=...) is not taken by cog; write the default itself")
    return InputRule(
        default=REQUIRED if default is ... else default,
        description=description,
        ge=ge,
        le=le,
        min_length=min_length,
        max_length=max_length,
        regex=regex,
        choices=choices,
        deprecated=deprecated,
    )


class BaseRunner:
    """setup() once, then run() or predict() for every call."""

    def setup(self, weights: Any = None) -> Any:
        """Nothing to load."""


class BasePredictor(BaseRunner):
    """The older name of the same."""


class Path(pathlib.PosixPath):
    """An input file: callers send a URL or a data URL, code gets a path. As a result: the file's content is sent."""


class File(io.IOBase):
    """An input file, open for reading."""


URLPath = Path
URLFile = File


class Secret:
    """A string that does not show when it is printed."""

    def __init__(self, secret_value: str | None = None) -> None:
        self.secret_value = secret_value

    def get_secret_value(self) -> str | None:
        """The string."""
        return self.secret_value

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__


class _PlainBaseModel:
    """A named group of output fields, without validation."""

    def __init_subclass__(cls, **_options: Any) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(kw_only=True)(cls)


try:
    from pydantic import BaseModel  # type: ignore[import-not-found, unused-ignore]  # where the app has it, it is used
except ImportError:
    BaseModel = _PlainBaseModel  # type: ignore[assignment, misc, unused-ignore]  # the name must exist either way


class ConcatenateIterator(Iterator[Item], Generic[Item]):
    """The hint of a result that is streamed, and whose parts belong together."""


class AsyncConcatenateIterator(AsyncIterator[Item], Generic[Item]):
    """The same of asynchronous code."""


class CancelationException(BaseException):
    """Never raised here: calls end by their deadline."""


class ExperimentalFeatureWarning(FutureWarning):
    """Code filters it by name."""


def streaming(function: Any = None, **_options: Any) -> Any:
    """Marks a function; results that are generators stream here with or without it."""
    return function if callable(function) else lambda marked: marked


def concurrent(function: Any = None, **_options: Any) -> Any:
    """Marks a function; how many calls run at once is a setting of the server here."""
    return function if callable(function) else lambda marked: marked


def record_metric(key: str, value: Any, mode: str = "replace") -> None:
    """Metrics of single calls are not collected here."""
    del key, value, mode


def emit_metric(name: str, value: Any) -> None:
    """The older name of record_metric."""
    del name, value


@contextmanager
def current_scope() -> Iterator[Any]:
    """The scope of a call, whose metrics nobody reads."""
    recorder: Callable[..., None] = record_metric
    yield SimpleNamespace(record_metric=recorder, context={})
