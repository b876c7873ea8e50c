"""PyTorch: TorchScript archives and torch.export programs, on the CPU, without gradients."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import TensorSpec
from .casting import ArraySpec
from .dtypes import DATATYPES
from .loaded import NeedsCode, Opened
from .tensor_model import Signature, TensorModel, zeros_body
from .threads import threads_per_call

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "torch"
NEEDS_CODE = {
    "state_dict": ("the weights of a PyTorch model without its class (a state_dict)", "the class"),
    "module": ("a whole PyTorch module as a pickle, which needs the class that it was made from", "the class"),
    "legacy": ("a PyTorch file of before 1.6, which holds no program", "the class"),
}


def import_framework() -> str:
    """PyTorch's version, its pools sized."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about numpy and about its own future while it is imported
        import torch

    torch.set_num_threads(threads_per_call())
    if torch.get_num_interop_threads() != 1:  # it may be set once in a process, and then raises
        torch.set_num_interop_threads(1)
    return str(torch.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """The program of the file. Raises NeedsCode for files that hold weights alone."""
    if serve.format in NEEDS_CODE:
        found, what = NEEDS_CODE[serve.format]
        code = (
            f"a predict.py with {what}: `model = Net(); model.load_state_dict(torch.load(...))`, `def predict(...)`; "
            "or save it with torch.jit.script or torch.export, which keep the program"
        )
        raise NeedsCode(found, code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "torch.jit is deprecated": true, and nothing that a push can change
        signature, title = _exported(path) if serve.format == "export" else _scripted(path)
    model = TensorModel(
        signatures={"serving_default": signature}, default="serving_default", title=title, platform="pytorch"
    )
    return Opened(model=model, zeros=zeros_body(signature))


def _scripted(path: Path) -> tuple[Signature, str]:
    """TorchScript knows names of inputs, neither their shapes nor their types."""
    import torch

    module = torch.jit.load(str(path), map_location="cpu").eval()
    floating = next((tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()), None)
    datatype = {torch.float64: "FP64", torch.float16: "FP16"}.get(floating, "FP32")
    arguments = list(module.forward.schema.arguments)[1:]
    others = [argument.name for argument in arguments if str(argument.type) != "Tensor" and not _has_default(argument)]
    if others:
        raise NeedsCode(
            f"a TorchScript program whose input {others[0]} is no tensor", "a predict.py that makes its inputs"
        )
    tensors = [argument.name for argument in arguments if str(argument.type) == "Tensor"]
    tokens = _token_inputs(module)
    inputs = tuple(
        ArraySpec(name=name, datatype="INT64" if name in tokens else datatype, shape=None) for name in tensors
    )

    def run(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        with torch.inference_mode():
            values = {spec.name: _tensor(arrays[spec.name], floating) for spec in inputs}
            return _outputs(module(**values))

    returns = [str(value.type) for value in module.forward.schema.returns]
    outputs = (TensorSpec(name="output_0", datatype=datatype, shape=(-1,)),) if returns == ["Tensor"] else ()
    return Signature(inputs=inputs, outputs=outputs, run=run), f"TorchScript {module.original_name}"


def _has_default(argument: Any) -> bool:
    return bool(argument.has_default_value())


def _token_inputs(module: Any) -> set[str]:
    """Inputs that index an embedding: whole numbers, where a program says nothing of types."""
    graph = module.inlined_graph
    looked_up = {list(node.inputs())[1].debugName() for node in graph.findAllNodes("aten::embedding")}
    names = [argument.name for argument in module.forward.schema.arguments]
    return {name for name, value in zip(names, graph.inputs(), strict=False) if value.debugName() in looked_up}


def _exported(path: Path) -> tuple[Signature, str]:
    """An exported program knows everything of its inputs and outputs."""
    import torch
    from torch.utils import _pytree as pytree

    program = torch.export.load(str(path))
    module = program.module()
    known = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    taken = list(program.graph_signature.user_inputs)
    inputs = tuple(_array_spec(name, known[name]) for name in taken if isinstance(name, str) and name in known)

    def run(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        flat = [_tensor(arrays[name], None) if isinstance(name, str) and name in known else name for name in taken]
        arguments, named = pytree.tree_unflatten(flat, program.call_spec.in_spec)
        with torch.inference_mode():
            return _outputs(module(*arguments, **named))

    given = program.graph_signature.user_outputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    outputs = tuple(
        TensorSpec(name=f"output_{index}", datatype=_datatype(values[name]), shape=_shape(values[name]))
        for index, name in enumerate(given)
        if isinstance(name, str) and hasattr(values.get(name), "dtype")
    )
    return Signature(inputs=inputs, outputs=outputs, run=run), "torch.export program"


def _array_spec(name: str, value: Any) -> ArraySpec:
    if not hasattr(value, "dtype"):
        raise NeedsCode(f"a torch.export program whose input {name} is no tensor", "a predict.py that makes its inputs")
    return ArraySpec(name=name, datatype=_datatype(value), shape=_shape(value))


def _datatype(value: Any) -> str:
    return DATATYPES.get(str(value.dtype).removeprefix("torch."), "FP32")


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in value.shape)


def _tensor(array: Any, floating: Any) -> Any:
    """A tensor of its own memory: a request's bytes may be read-only. floating: the dtype of the model's weights."""
    import torch

    tensor = torch.tensor(array)
    return tensor.to(floating) if floating is not None and tensor.is_floating_point() else tensor


def _outputs(answer: Any) -> Mapping[str, Any]:
    """One tensor, several, or tensors by name, as arrays by name."""
    if isinstance(answer, Mapping):
        return {str(name): _array(value) for name, value in answer.items()}
    listed: Sequence[Any] = answer if isinstance(answer, (list, tuple)) else [answer]
    return {f"output_{index}": _array(value) for index, value in enumerate(listed)}


def _array(value: Any) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return value
    wide = value.float() if value.dtype == torch.bfloat16 else value  # numpy has no bfloat16
    return wide.detach().cpu().numpy()
