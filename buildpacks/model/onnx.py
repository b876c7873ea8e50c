"""ONNX files: inputs, outputs, operator sets and who made them, with the weights skipped.

Source  https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (ModelProto, GraphProto, ValueInfoProto, TensorProto)
"""

from __future__ import annotations

import os
from typing import BinaryIO

from buildpacks.model.file import ModelFile
from buildpacks.model.protobuf import BYTES, VARINT, Field, Message, NotProtobuf, signed
from buildpacks.model.tensors import Tensor, render_tensors

# ModelProto's fields; a file with any other is something else.
_TOP = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})
_FIRST_WITHOUT_INITIALIZER_INPUTS = 4  # IR version from which weights need not stand among the inputs
_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip


def read_onnx(file: BinaryIO, path: str) -> ModelFile | None:
    """The model when the whole file is one ModelProto with a graph and its operator sets; None when it is not.

    Why  its first bytes, `08 xx`, are those of any small message: the whole structure is the signature
    """
    message = Message(file)
    size_bytes = file.seek(0, os.SEEK_END)
    single: dict[int, Field] = {}
    opsets = []
    try:
        for field in message.walk(0, size_bytes):
            if field.number not in _TOP:
                return None
            if field.number == 8:
                opsets.append(field)
            single[field.number] = field
        if not (1 in single and 7 in single and opsets and 1 <= single[1].value <= 32):
            return None
    except NotProtobuf:
        return None
    ir = single[1].value
    detail: dict[str, str | int] = {"ir": ir, "evidence": "one ONNX ModelProto"}
    if 2 in single:
        detail["producer"] = message.text(single[2], 80)
    if 3 in single and single[3].wire == BYTES:
        detail["producer_version"] = message.text(single[3], 40)
    detail["opset"] = max((_opset(message, field) for field in opsets), default=0)
    try:
        inputs, outputs = _graph(message, single[7], ir)
    except NotProtobuf:
        inputs, outputs = [], []
    for name, tensors in (("inputs", inputs), ("outputs", outputs)):
        if tensors:
            detail[name] = render_tensors(tensors)
    return ModelFile(path, "onnx", "onnx", "", detail)


def _opset(message: Message, field: Field) -> int:
    # The default domain's number is what people call the opset; others (ai.onnx.ml) count on their own.
    domain, version = "", 0
    for part in message.walk(field.start, field.size):
        if part.number == 1 and part.wire == BYTES:
            domain = message.text(part)
        elif part.number == 2 and part.wire == VARINT:
            version = signed(part.value)
    return version if domain in {"", "ai.onnx"} and 0 < version < 10_000 else 0


def _graph(message: Message, graph: Field, ir: int) -> tuple[list[Tensor], list[Tensor]]:
    inputs, outputs = [], []
    weights: set[str] = set()
    for field in message.walk(graph.start, graph.size):
        if field.wire != BYTES:
            continue
        if field.number == 11:
            inputs.append(_value(message, field))
        elif field.number == 12:
            outputs.append(_value(message, field))
        elif field.number == 5 and ir < _FIRST_WITHOUT_INITIALIZER_INPUTS:
            weights.update(message.text(part) for part in message.walk(field.start, field.size) if part.number == 8)
    return [tensor for tensor in inputs if tensor.name not in weights], outputs


def _value(message: Message, field: Field) -> Tensor:
    name, dtype, shape = "", "", None
    for part in message.walk(field.start, field.size):
        if part.number == 1 and part.wire == BYTES:
            name = message.text(part)
        elif part.number == 2 and part.wire == BYTES:
            for kind in message.walk(part.start, part.size):
                if kind.number == 1 and kind.wire == BYTES:  # tensor_type; sequences and maps have no shape
                    dtype, shape = _tensor_type(message, kind)
                elif kind.wire == BYTES:
                    dtype = {4: "sequence", 5: "map", 8: "sparse", 9: "optional"}.get(kind.number, "")
    return Tensor(name, dtype, shape)


def _tensor_type(message: Message, field: Field) -> tuple[str, tuple[int | None, ...] | None]:
    dtype, shape = "", None
    for part in message.walk(field.start, field.size):
        if part.number == 1 and part.wire == VARINT:
            dtype = _TYPES.get(part.value, f"type {part.value}")
        elif part.number == 2 and part.wire == BYTES:
            shape = tuple(_dimension(message, dim) for dim in message.walk(part.start, part.size) if dim.number == 1)[
                :16
            ]
    return dtype, shape


def _dimension(message: Message, field: Field) -> int | None:
    for part in message.walk(field.start, field.size):
        if part.number == 1 and part.wire == VARINT and 0 <= signed(part.value) < 1 << 40:
            return part.value
    return None
