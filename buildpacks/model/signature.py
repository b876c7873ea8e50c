"""What a file is, by its first bytes: framework, kind, version. Nothing of the file is executed.

A reader that stumbles says `unknown`: a damaged or hostile file is a fact about the repository, not an error of ours.

Source  contracts 5.1
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from buildpacks.model.archives import read_archive
from buildpacks.model.file import HEAD_BYTES, ModelFile
from buildpacks.model.pickles import looks_like_pickle, read_pickle

_LFS = b"version https://git-lfs.github.com/spec/v1"
_LFS_SIZE = re.compile(rb"^size (\d{1,15})$", re.MULTILINE)
_XGB_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})')
_ONNX_PRODUCER = re.compile(rb"\x12[\x00-\x40]([\w.-]{2,40})")
_TORCH_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_FAMILIES = {
    "sklearn": "sklearn",
    "torch": "torch",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
}
MAX_TAIL_BYTES = 1 << 16


def inspect_file(host_path: str, path: str) -> ModelFile | None:
    """The model that a regular file holds, None when it holds none that we know.

    host_path  where it lies; path  its name in the repository
    returns    framework 'unknown' for a file that begins like a model and is damaged
    """
    try:
        # O_NOFOLLOW and O_NONBLOCK: a link leads elsewhere, a pipe would wait for ever.
        descriptor = os.open(host_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            found = read_model(file, path)
            size_bytes = os.fstat(file.fileno()).st_size
        except Exception as error:  # noqa: BLE001 -- parsers of hostile bytes: any stumble means the same, and is told
            return ModelFile(path, "unknown", "damaged", "", {"error": type(error).__name__})
    if found is None:
        return None
    return found._replace(detail={**found.detail, "size": found.detail.get("size", size_bytes)})


def read_model(file: BinaryIO, path: str) -> ModelFile | None:
    """The model in an open file; raises whatever its parsers raise."""
    head = file.read(HEAD_BYTES)
    if head.startswith(_LFS):
        size = _LFS_SIZE.search(head)
        return ModelFile(path, "lfs", "pointer", "", {"size": int(size[1]) if size else 0})
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        return read_archive(file, path)
    return _by_head(file, head, path)


def _by_head(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    if looks_like_pickle(head):
        return _pickle(file, head, path)
    for read in (_safetensors, _hdf5, _xgboost, _lightgbm, _flat, _onnx):
        found = read(file, head, path)
        if found is not None:
            return found
    return None


def _pickle(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    if _TORCH_LEGACY in head[:64]:
        return ModelFile(path, "torch", "legacy")
    found = read_pickle(file, head)
    if found is None:
        return None  # gzip and friends are not models by themselves
    family = _FAMILIES.get(found.module.split(".")[0], "pickle")
    detail: dict[str, str | int] = {"class": found.name[:80], "module": found.module[:120]}
    if found.features is not None:
        detail["features"] = found.features
    kind = "pickle" if found.module else "container"
    return ModelFile(path, family, kind, found.sklearn_version if family in {"sklearn", "pickle"} else "", detail)


def _safetensors(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    if head[8:10] != b'{"':
        return None
    length = int.from_bytes(head[:8], "little")
    if not 2 <= length <= 100_000_000 or length + 8 > file.seek(0, os.SEEK_END):
        return None
    return ModelFile(path, "safetensors", "weights")


def _hdf5(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    if not head.startswith(b"\x89HDF\r\n\x1a\n"):
        return None
    file.seek(0)
    data = file.read(MAX_TAIL_BYTES * 4)
    version = re.search(rb"keras_version[\s\S]{0,200}?(\d+\.\d+\.\d+)", data)
    kind = "h5" if b"model_config" in data else "h5-weights"
    return ModelFile(path, "keras", kind, version[1].decode() if version else "")


def _xgboost(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    compact = head[:200].replace(b" ", b"").replace(b"\n", b"")
    if compact.startswith((b'{"learner"', b'{"version":[')) and (b"learner" in head):
        kind = "json"
    elif head[:1] == b"{" and b"learner" in head[:64] and head[1:2] in {b"L", b"i", b"l", b"I"}:
        return ModelFile(path, "xgboost", "ubj")
    else:
        return None
    file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_TAIL_BYTES))
    match = _XGB_VERSION.search(head) or _XGB_VERSION.search(file.read(MAX_TAIL_BYTES))
    return ModelFile(path, "xgboost", kind, b".".join(match.groups()).decode() if match else "")


def _lightgbm(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    del file
    if not head.startswith((b"tree\nversion=", b"tree\r\nversion=")):
        return None
    return ModelFile(
        path, "lightgbm", "text", head.split(b"version=", 1)[1].split(b"\n", 1)[0].strip()[:20].decode("ascii")
    )


def _flat(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    del file
    if head.startswith(b"GGUF"):
        return ModelFile(path, "gguf", "gguf", str(int.from_bytes(head[4:8], "little")))
    if head[4:8] == b"TFL3":
        return ModelFile(path, "tflite", "tflite")
    if head.startswith(b"CBM1"):
        return ModelFile(path, "catboost", "cbm")
    return None


def _onnx(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    # ModelProto: field 1 (ir_version) varint, then field 2 (producer_name) string. Too weak alone for any name.
    del file
    if head[:1] != b"\x08" or not 1 <= (head[1] if len(head) > 1 else 0) <= 32 or not path.endswith(".onnx"):
        return None
    match = _ONNX_PRODUCER.match(head, 2)
    return ModelFile(path, "onnx", "onnx", "", {"producer": match[1].decode("ascii")} if match else {})
