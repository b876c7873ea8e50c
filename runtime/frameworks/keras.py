"""Keras: `.keras` and H5 files, by Keras 3 on TensorFlow (or the backend that the app's environment names)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import TensorSpec
from .casting import ArraySpec
from .dtypes import DATATYPES
from .loaded import NeedsCode, Opened
from .tensor_model import Signature, TensorModel, zeros_body

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "keras"
# What Keras 3 says of a layer or a function that the file names and nobody has defined.
_OWN = re.compile(r"Could not locate (?:class|function) '([\w.>]+)'")


def import_framework() -> str:
    """Keras' version, its backend ready and its pools sized."""
    from .tensorflow import bound_threads

    bound_threads()
    import keras

    return str(keras.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """The model with its layers; a file of weights alone needs the code that made them."""
    if serve.format == "h5-weights":
        raise NeedsCode("the weights of a Keras model without its layers", "a predict.py that builds the layers")
    import keras

    # safe_mode stays on: a Lambda layer is code of a stranger in the file, and Keras then says so.
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError) as exc:
        unknown = _OWN.search(str(exc))
        if unknown is None or "keras 3." not in (serve.written_by or ""):
            raise
        raise NeedsCode(
            f"a Keras model with {unknown[1]}, which is no part of Keras",
            f"a predict.py that loads the file and defines {unknown[1]}, with "
            "@keras.saving.register_keras_serializable()",
        ) from exc
    if not network.inputs or not network.outputs:
        raise NeedsCode("a Keras model that does not say what it takes", "a predict.py that calls the model")
    inputs = tuple(_input(tensor, index) for index, tensor in enumerate(network.inputs))
    names = _output_names(network)

    def run(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        values = [arrays[spec.name] for spec in inputs]
        # predict_on_batch, not predict: no progress bar, no batches, no data pipeline around one call.
        answer = network.predict_on_batch(values[0] if len(values) == 1 else _fed(network, arrays, values))
        if isinstance(answer, Mapping):
            return dict(answer)
        return dict(zip(names, answer if isinstance(answer, (list, tuple)) else [answer], strict=True))

    outputs = tuple(
        TensorSpec(name=name, datatype=DATATYPES.get(str(tensor.dtype), "FP32"), shape=_shape(tensor.shape))
        for name, tensor in zip(names, network.outputs, strict=True)
    )
    signature = Signature(inputs=inputs, outputs=outputs, run=run)
    model = TensorModel(
        signatures={"serving_default": signature},
        default="serving_default",
        title=f"Keras {type(network).__name__} {network.name}",
        platform="keras",
    )
    return Opened(model=model, zeros=zeros_body(signature))


def _input(tensor: Any, index: int) -> ArraySpec:
    datatype = DATATYPES.get(str(tensor.dtype))
    if datatype is None:
        raise NeedsCode(f"a Keras model whose input {index} is {tensor.dtype}", "a predict.py that makes this input")
    return ArraySpec(name=str(tensor.name) or f"input-{index}", datatype=datatype, shape=_shape(tensor.shape))


def _fed(network: Any, arrays: Mapping[str, Any], values: list[Any]) -> Any:
    """By name when the model was made from a dict of inputs, else in their order."""
    structure = getattr(network, "_inputs_struct", None)
    return dict(arrays) if isinstance(structure, dict) and set(structure) == set(arrays) else values


def _output_names(network: Any) -> list[str]:
    names = list(getattr(network, "output_names", None) or ())
    count = len(network.outputs)
    return names if len(set(names)) == count else [f"output_{index}" for index in range(count)]


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(-1 if size is None else int(size) for size in shape)
