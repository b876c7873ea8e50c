"""Folders that are one model: MLflow, SavedModel, transformers and its relatives, orbax. Their marks, then their facts.

Source  contracts 5.1; transformers 5 (config.json, *.index.json), sentence-transformers (modules.json), diffusers
        (model_index.json), PEFT (adapter_config.json), orbax (_CHECKPOINT_METADATA)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping

from buildpacks.model.file import ModelFile
from buildpacks.model.reading import is_file, open_plain, read_head
from buildpacks.model.signature import LFS, inspect_file

Look = Callable[[str, str], ModelFile | None]
MAX_FILES = 500
MAX_CONFIG_BYTES = 1 << 20
_MAX_POINTER_BYTES = 1024
_PICKLES = (".pkl", ".pickle", ".joblib", ".bin", ".pt", ".pth", ".ckpt")
_WEIGHTS = (".safetensors", ".gguf")
_WEIGHT_NAMES = ("pytorch_model", "tf_model", "flax_model")
# The first name that lies in a folder says what it is. Order matters: a SavedModel may lie inside an MLflow folder.
_MARKS = (
    ("MLmodel", "mlflow", "dir"),
    ("saved_model.pb", "tensorflow", "savedmodel"),
    ("model_index.json", "diffusers", "dir"),
    ("modules.json", "sentence-transformers", "dir"),
    ("adapter_config.json", "peft", "adapter"),
    ("_CHECKPOINT_METADATA", "orbax", "checkpoint"),
)
_TASKS = (
    ("ForSequenceClassification", "text-classification"), ("ForTokenClassification", "token-classification"),
    ("ForQuestionAnswering", "question-answering"), ("ForMaskedLM", "fill-mask"), ("ForCausalLM", "text-generation"),
    ("LMHeadModel", "text-generation"), ("ForConditionalGeneration", "text2text-generation"),
    ("ForImageClassification", "image-classification"), ("ForObjectDetection", "object-detection"),
    ("ForAudioClassification", "audio-classification"), ("ForCTC", "automatic-speech-recognition"),
    ("Model", "feature-extraction"),
)  # fmt: skip


def mark_of(names: frozenset[str]) -> str:
    """The name in a folder that makes it one model; '' for any other folder. Names only: nothing is opened."""
    for mark, _, _ in _MARKS:
        if mark in names:
            return mark
    if "config.json" in names and any(name.endswith(_WEIGHTS) or name.startswith(_WEIGHT_NAMES) for name in names):
        return "config.json"
    return ""


def inspect_folder(host_path: str, path: str, mark: str, look: Look = inspect_file) -> ModelFile | None:
    """The model in a folder with that mark; None for a config.json of something else."""
    files = _files(host_path)
    pointer = next((file for file in files if _is_pointer(file)), None)
    if pointer is not None:
        return inspect_file(pointer.path, _path_of(pointer, host_path, path))
    try:
        found = _read(host_path, path, mark)
    except Exception as error:  # noqa: BLE001 -- parsers of hostile bytes: any stumble means the same, and is told
        return ModelFile(path, "unknown", "damaged", "", {"error": type(error).__name__})
    if found is None:
        return None
    size_bytes = sum(file.stat(follow_symlinks=False).st_size for file in files)
    return found._replace(detail={**found.detail, "size": size_bytes, **_pickles(files, host_path, path, look)})


def _read(host_path: str, path: str, mark: str) -> ModelFile | None:
    if mark == "MLmodel":
        from buildpacks.model.mlflow import read_mlflow

        return read_mlflow(host_path, path)
    if mark == "saved_model.pb":
        return _saved_model(host_path, path)
    if mark == "config.json":
        return _transformers(host_path, path)
    framework, kind = next((framework, kind) for name, framework, kind in _MARKS if name == mark)
    return ModelFile(path, framework, kind, "", {"evidence": f"folder with {mark}"})


def _saved_model(host_path: str, path: str) -> ModelFile | None:
    from buildpacks.model.savedmodel import read_saved_model

    file = open_plain(f"{host_path}/saved_model.pb")
    if file is None:
        return None
    with file:
        version, facts = read_saved_model(file)
    detail: dict[str, str | int] = {"evidence": "folder with saved_model.pb", **facts}
    if is_file(f"{host_path}/keras_metadata.pb"):
        detail["keras"] = 2  # Keras 3 reads no SavedModel as a Keras model; TensorFlow itself does
    return ModelFile(path, "tensorflow", "savedmodel", version, detail)


def _transformers(host_path: str, path: str) -> ModelFile | None:
    config = json.loads(read_head(f"{host_path}/config.json", MAX_CONFIG_BYTES))
    if not isinstance(config, dict) or not ("architectures" in config or "model_type" in config):
        return None
    named = config.get("architectures")
    architecture = str(named[0])[:80] if isinstance(named, list) and named else ""
    detail: dict[str, str | int] = {
        "evidence": "folder with config.json and weights", "class": architecture,
        "model_type": str(config.get("model_type", ""))[:60],
    }  # fmt: skip
    task = next((task for end, task in _TASKS if architecture.endswith(end)), "")
    if task:
        detail["task"] = task
    names = os.listdir(host_path)
    detail["tokenizer"] = int(any(name.startswith(("tokenizer", "vocab", "spiece", "sentencepiece")) for name in names))
    if config.get("auto_map"):
        detail["own_code"] = 1
    missing = _missing_shards(host_path, names)
    if missing:
        detail["missing"] = missing
    is_flax = not any(name.endswith(_WEIGHTS) or name.startswith(_WEIGHT_NAMES[:2]) for name in names)
    framework = "flax" if is_flax else "transformers"
    return ModelFile(path, framework, "dir", str(config.get("transformers_version", "") or "")[:40], detail)


def _missing_shards(host_path: str, names: list[str]) -> str:
    """Files that an index of shards names and the folder lacks."""
    wanted: set[str] = set()
    for name in names:
        if name.endswith((".safetensors.index.json", ".bin.index.json")):
            index = json.loads(read_head(f"{host_path}/{name}", 8 << 20))
            files = index.get("weight_map") if isinstance(index, dict) else None
            here = {str(file) for file in files.values()} if isinstance(files, dict) else set()
            if here <= set(names):
                return ""  # one whole set is enough, whatever the other index names
            wanted |= here
    return ", ".join(sorted(wanted - set(names)))[:300]


def _files(host_path: str) -> list[os.DirEntry[str]]:
    found: list[os.DirEntry[str]] = []
    queue = [host_path]
    while queue:
        with os.scandir(queue.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False) and entry.name != ".git":
                    queue.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.append(entry)
                if len(found) >= MAX_FILES:
                    return found
    return found


def _is_pointer(file: os.DirEntry[str]) -> bool:
    if not 100 <= file.stat(follow_symlinks=False).st_size <= _MAX_POINTER_BYTES or file.name.startswith("."):
        return False
    return read_head(file.path, len(LFS)) == LFS


def _path_of(file: os.DirEntry[str], host_path: str, path: str) -> str:
    inner = file.path[len(host_path) + 1 :]
    return inner if path == "." else f"{path}/{inner}"


def _pickles(files: list[os.DirEntry[str]], host_path: str, path: str, look: Look) -> Mapping[str, str | int]:
    """What the pickles inside name beyond their lists, all together."""
    lists: dict[str, list[str]] = {"outside": [], "loud": []}
    unread = ""
    for file in files:
        if not file.name.endswith(_PICKLES):
            continue
        found = look(file.path, _path_of(file, host_path, path))
        if found is None:
            continue
        for key, names in lists.items():
            names.extend(json.loads(str(found.detail.get(key, "[]"))))
        if found.framework == "unknown" or "unread" in found.detail:
            unread = f"{file.name}: {found.detail.get('unread', 'damaged')}"
    facts: dict[str, str | int] = {key: json.dumps(sorted(set(names))[:30]) for key, names in lists.items() if names}
    return {**facts, "unread": unread} if unread else facts
