"""A repository with nothing to serve at its top, and apps in folders: which they are, and the setting that chooses."""

from __future__ import annotations

import os

from buildpacks.packs.sources import MAX_FILES

# At the top, one of these says that the top is the app.
_SIGNS = (
    "predict.py", "Procfile", "cog.yaml", "MLmodel", "saved_model.pb", "Dockerfile", "package.json", "pom.xml",
    "build.gradle", "go.mod", "Gemfile", "app.R", "plumber.R",
)  # fmt: skip
_MODELS = (
    ".joblib", ".pkl", ".pickle", ".skops", ".onnx", ".pt", ".pth", ".pt2", ".keras", ".h5", ".hdf5", ".cbm", ".ubj",
    ".safetensors",
)  # fmt: skip
_NO_APPS = frozenset({"tests", "test", "docs", "doc", "data", "notebooks", "models", "model", "node_modules", "src"})
MAX_FOLDERS = 100


def find_app_folders(app: str) -> list[str]:
    """`iris (predict.py)`, `web (app.py line 3: app = Flask(__name__))`: folders that could be the app.

    Python files are looked into until MAX_FILES are; after that a folder is known by the names in it alone.
    """
    with os.scandir(app) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    if any(entry.name in _SIGNS or entry.name.endswith(_MODELS) for entry in listed):
        return []
    found, left = [], MAX_FILES
    for entry in [entry for entry in listed if entry.is_dir(follow_symlinks=False)][:MAX_FOLDERS]:
        if entry.name.startswith(".") or entry.name.lower() in _NO_APPS:
            continue
        names = sorted(os.listdir(entry.path))
        left -= sum(name.endswith(".py") for name in names)
        sign = _sign(entry.path, names, has_time=left >= 0)
        if sign:
            found.append(f"{entry.name} ({sign})")
    return found


def _sign(folder: str, names: list[str], *, has_time: bool) -> str:
    sign = next((name for name in _SIGNS if name in names), "")
    if sign or not has_time or not any(name.endswith(".py") for name in names):
        return sign or next((name for name in names if name.endswith(_MODELS)), "")
    from buildpacks.packs.app_objects import describe, find_apps

    apps = find_apps(folder)
    return describe(folder, apps[0]) if apps else next((name for name in names if name.endswith(_MODELS)), "")
