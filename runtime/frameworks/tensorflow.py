"""TensorFlow SavedModel folders: their signatures, `serving_default` first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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

DISTRIBUTION = "tensorflow"
DEFAULT = "serving_default"


def bound_threads() -> None:
    """TensorFlow's two pools within the budget; without TensorFlow (another backend) there is nothing to bound."""
    try:
        import tensorflow as tf
    except ImportError:
        return
    tf.config.threading.set_intra_op_parallelism_threads(threads_per_call())
    tf.config.threading.set_inter_op_parallelism_threads(1)


def import_framework() -> str:
    """TensorFlow's version, its pools sized."""
    import tensorflow as tf

    bound_threads()
    return str(tf.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """Every signature of the folder; without one nobody knows how to ask."""
    del serve
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signatures = {str(name): _signature(function, loaded) for name, function in loaded.signatures.items()}
    if not signatures:
        raise NeedsCode(
            "a TensorFlow SavedModel without signatures",
            "`model.export(folder)` of Keras, or `tf.saved_model.save(model, folder, signatures=...)`, and push that "
            "folder; or a predict.py that calls the model",
        )
    default = DEFAULT if DEFAULT in signatures else next(iter(signatures))
    model = TensorModel(
        signatures=signatures, default=default, title=f"TensorFlow SavedModel ({default})", platform="tensorflow"
    )
    return Opened(model=model, zeros=zeros_body(signatures[default]))


def _signature(function: Any, owner: Any) -> Signature:
    _, taken = function.structured_input_signature
    given = function.structured_outputs
    return Signature(
        inputs=tuple(
            ArraySpec(name=name, datatype=_datatype(spec), shape=_shape(spec.shape)) for name, spec in taken.items()
        ),
        outputs=tuple(
            TensorSpec(name=name, datatype=_datatype(spec), shape=_shape(spec.shape) or ())
            for name, spec in given.items()
        ),
        run=SavedFunction(
            function=function,
            owner=owner,
            dtypes={name: spec.dtype for name, spec in taken.items()},
            outputs=tuple(given),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFunction:
    """A signature's function. owner: the loaded folder, which holds the variables and is kept alive by this."""

    function: Any
    owner: Any
    dtypes: Mapping[str, Any]
    outputs: tuple[str, ...]

    def __call__(self, arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        """Arrays in, arrays out."""
        import tensorflow as tf

        answer = self.function(**{name: tf.constant(array, self.dtypes[name]) for name, array in arrays.items()})
        return {name: answer[name].numpy() for name in self.outputs}


def _datatype(spec: Any) -> str:
    return DATATYPES.get(spec.dtype.name, "FP32")


def _shape(shape: Any) -> tuple[int, ...] | None:
    return None if shape.rank is None else tuple(-1 if size is None else int(size) for size in shape.as_list())
