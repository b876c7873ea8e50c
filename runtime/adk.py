"""Modules `Algorithmia` and `adk` for code that was written for Algorithmia: no network, no key.

Source  algorithmia-adk 1.2.4 and algorithmia 1.23 (the public interface; this is not their code)
Traps   the original's constructor asks for a client and a key; its init() runs a sample or blocks on stdin; its error
        report breaks on Python 3.10 and newer; its truth test drops empty globals. None of these is inherited.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

MANIFEST = "model_manifest.json"
MODEL_FOLDERS = ("", "model", "models", "artifacts", "data")


class AlgorithmException(Exception):  # noqa: N818 -- the name that user code raises and catches
    """Raised by algorithms on purpose: callers get its message and error_type."""

    def __init__(self, message: str, stack_trace: str | None = None, error_type: str | None = None) -> None:
        self.message, self.stack_trace, self.error_type = message, stack_trace, error_type or "AlgorithmError"
        super().__init__(message)


class ADK:
    """Takes apply and load where the user's file registers them; serving them is the shim's work."""

    latest: ADK | None = None

    def __init__(
        self, apply_func: Callable[..., Any], load_func: Callable[..., Any] | None = None, client: Any = None
    ) -> None:
        self.apply_func, self.load_func, self.client = apply_func, load_func, client
        type(self).latest = self

    def init(self, local_payload: Any = None, pprint: Any = print, mlops: bool = False) -> None:
        """Return at once."""


class ModelData:
    """What load(modeldata) receives: files of the repository by the names of its model_manifest.json, and a dict."""

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = app_dir
        self._values: dict[str, Any] = {}
        self._files = _read_manifest(app_dir)

    def get_model(self, name: str) -> str:
        """Path of the file called name. Raises FileNotFoundError, or AlgorithmException when its checksum is wrong."""
        entry = self._files.get(name)
        if entry is None:
            raise FileNotFoundError(f"{MANIFEST} has no file called {name!r}")
        wanted = Path(str(entry.get("source_uri", name))).name
        for folder in MODEL_FOLDERS:
            path = self._app_dir / folder / wanted
            if path.is_file():
                _refuse_changed(path, entry)
                return str(path)
        raise FileNotFoundError(f"{wanted} is not in the repository; files are not fetched from elsewhere")

    def data(self) -> dict[str, Any]:
        """Everything set so far."""
        return self._values

    def __iter__(self) -> Iterator[str]:
        # Without it Python would iterate by asking for 0, 1, 2, ... and never be told to stop.
        return iter(self._values)

    def __getitem__(self, key: str) -> Any:
        return self._values.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value


def install() -> None:
    """Make `import Algorithmia` and `from adk import ADK` work, unless the app's environment has the real ones."""
    algorithmia = ModuleType("Algorithmia")
    algorithmia.ADK = ADK  # type: ignore[attr-defined]  # a module made by hand
    algorithmia.client = _NoClient  # type: ignore[attr-defined]  # likewise
    errors = ModuleType("Algorithmia.errors")
    for module in (algorithmia, errors):
        module.AlgorithmException = AlgorithmException  # type: ignore[attr-defined]  # likewise
    algorithmia.errors = errors  # type: ignore[attr-defined]  # likewise
    adk = ModuleType("adk")
    adk.ADK = ADK  # type: ignore[attr-defined]  # likewise
    for module in (algorithmia, errors, adk):
        # The stubs win over an installed original: that one asks the network for a client when it is constructed.
        sys.modules[module.__name__] = module


def bind_apply(apply: Callable[..., Any], load: Callable[..., Any] | None, app_dir: Path) -> Callable[[Any], Any]:
    """Load once, and return a function of the input alone. Raises what the user's load raises."""
    if load is None:
        return apply
    result = load(ModelData(app_dir)) if _accepts(load, 1) else load()
    if _accepts(apply, 2):
        return lambda value: apply(value, result)
    return apply


class _NoClient:
    """Stands for Algorithmia.client(): made freely, and says clearly that there is no Algorithmia behind it."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AlgorithmException(f"client().{name}: there is no Algorithmia cluster here; keep files in the repository")


def _accepts(function: Callable[..., Any], count: int) -> bool:
    """Whether function can be called with that many positional arguments: by arity, as arrays have no truth."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    return True


def _read_manifest(app_dir: Path) -> dict[str, dict[str, Any]]:
    for path in (app_dir / MANIFEST, app_dir / f"{MANIFEST}.freeze"):
        if path.is_file():
            document = json.loads(path.read_text(encoding="utf-8"))
            listed = [*document.get("required_files", []), *document.get("optional_files", [])]
            return {str(entry["name"]): entry for entry in listed}
    return {}


def _refuse_changed(path: Path, entry: dict[str, Any]) -> None:
    expected = entry.get("md5_checksum")
    if not expected or not entry.get("fail_on_tamper"):
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != expected:
        raise AlgorithmException(
            f"{path.name} has MD5 {found}, the manifest says {expected}", error_type="LoadingError"
        )
