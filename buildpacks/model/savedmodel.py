"""TensorFlow SavedModel folders: the serving signature and the version that wrote it, read from saved_model.pb.

Source  tensorflow/core/protobuf/{saved_model,meta_graph}.proto, framework/types.proto (2.21)
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from buildpacks.model.protobuf import BYTES, VARINT, Field, Message, NotProtobuf, signed
from buildpacks.model.tensors import Tensor, render_tensors

_TYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64",
    9: "int64", 10: "bool", 14: "bfloat16", 17: "uint16", 18: "complex128", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip
_VERSION = re.compile(r"\d+\.\d+\.\d+[0-9A-Za-z.-]{0,20}")
PREFERRED = ("serving_default", "serve")


def read_saved_model(file: BinaryIO) -> tuple[str, dict[str, str | int]]:
    """Version of TensorFlow ('' when the file is silent) and facts: signature, signatures, inputs, outputs.

    Raises  NotProtobuf for a file that is no SavedModel
    """
    message = Message(file)
    version = ""
    signatures: dict[str, Field] = {}
    graphs = 0
    for top in message.walk(0, file.seek(0, os.SEEK_END)):
        if top.number != 2 or top.wire != BYTES:
            continue
        graphs += 1
        for field in message.walk(top.start, top.size):
            if field.number == 1 and field.wire == BYTES:
                version = version or _version(message, field)
            elif field.number == 5 and field.wire == BYTES:
                name, value = _entry(message, field)
                if value is not None:
                    signatures.setdefault(name, value)
    if graphs == 0:
        raise NotProtobuf("no graph")
    return version, _facts(message, signatures)


def _facts(message: Message, signatures: dict[str, Field]) -> dict[str, str | int]:
    names = sorted(name for name in signatures if not name.startswith("__"))
    detail: dict[str, str | int] = {"signatures": ", ".join(names)[:400]}
    chosen = next((name for name in PREFERRED if name in signatures), names[0] if len(names) == 1 else "")
    if not chosen:
        return detail
    detail["signature"] = chosen[:100]
    sides: dict[int, list[Tensor]] = {1: [], 2: []}
    for field in message.walk(signatures[chosen].start, signatures[chosen].size):
        if field.number in sides and field.wire == BYTES:
            name, value = _entry(message, field)
            if value is not None:
                sides[field.number].append(_tensor(message, name, value))
    for side, key in ((1, "inputs"), (2, "outputs")):
        if sides[side]:
            detail[key] = render_tensors(sorted(sides[side], key=lambda tensor: tensor.name))
    return detail


def _version(message: Message, meta: Field) -> str:
    for field in message.walk(meta.start, meta.size):
        if field.number == 5 and field.wire == BYTES:
            text = message.text(field, 40)
            return text if _VERSION.fullmatch(text) else ""
    return ""


def _entry(message: Message, field: Field) -> tuple[str, Field | None]:
    """A map's entry: key 1, value 2."""
    name, value = "", None
    for part in message.walk(field.start, field.size):
        if part.number == 1 and part.wire == BYTES:
            name = message.text(part)
        elif part.number == 2 and part.wire == BYTES:
            value = part
    return name, value


def _tensor(message: Message, name: str, field: Field) -> Tensor:
    dtype, shape = "", None
    for part in message.walk(field.start, field.size):
        if part.number == 2 and part.wire == VARINT:
            dtype = _TYPES.get(part.value, f"type {part.value}")
        elif part.number == 3 and part.wire == BYTES:
            shape = _shape(message, part)
    return Tensor(name, dtype, shape)


def _shape(message: Message, field: Field) -> tuple[int | None, ...] | None:
    sizes: list[int | None] = []
    for part in message.walk(field.start, field.size):
        if part.number == 3 and part.value:
            return None
        if part.number == 2 and part.wire == BYTES:
            size = next((signed(s.value) for s in message.walk(part.start, part.size) if s.number == 1), 0)
            sizes.append(size if 0 <= size < 1 << 40 else None)
    return tuple(sizes[:16])
