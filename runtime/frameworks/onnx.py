"""ONNX, by onnxruntime: typed inputs and outputs by name, threads from the budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import TensorSpec
from .casting import ArraySpec
from .loaded import NeedsCode, Opened
from .tensor_model import Signature, TensorModel, zeros_body
from .threads import threads_per_call

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "onnxruntime"
# onnxruntime's names for element types. Source: OrtValue, C API reference, ONNXTensorElementDataType.
DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(float16)": "FP16",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
}


def import_framework() -> str:
    """onnxruntime's version."""
    import onnxruntime

    return str(onnxruntime.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """A session on the CPU."""
    del serve
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads_per_call()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # its warnings about initializers would drown the log of a push
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = tuple(_input(node) for node in session.get_inputs())
    outputs = session.get_outputs()
    names = [node.name for node in outputs]
    # Classifiers of scikit-learn's converter end in a list of {class: probability}, which is no tensor: metadata says
    # BYTES, its JSON text, and the native answer holds the objects.
    described = tuple(
        TensorSpec(name=node.name, datatype=DATATYPES.get(node.type, "BYTES"), shape=_shape(node.shape))
        for node in outputs
    )

    def run(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        return dict(zip(names, session.run(names, dict(arrays)), strict=True))

    signature = Signature(inputs=inputs, outputs=described, run=run)
    graph = session.get_modelmeta().graph_name
    model = TensorModel(
        signatures={"serving_default": signature},
        default="serving_default",
        title=f"ONNX {graph}" if graph else "ONNX model",
        platform="onnx_onnxv1",  # Triton's name for it, which V2 clients know
    )
    return Opened(model=model, zeros=zeros_body(signature))


def _input(node: Any) -> ArraySpec:
    datatype = DATATYPES.get(node.type)
    if datatype is None:
        raise NeedsCode(
            f"an ONNX graph whose input {node.name} is a {node.type}, which no request can carry",
            "a predict.py that makes this input and calls onnxruntime",
        )
    return ArraySpec(name=node.name, datatype=datatype, shape=_shape(node.shape))


def _shape(shape: list[Any]) -> tuple[int, ...]:
    """Named and unnamed variable axes are -1."""
    return tuple(size if isinstance(size, int) and size >= 0 else -1 for size in shape)
