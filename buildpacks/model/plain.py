"""Flat model files with a mark of their own: safetensors, GGUF, TensorFlow Lite, OpenVINO, TensorRT, Flax.

Source  https://huggingface.co/docs/safetensors/index#format ; ggml docs/gguf.md; TFLite schema.fbs (`TFL3`);
        OpenVINO IR (`<net name= version=`); TensorRT (`ftrt`, unverified); Flax serialization (msgpack map)
"""

from __future__ import annotations

import json
import os
import re
from typing import BinaryIO

from buildpacks.model.file import ModelFile

MAX_HEADER_BYTES = 8 << 20
_NET = re.compile(rb'<net\s[^>]{0,200}?version="(\d{1,3})"')


def read_plain(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    """The model by its mark."""
    if head[8:10] == b'{"':
        return _safetensors(file, head, path)
    if head.startswith(b"GGUF"):
        return ModelFile(path, "gguf", "gguf", str(int.from_bytes(head[4:8], "little")), {
            "tensors": min(int.from_bytes(head[8:16], "little"), 1 << 40), "evidence": '"GGUF"',
        })  # fmt: skip
    if head[4:8] == b"TFL3":
        return ModelFile(path, "tflite", "tflite", "", {"evidence": '"TFL3"'})
    if head.startswith(b"ftrt"):
        return ModelFile(path, "tensorrt", "plan", "", {"evidence": '"ftrt"'})
    if path.endswith(".xml"):
        net = _NET.search(head[:2048])
        return None if net is None else ModelFile(path, "openvino", "ir", net[1].decode(), {"evidence": '"<net "'})
    if path.endswith(".msgpack") and head[:1] and (head[0] in {0xDE, 0xDF} or 0x81 <= head[0] <= 0x8F):
        return ModelFile(path, "flax", "msgpack", "", {"evidence": "a msgpack map"})
    return None


def _safetensors(file: BinaryIO, head: bytes, path: str) -> ModelFile | None:
    length = int.from_bytes(head[:8], "little")
    if not 2 <= length <= 100_000_000 or length + 8 > file.seek(0, os.SEEK_END):
        return None
    detail: dict[str, str | int] = {"evidence": "a safetensors header"}
    if length <= MAX_HEADER_BYTES:
        file.seek(8)
        header = json.loads(file.read(length))
        tensors = {name: value for name, value in header.items() if name != "__metadata__" and isinstance(value, dict)}
        detail["tensors"] = len(tensors)
        detail["parameters"] = sum(_count(value.get("shape")) for value in tensors.values())
        metadata = header.get("__metadata__")
        if isinstance(metadata, dict) and isinstance(metadata.get("format"), str):
            detail["written_for"] = metadata["format"][:20]
    return ModelFile(path, "safetensors", "weights", "", detail)


def _count(shape: object) -> int:
    count = 1
    for size in shape if isinstance(shape, list) else []:
        count *= size if isinstance(size, int) and 0 <= size < 1 << 40 else 0
    return min(count, 1 << 60)
