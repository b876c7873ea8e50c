"""A bare model file of any framework becomes a model that can be asked: no user code takes part.

One module per framework, imported only when its file is served. Each has
    DISTRIBUTION              the name that a requirement line uses
    import_framework()        imports it and returns its version; timed apart from the load
    open_model(path, serve)   the model; raises whatever the framework raises, or NeedsCode

How loading.py uses it, kind "model-file":
    found = load_model_file(serve, app_dir)      # BootFailed: import-failed, load-failed, framework-...
    with an example:     ask found.model; when it raises exc that is not Refused: raise found.example_failed(exc)
    without, and found.zeros is not None:  ask found.model.native(found.zeros), sample "zeros";
                         when it raises exc: warning = found.zeros_failed(exc), sample None
    Loaded(model=found.model, import_s=found.import_s, load_s=found.load_s, warning=found.warning or warning, ...)

How boot.py uses it: needs_own_process(serve) before the load; True means one load per worker, after the fork.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..failure import BootFailed, describe, render_trace
from .loaded import LoadedFile, NeedsCode, Opened, Origin, failure_of

if TYPE_CHECKING:
    from ..settings import ServeDoc

__all__ = ["LoadedFile", "load_model_file", "needs_own_process"]

# ModelFile.framework -> the module here that serves it. safetensors and gguf hold weights alone: they need user code.
MODULES = {
    "sklearn": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "onnx": "onnx",
    "torch": "torch",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "mlflow": "mlflow",
    "transformers": "transformers",
}
# Their libraries start threads while they are imported or load, whatever the pool sizes say, and a fork would lose
# those (measured: docs/users/models.md says how many). Known up front, nothing is loaded twice.
OWN_PROCESS = frozenset({"tensorflow", "keras", "onnx"})


class _Module(Protocol):
    DISTRIBUTION: str

    def import_framework(self) -> str: ...

    def open_model(self, path: Path, serve: ServeDoc) -> Opened: ...


def load_model_file(serve: ServeDoc, app_dir: Path) -> LoadedFile:
    """Import the framework of serve.model_file and load it.

    Raises  BootFailed: import-failed (module, type, message), load-failed (scikit-learn),
            framework-load-failed, framework-skew (written_by, loaded_with, requirement), old-keras-file,
            model-needs-code
    """
    # A pickle of several objects says nothing of a framework; what can be served of those is scikit-learn's.
    framework = "sklearn" if serve.framework in (None, "pickle") else serve.framework
    name = MODULES.get(framework)
    if name is None:
        raise BootFailed(
            "model-needs-code",
            model_file=serve.model_file,
            found=f"{framework} weights",
            needed="a predict.py that makes the model and loads them",
        )
    module: _Module = importlib.import_module(f".{name}", __name__)
    started = time.perf_counter()
    try:
        version = module.import_framework()
    except (Exception, SystemExit) as exc:
        missing = (exc.name or "") if isinstance(exc, ModuleNotFoundError) else ""
        facts = describe(exc, app_dir)
        trace = render_trace(exc, app_dir)
        raise BootFailed("import-failed", log=trace, module=missing or framework, **facts) from exc
    imported = time.perf_counter()
    origin = Origin(
        framework=framework,
        distribution=module.DISTRIBUTION,
        version=version,
        # Of an MLflow folder the build tells the flavor's version, which is no version of MLflow.
        written_by=None if framework == "mlflow" else serve.written_by,
        model_file=serve.model_file or "",
        example=serve.example,
        app_dir=app_dir,
    )
    try:
        opened = module.open_model(app_dir / origin.model_file, serve)
    except NeedsCode as exc:
        raise BootFailed("model-needs-code", model_file=origin.model_file, found=exc.found, needed=exc.needed) from exc
    except (Exception, SystemExit) as exc:
        raise failure_of(exc, origin) from exc
    loaded = time.perf_counter()
    return LoadedFile(
        model=opened.model,
        import_s=imported - started,
        load_s=loaded - imported,
        warning=opened.warning,
        zeros=opened.zeros,
        origin=origin,
    )


def needs_own_process(serve: ServeDoc) -> bool:
    """True when the framework of a bare model file may not be loaded before a fork."""
    return serve.kind == "model-file" and serve.framework in OWN_PROCESS
