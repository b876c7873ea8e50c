"""The models of a repository: the usual places, looked through by content, folders that are one model included.

Source  contracts 5.1, 5.2
"""

# os.path: importing pathlib would be a fifth of the life of such a short process.
# ruff: noqa: PTH113

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from buildpacks.model.file import ModelFile
from buildpacks.model.signature import inspect_file

PLACES = ("model", "models", "artifacts")
MAX_FILES = 2000
MAX_DEPTH = 4
MAX_CONFIG_BYTES = 1 << 20
# Text and code never begin like a model; not opening them keeps a repository of many files quick.
_NEVER = frozenset({
    ".py", ".md", ".rst", ".csv", ".tsv", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".lock", ".ipynb", ".sh", ".html",
    ".js", ".css", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".parquet", ".npy", ".npz", ".whl", ".tar",
})  # fmt: skip
_MODEL_NAMES = frozenset({
    ".joblib", ".pkl", ".pickle", ".skops", ".pt", ".pth", ".ckpt", ".bin", ".onnx", ".h5", ".hdf5", ".keras",
    ".safetensors", ".bst", ".ubj", ".cbm", ".gguf", ".tflite", ".model", ".pb", ".msgpack",
})  # fmt: skip


def find_models(root: str) -> list[ModelFile]:
    """Every model in model/, models/, artifacts/ and at the top of a repository, sorted by path.

    A Git LFS pointer counts only where a model would: in those folders, or under a model's file name.
    """
    found = []
    for path, is_dir in _candidates(root):
        host_path = os.path.join(root, path)
        model = _inspect_dir(host_path, path) if is_dir else inspect_file(host_path, path)
        if model is None or (model.framework == "lfs" and "/" not in path and not has_model_name(path)):
            continue
        if model.framework == "unknown" and not has_model_name(path):
            continue
        found.append(model)
    return sorted(found)


def has_model_name(path: str) -> bool:
    """The file's extension is one that models have."""
    return os.path.splitext(path)[1].lower() in _MODEL_NAMES  # noqa: PTH122 -- see the top of the file


def _candidates(root: str) -> Iterator[tuple[str, bool]]:
    count = 0
    queue = [("", 0)]
    while queue:
        folder, depth = queue.pop()
        for entry in sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                inside = depth > 0 or entry.name in PLACES
                if not inside or depth >= MAX_DEPTH:
                    continue
                if _is_model_dir(entry.path):
                    yield path, True
                else:
                    queue.append((path, depth + 1))
            elif entry.is_file(follow_symlinks=False) and os.path.splitext(entry.name)[1].lower() not in _NEVER:  # noqa: PTH122 -- see the top
                count += 1
                if count > MAX_FILES:
                    return
                yield path, False


def _is_model_dir(folder: str) -> bool:
    def has(name: str) -> bool:
        return os.path.exists(os.path.join(folder, name))

    return has("saved_model.pb") or has("MLmodel") or (has("config.json") and _weights(folder) != "")


def _weights(folder: str) -> str:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.endswith((".safetensors", ".gguf")) or entry.name.startswith(
            ("pytorch_model", "tf_model", "flax_model")
        ):
            return entry.name
    return ""


def _inspect_dir(folder: str, path: str) -> ModelFile | None:
    if os.path.isfile(os.path.join(folder, "MLmodel")):
        return ModelFile(path, "mlflow", "dir")
    if os.path.isfile(os.path.join(folder, "saved_model.pb")):
        return ModelFile(path, "tensorflow", "savedmodel")
    try:
        with open(os.path.join(folder, "config.json"), "rb") as file:
            config = json.loads(file.read(MAX_CONFIG_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if isinstance(config, dict) and ("architectures" in config or "model_type" in config):
        return ModelFile(path, "transformers", "dir", str(config.get("transformers_version", ""))[:40])
    return None
