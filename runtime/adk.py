"""Modules `Algorithmia` and `adk` for code that was written for Algorithmia: no network, no key.

Source  algorithmia-adk 1.2.4 and algorithmia 1.23 (the public interface; this is not their code)
Traps   the original's constructor asks for a client and a key; its init() runs a sample or blocks on stdin; its error
        report breaks on Python 3.10 and newer; its truth test drops empty globals. None of these is inherited.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .failure import BootFailed
from .usercontracts.algorithmia_client import LocalClient
from .usercontracts.arity import accepts

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestEntry:
    """One file of model_manifest.json. file_name: the last part of where it lay on Algorithmia."""

    name: str
    file_name: str
    md5: str | None
    fail_on_tamper: bool
    is_required: bool


class ModelData:
    """What load(modeldata) receives: files of the repository by the names of its model_manifest.json, and a dict.

    Raises  BootFailed, for the manifest and its required files are looked at before load() runs: manifest-bad,
            manifest-file-missing, manifest-file-changed
    """

    def __init__(self, app_dir: Path) -> None:
        self._app_dir = app_dir
        self._values: dict[str, Any] = {}
        manifest = read_manifest(app_dir)
        self._files = {entry.name: entry for entry in manifest}
        self._whole: dict[str, Path] = {}  # looked at already: a model of gigabytes is hashed once
        for entry in manifest:
            if entry.is_required:
                path = self._find(entry)
                if path is None:
                    raise BootFailed("manifest-file-missing", name=entry.name, path=entry.file_name)
                _refuse_changed(path, entry)
                self._whole[entry.name] = path

    def available(self) -> bool:
        """Whether the repository has a manifest."""
        return bool(self._files)

    def get_model(self, name: str) -> str:
        """Path of the file called name. Raises FileNotFoundError, or AlgorithmException when its checksum is wrong."""
        entry = self._files.get(name)
        if entry is None:
            raise FileNotFoundError(f"{MANIFEST} has no file called {name!r}")
        if name in self._whole:
            return str(self._whole[name])
        path = self._find(entry)
        if path is None:
            raise FileNotFoundError(f"{entry.file_name} is not in the repository; files are not fetched from elsewhere")
        try:
            _refuse_changed(path, entry)
        except BootFailed as exc:
            message = f"{path.name} has MD5 {exc.fields['found']}, the manifest says {exc.fields['expected']}"
            raise AlgorithmException(message, error_type="LoadingError") from exc
        return str(path)

    def _find(self, entry: ManifestEntry) -> Path | None:
        return find_model_file(self._app_dir, entry.file_name)

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


def find_model_file(app_dir: Path, name: str) -> Path | None:
    """A file of the repository by its name, in the folders where models lie."""
    places = (app_dir / folder / name for folder in MODEL_FOLDERS)
    return next((path for path in places if path.is_file()), None)


def install(app_dir: Path) -> None:
    """Make `import Algorithmia` and `from adk import ADK` work; an installed original is hidden, see below."""

    def client(*_arguments: Any, **_options: Any) -> LocalClient:
        return LocalClient(lambda name: find_model_file(app_dir, name), AlgorithmException)

    algorithmia = ModuleType("Algorithmia")
    algorithmia.ADK = ADK  # type: ignore[attr-defined]  # a module made by hand
    algorithmia.client = client  # type: ignore[attr-defined]  # likewise
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
    data = ModelData(app_dir)
    if load is None:
        return apply
    result = load(data) if accepts(load, 1) else load()
    if accepts(apply, 2):
        return lambda value: apply(value, result)
    return apply


def read_manifest(app_dir: Path) -> list[ManifestEntry]:
    """The files of model_manifest.json, of its frozen form where there is one: that one has the checksums.

    Raises  BootFailed('manifest-bad', path, message): no JSON, no names, a name twice, a frozen form that was changed
    """
    for path in (app_dir / f"{MANIFEST}.freeze", app_dir / MANIFEST):
        if path.is_file():
            try:
                return _entries(path)
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                message = f"{type(exc).__name__}: {exc}" if isinstance(exc, (KeyError, TypeError)) else str(exc)
                raise BootFailed("manifest-bad", path=path.name, message=message) from exc
    return []


def _entries(path: Path) -> list[ManifestEntry]:
    document = json.loads(path.read_text(encoding="utf-8"))
    locked = document.pop("lock_checksum", None)
    # As `algo freeze` wrote it: the MD5 of the document's text in Python's own notation.
    if locked is not None and _md5(str(document).encode()) != locked:
        raise ValueError("it was changed after it was frozen (lock_checksum)")
    found = [
        ManifestEntry(
            name=str(entry["name"]),
            file_name=Path(str(entry.get("source_uri") or entry["name"])).name,
            md5=entry.get("md5_checksum"),
            fail_on_tamper=bool(entry.get("fail_on_tamper")),
            is_required=key == "required_files",
        )
        for key in ("required_files", "optional_files")
        for entry in document.get(key) or []
    ]
    names = [entry.name for entry in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two files are called {twice}")
    return found


def _refuse_changed(path: Path, entry: ManifestEntry) -> None:
    if not entry.md5 or not entry.fail_on_tamper:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != entry.md5:
        raise BootFailed("manifest-file-changed", name=entry.name, path=path.name, expected=entry.md5, found=found)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
