"""From ALGO_SERVE to a model that has answered once, or to the reason why not."""

from __future__ import annotations

import inspect
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import adk
from .failure import BootFailed, describe, render_trace
from .jsontext import parse_json, plain
from .model import Model
from .refusal import Refused
from .settings import Kind, RunSettings, ServeDoc
from .sklearn_model import SklearnModel, make_sklearn_model, read_estimator
from .user_model import UserModel, close_loop, make_signature, run_coroutine
from .usercode import find_entry, import_file, prepare_path

LOADERS = ("load", "setup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that is ready to serve, and what was seen on the way.

    sample      what the first prediction was made of: the example's path, 'zeros', or None (nothing was known)
    predict_ms  the second prediction with the sample: the first one pays for lazy imports
    warning     one sentence for the log of the push, or None
    """

    model: Model
    import_s: float
    load_s: float
    predict_ms: float | None
    sample: str | None
    warning: str | None


# scikit-learn 1.4.2 release notes: "This release only includes support for numpy 2." Its metadata allows 2 before that.
FIRST_WITH_NUMPY_2 = (1, 4, 2)


def load_model(settings: RunSettings) -> Loaded:
    """Import, load and warm up.

    Raises  BootFailed: syntax-error, import-failed, entry-missing, load-failed, sklearn-skew, example-failed
    """
    serve, app_dir = settings.serve, settings.app_dir
    prepare_path(app_dir, serve.file)
    started = time.perf_counter()
    if serve.kind is Kind.SKLEARN_FILE:
        return _load_sklearn(serve, app_dir, started)
    file, name = serve.file or "", serve.name or ""
    if serve.kind is Kind.ALGORITHMIA:
        adk.install()
    module = import_file(app_dir, file)
    imported = time.perf_counter()
    entry: Any = None
    if serve.kind is not Kind.ALGORITHMIA or adk.ADK.latest is None:
        entry = find_entry(module, file, name)
    function = _guarded(serve, app_dir, lambda: _user_function(serve.kind, module, entry, app_dir))
    model = UserModel(
        function=function,
        signature=make_signature(function, name),
        title=f"{name} of {file}",
        whole=serve.kind is Kind.ALGORITHMIA,
    )
    loaded = time.perf_counter()
    sample, predict_ms = _warm_up_with_example(model, serve, app_dir)
    return Loaded(
        model=model,
        import_s=imported - started,
        load_s=loaded - imported,
        predict_ms=predict_ms,
        sample=sample,
        warning=None,
    )


def _user_function(kind: Kind, module: Any, entry: Any, app_dir: Path) -> Callable[..., Any]:
    if kind is Kind.FUNCTION:
        return entry  # type: ignore[no-any-return]  # find_entry has seen that it can be called
    if kind is Kind.ALGORITHMIA:
        registered = adk.ADK.latest
        if registered is not None:
            return adk.bind_apply(registered.apply_func, registered.load_func, app_dir)
        return adk.bind_apply(entry, getattr(module, "load", None), app_dir)
    instance = entry()
    loader = next((getattr(instance, name) for name in LOADERS if callable(getattr(instance, name, None))), None)
    if loader is not None:
        outcome = loader()
        if inspect.isawaitable(outcome):
            import asyncio

            asyncio.run(_awaited(outcome))
    return instance.predict  # type: ignore[no-any-return]  # the build has seen the method


async def _awaited(outcome: Any) -> Any:
    return await outcome


def _guarded(serve: ServeDoc, app_dir: Path, load: Callable[[], Any]) -> Any:
    """load(), with everything that it raises told as load-failed; sys.exit() counts too."""
    try:
        return load()
    except (Exception, SystemExit) as exc:
        facts = describe(exc, app_dir)
        fields = {**facts, "model_file": serve.model_file, "written_by": serve.written_by}
        raise BootFailed("load-failed", log=render_trace(exc, app_dir), **fields) from exc


def _load_sklearn(serve: ServeDoc, app_dir: Path, started: float) -> Loaded:
    path = app_dir / (serve.model_file or "")
    try:
        import sklearn
    except Exception as exc:
        facts = describe(exc, app_dir)
        raise BootFailed("import-failed", log=render_trace(exc, app_dir), module="sklearn", **facts) from exc
    imported = time.perf_counter()
    loaded_with = f"scikit-learn {sklearn.__version__}"
    differs = serve.written_by is not None and serve.written_by != loaded_with
    try:
        estimator, warned = read_estimator(path)
        model = make_sklearn_model(estimator)
    except (Exception, SystemExit) as exc:
        raise _sklearn_failure("load-failed", exc, serve, app_dir, loaded_with) from exc
    loaded = time.perf_counter()
    if serve.example is not None:
        try:
            sample, predict_ms = _warm_up_with_example(model, serve, app_dir)
        except BootFailed as exc:
            if differs and exc.__cause__ is not None and not isinstance(exc.__cause__, Refused):
                raise _sklearn_failure("example-failed", exc.__cause__, serve, app_dir, loaded_with) from exc.__cause__
            raise
        trouble = None
    else:
        sample, predict_ms, trouble = _warm_up_with_zeros(model, serve, app_dir, differs, loaded_with)
    warning = trouble or (
        f"{serve.model_file} was written by {serve.written_by or 'another scikit-learn'} and is loaded by {loaded_with}"
        if warned
        else None
    )
    return Loaded(
        model=model,
        import_s=imported - started,
        load_s=loaded - imported,
        predict_ms=predict_ms,
        sample=sample,
        warning=warning,
    )


def _sklearn_failure(code: str, exc: BaseException, serve: ServeDoc, app_dir: Path, loaded_with: str) -> BootFailed:
    """A failure beside two different versions is told as the skew: that is what the owner can change."""
    skewed = serve.written_by is not None and serve.written_by != loaded_with
    facts = describe(exc, app_dir)
    fields = {
        **facts,
        "model_file": serve.model_file,
        "written_by": serve.written_by,
        "loaded_with": loaded_with,
        "requirement": _requirement(serve.written_by or ""),
    }
    return BootFailed("sklearn-skew" if skewed else code, log=render_trace(exc, app_dir), **fields)


def _requirement(written_by: str) -> str:
    """`scikit-learn 1.2.2` -> the line that installs what wrote the model, with the numpy that it was made for."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", written_by)[:3])
    pin = written_by.replace(" ", "==")
    return f"{pin} (and a second one: numpy<2)" if numbers < FIRST_WITH_NUMPY_2 else pin


def _warm_up_with_zeros(
    model: SklearnModel, serve: ServeDoc, app_dir: Path, differs: bool, loaded_with: str
) -> tuple[str | None, float | None, str | None]:
    """A row that nobody vouches for: its failure proves something only beside two different versions."""
    if model.spec.as_frame:
        return None, None, None  # columns may hold strings; zeros would say nothing
    row: Any = "" if model.spec.feature_count is None else [0.0] * model.spec.feature_count
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "zeros", _timed(model, [row]), None
    except Exception as exc:
        if differs:
            raise _sklearn_failure("load-failed", exc, serve, app_dir, loaded_with) from exc
        facts = describe(exc, app_dir)
        return (
            None,
            None,
            f"a prediction for zeros raised {facts['type']}: {facts['message']}; an example.json tells more",
        )


def _warm_up_with_example(model: Model, serve: ServeDoc, app_dir: Path) -> tuple[str | None, float | None]:
    if serve.example is None:
        return None, None
    try:
        body = (app_dir / serve.example).read_bytes()
        return serve.example, _timed(model, parse_json(body) if serve.example.endswith(".json") else body)
    except Refused as exc:
        raise BootFailed(
            "example-failed", example=serve.example, type="", message=exc.sentence(), file=serve.example, line=0
        ) from exc
    except (Exception, SystemExit) as exc:
        facts = describe(exc, app_dir)
        raise BootFailed("example-failed", log=render_trace(exc, app_dir), example=serve.example, **facts) from exc


def _timed(model: Model, body: Any) -> float:
    """Milliseconds of the second of two predictions, encoded as they will be."""
    elapsed = 0.0
    for _ in range(2):
        started = time.perf_counter()
        result = model.native(body)
        elapsed = (time.perf_counter() - started) * 1e3
        if inspect.isgenerator(result):
            plain(list(result))
        elif inspect.isasyncgen(result):
            run_coroutine(_collected(result))
        else:
            plain(result)
    close_loop()  # its thread would not survive the fork
    return elapsed


async def _collected(stream: Any) -> list[Any]:
    return [item async for item in stream]


def loaded_modules() -> list[str]:
    """Installed third-party modules that are loaded now, in the order of their import: what a warm parent imports."""
    ours = __name__.partition(".")[0]
    return [
        name
        for name, module in list(sys.modules.items())
        if "site-packages" in (getattr(getattr(module, "__spec__", None), "origin", None) or "")
        and name.partition(".")[0] != ours
        and not name.startswith("_")
    ]
