"""The user's source file becomes a module, under the name that its own imports expect.

1. The app's folder comes first on the path, but only now, after everything of ours is imported: a user's `app.py`,
   `runtime.py` or `flask.py` is theirs, and is never what we import.
2. A file in a folder with `__init__.py` is a module of that package; in any other folder it is on top, with its folder
   on the path.
3. A name that is taken (the file is called like a module that is loaded already) gets a private name instead.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .failure import BootFailed, describe, render_trace


def prepare_path(app_dir: Path, file: str | None) -> None:
    """Put the user's folders in front of sys.path, once."""
    folders = [str(app_dir)]
    if file is not None:
        parent = (app_dir / file).parent
        if parent != app_dir and not (parent / "__init__.py").exists():
            folders.append(str(parent))
    sys.path[:] = folders + [entry for entry in sys.path if entry not in folders]


def import_file(app_dir: Path, file: str) -> ModuleType:
    """Execute the user's file.

    file     relative to app_dir
    Raises   BootFailed('syntax-error', file, line, text, message), BootFailed('import-failed', type, message, file,
             line, module): module is what was not found, '' when the failure is another one; sys.exit() counts too
    """
    try:
        return _execute(app_dir, file)
    except SyntaxError as exc:
        facts = describe(exc, app_dir)
        text = (exc.text or "").rstrip("\n")
        raise BootFailed("syntax-error", log=render_trace(exc, app_dir), text=text, **facts) from exc
    except (Exception, SystemExit) as exc:  # whatever the user's top level raises is an answer
        missing = (exc.name or "") if isinstance(exc, ModuleNotFoundError) else ""
        facts = describe(exc, app_dir)
        raise BootFailed("import-failed", log=render_trace(exc, app_dir), module=missing, **facts) from exc


def find_entry(module: ModuleType, file: str, name: str) -> Any:
    """The function or class called name. Raises BootFailed('entry-missing', file, name, found)."""
    entry = getattr(module, name, None)
    if not callable(entry):
        found = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise BootFailed("entry-missing", file=file, name=name, found=list(found[:20]))
    return entry


def _execute(app_dir: Path, file: str) -> ModuleType:
    path = app_dir / file
    name = path.stem
    if path.parent != app_dir and (path.parent / "__init__.py").exists():
        name = ".".join([*path.parent.relative_to(app_dir).parts, name])
    loaded = sys.modules.get(name.partition(".")[0])
    if name.replace(".", "").replace("_", "").isalnum() and loaded is None:
        module = importlib.import_module(name)
        if Path(getattr(module, "__file__", None) or "").resolve() == path.resolve():
            return module
    spec = importlib.util.spec_from_file_location(f"_user_{path.stem.replace('-', '_')}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
