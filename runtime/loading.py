"""From ALGO_SERVE to a model that has answered once, or to the reason why not."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .failure import BootFailed, describe, render_trace
from .jsontext import parse_json, plain
from .model import Model
from .refusal import Refused
from .settings import Kind, RunSettings, ServeDoc
from .user_model import close_loop, settled
from .usercode import import_file, prepare_path
from .usercontracts.opening import find_user_entry, open_user_model, prepare_import


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that is ready to serve, and what was seen on the way.

    sample      what the first prediction was made of: the example's path, 'zeros', or None (nothing was known)
    predict_ms  the second prediction with the sample: the first one pays for lazy imports
    cases       `3 cases of TEST_CASES.json`: what was answered as expected, or None
    warning     one sentence for the log of the push, or None
    """

    model: Model
    import_s: float
    load_s: float
    predict_ms: float | None
    sample: str | None
    cases: str | None
    warning: str | None


def load_model(settings: RunSettings) -> Loaded:
    """Import, load, warm up, and ask what has a known answer.

    Raises  BootFailed: syntax-error, import-failed, entry-missing, contract-mixed, manifest-..., load-failed,
            example-failed, test-cases-bad, test-case-failed, and those of frameworks.load_model_file
    """
    serve, app_dir = settings.serve, settings.app_dir
    prepare_path(app_dir, serve.file)
    loaded = _load_file(serve, app_dir) if serve.kind is Kind.MODEL_FILE else _load_code(serve, app_dir)
    close_loop()  # its thread would not survive the fork
    return loaded


def _load_code(serve: ServeDoc, app_dir: Path) -> Loaded:
    started = time.perf_counter()
    prepare_import(serve, app_dir)
    module = import_file(app_dir, serve.file or "")
    imported = time.perf_counter()
    entry = find_user_entry(serve, module)
    model = _guarded(serve, app_dir, lambda: open_user_model(serve, module, entry, app_dir))
    loaded = time.perf_counter()
    sample, predict_ms = _warm_up_with_example(model, serve, app_dir)
    return Loaded(
        model=model,
        import_s=imported - started,
        load_s=loaded - imported,
        predict_ms=predict_ms,
        sample=sample,
        cases=_ask_cases(model, serve, app_dir),
        warning=None,
    )


def _guarded(serve: ServeDoc, app_dir: Path, load: Callable[[], Any]) -> Any:
    """load(), with everything that it raises told as load-failed; sys.exit() counts too."""
    try:
        return load()
    except BootFailed:
        raise
    except (Exception, SystemExit) as exc:
        facts = describe(exc, app_dir)
        fields = {**facts, "model_file": serve.model_file, "written_by": serve.written_by}
        raise BootFailed("load-failed", log=render_trace(exc, app_dir), **fields) from exc


def _load_file(serve: ServeDoc, app_dir: Path) -> Loaded:
    from .frameworks import load_model_file  # user code never needs it

    found = load_model_file(serve, app_dir)
    sample: str | None = None
    predict_ms: float | None = None
    trouble: str | None = None
    if serve.example is not None:
        try:
            sample, predict_ms = _warm_up_with_example(found.model, serve, app_dir)
        except BootFailed as exc:
            cause = exc.__cause__
            if cause is None or isinstance(cause, Refused):
                raise
            raise found.example_failed(cause) from cause
    elif found.zeros is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sample, predict_ms = "zeros", _timed(found.model, found.zeros)
        except Exception as exc:  # noqa: BLE001 -- a row that nobody vouches for: found knows what its failure proves
            sample, trouble = None, found.zeros_failed(exc)
    return Loaded(
        model=found.model,
        import_s=found.import_s,
        load_s=found.load_s,
        predict_ms=predict_ms,
        sample=sample,
        cases=_ask_cases(found.model, serve, app_dir),
        warning=trouble or found.warning,
    )


def _ask_cases(model: Model, serve: ServeDoc, app_dir: Path) -> str | None:
    if serve.tests is None:
        return None
    from .smoketests import run_cases  # few repositories have such a file

    count = run_cases(model, app_dir, serve.tests)
    return f"{count} case{'s' if count != 1 else ''} of {serve.tests}"


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
        plain(settled(result))
    return elapsed


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
