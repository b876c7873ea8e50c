"""The models of a repository: the usual places, looked through by content, folders that are one model included.

Rules of this file
1. Names decide what is opened, content decides what it is. One look at each folder (os.scandir), no file twice.
2. Files are looked at through `look`, which may know a file already (notes.py) and leave it closed.

Source  contracts 5.1, 5.2
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from buildpacks.model.file import ModelFile
from buildpacks.model.folders import Look, inspect_folder, mark_of
from buildpacks.model.signature import inspect_file

PLACES = ("model", "models", "artifacts")
MAX_FILES = 2000
MAX_DEPTH = 4
MAX_TOP_FOLDERS = 200
# Text and code never begin like a model; not opening them keeps a repository of many files quick.
_NEVER = frozenset({
    ".py", ".md", ".rst", ".csv", ".tsv", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".lock", ".ipynb", ".sh", ".html",
    ".js", ".css", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".parquet", ".npy", ".npz", ".whl", ".tar", ".c", ".h",
    ".cpp", ".java", ".go", ".rs", ".ts", ".tsx", ".jsx", ".rb", ".r", ".R", ".pdf", ".mp4", ".wav", ".mp3", ".zip",
    ".ttf", ".woff", ".woff2", ".ico", ".map", ".scss", ".sql", ".log", ".dvc", ".jar", ".so", ".pyc",
})  # fmt: skip
_MODEL_NAMES = frozenset({
    ".joblib", ".pkl", ".pickle", ".skops", ".pt", ".pth", ".ckpt", ".bin", ".onnx", ".h5", ".hdf5", ".keras",
    ".safetensors", ".bst", ".ubj", ".cbm", ".gguf", ".tflite", ".model", ".pb", ".msgpack", ".pt2", ".plan", ".engine",
})  # fmt: skip
_HIDDEN = frozenset({".git", ".dvc", ".ipynb_checkpoints", "__pycache__", "node_modules"})


class _Candidate(NamedTuple):
    path: str
    host_path: str
    mark: str  # of a folder; '' for a file


def find_models(root: str, look: Look = inspect_file) -> list[ModelFile]:
    """Every model in model/, models/, artifacts/, at the top, and in top folders that are one model; sorted by path.

    look  (host path, path in the repository) -> the model in a file
    A Git LFS pointer counts only where a model would: in those folders, or under a model's file name.
    """
    found = []
    for candidate in _candidates(root):
        model = _inspect(candidate, look)
        if model is not None and (candidate.mark or _counts(model)):
            found.append(model)
    return sorted(_without_parts(found), key=lambda model: model.path)


def find_named(root: str, path: str, look: Look = inspect_file) -> ModelFile | None:
    """The model of that path, wherever it lies in the repository; None when there is none."""
    parts = path.rstrip("/").split("/")
    if not path or path.startswith("/") or ".." in parts:
        return None
    for number in range(1, len(parts)):
        if os.path.islink(os.path.join(root, *parts[:number])):  # noqa: PTH114 -- see the top
            return None
    host_path = os.path.join(root, *parts)
    if not os.path.isdir(host_path) or os.path.islink(host_path):  # noqa: PTH112, PTH114 -- see the top
        return look(host_path, "/".join(parts))
    mark = mark_of(frozenset(entry.name for entry in _entries(host_path)))
    return inspect_folder(host_path, "/".join(parts), mark, look) if mark else None


def _counts(model: ModelFile) -> bool:
    if model.framework == "lfs":
        return "/" in model.path or has_model_name(model.path)
    return model.framework != "unknown" or has_model_name(model.path)


def has_model_name(path: str) -> bool:
    """The file's extension is one that models have."""
    return os.path.splitext(path)[1].lower() in _MODEL_NAMES  # noqa: PTH122 -- see the top of the file


def _inspect(candidate: _Candidate, look: Look) -> ModelFile | None:
    if candidate.mark:
        return inspect_folder(candidate.host_path, candidate.path, candidate.mark, look)
    return look(candidate.host_path, candidate.path)


def _candidates(root: str) -> Iterator[_Candidate]:
    """Folders that are one model, and files that may be one, below the places."""
    count = 0
    queue = [("", root, 0)]
    while queue:
        folder, host_path, depth = queue.pop()
        entries = _entries(host_path)
        mark = mark_of(frozenset(entry.name for entry in entries))
        if mark:
            yield _Candidate(folder or ".", host_path, mark)
            if folder:
                continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if _may_hold(entry.name, depth):
                    queue.append((path, entry.path, depth + 1))
            elif entry.is_file(follow_symlinks=False) and _may_be(entry.name) and not (mark and _is_part(entry.name)):
                count += 1
                if count > MAX_FILES:
                    return
                yield _Candidate(path, entry.path, "")
        if not folder:
            yield from _top_folders(entries)


def _may_hold(name: str, depth: int) -> bool:
    return name not in _HIDDEN and not name.startswith(".") and (name in PLACES if depth == 0 else depth < MAX_DEPTH)


def _may_be(name: str) -> bool:
    extension = os.path.splitext(name)[1].lower()  # noqa: PTH122 -- see the top
    return extension not in _NEVER and not name.startswith(".")


def _top_folders(entries: list[os.DirEntry[str]]) -> Iterator[_Candidate]:
    """Folders beside the places that are one model themselves, whatever they are called."""
    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")]
    for entry in folders[:MAX_TOP_FOLDERS]:
        if entry.name not in PLACES and entry.name not in _HIDDEN:
            mark = mark_of(frozenset(item.name for item in _entries(entry.path)))
            if mark:
                yield _Candidate(entry.name, entry.path, mark)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_part(name: str) -> bool:
    """At the top of a repository that is a model folder: everything with a model's name belongs to that model."""
    return has_model_name(name) or name.endswith(".json")


def _without_parts(models: list[ModelFile]) -> list[ModelFile]:
    """Without files that are parts of another: OpenVINO's weights, the shards beside an index."""
    stems = {os.path.splitext(model.path)[0] for model in models if model.framework == "openvino"}  # noqa: PTH122 -- see the top
    return [
        model
        for model in models
        if not (model.framework != "openvino" and os.path.splitext(model.path)[0] in stems)  # noqa: PTH122 -- see the top
    ]
