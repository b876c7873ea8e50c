"""MLflow model folders, through MLflow's own `python_function`: tables by column, or tensors, as the signature says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import TensorSpec
from ..refusal import Flaw, pointer, unfit
from ..rows import RowSpec
from .casting import ArraySpec
from .dtypes import DATATYPES
from .loaded import Opened
from .row_model import RowModel
from .tensor_model import Signature, TensorModel, zeros_body

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "mlflow"
# MLflow's column types that are numbers, to numpy's.
NUMBERS = {"long": "int64", "integer": "int32", "double": "float64", "float": "float32", "boolean": "bool"}

# The least value of a type of whole numbers, and the first beyond it: pandas would wrap what is out of it.
WHOLE = {"int64": (-(2**63), 2**63), "int32": (-(2**31), 2**31), "bool": (0, 2)}


def import_framework() -> str:
    """MLflow's version, from the module: the distribution may be mlflow-skinny."""
    import mlflow

    return str(mlflow.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """The folder's python_function."""
    del serve
    import mlflow

    loaded = mlflow.pyfunc.load_model(str(path))
    flavor = _flavor(loaded.metadata.flavors)
    schema = loaded.metadata.get_input_schema()
    if schema is not None and schema.is_tensor_spec():
        signature = _tensor_signature(loaded, schema)
        tensors = TensorModel(
            signatures={"serving_default": signature},
            default="serving_default",
            title=f"MLflow model ({flavor})",
            platform="mlflow",
        )
        return Opened(model=tensors, zeros=zeros_body(signature))
    types = {column.name: _type_name(column) for column in schema.inputs} if schema is not None else {}
    if any(name is None for name in types):
        types = {}

    def ask(rows: Any) -> Any:
        return loaded.predict(_typed(rows, types) if types else rows)

    model = RowModel(
        methods={"predict": ask},
        method="predict",
        spec=RowSpec(feature_count=len(types) or None, feature_names=tuple(types), as_frame=bool(types)),
        title=f"MLflow model ({flavor})",
        platform="mlflow",
        outputs=(TensorSpec(name="predict", datatype=_output_type(loaded), shape=(-1,)),),
    )
    all_numbers = bool(types) and all(name in NUMBERS for name in types.values())
    return Opened(model=model, zeros=[[0.0] * len(types)] if all_numbers else None)


def _flavor(flavors: Mapping[str, Any]) -> str:
    return next((name for name in flavors if name != "python_function"), "python_function")


def _type_name(column: Any) -> str:
    return str(getattr(column.type, "name", column.type))


def _typed(frame: Any, types: Mapping[str, str]) -> Any:
    """Columns as the signature says: JSON has one kind of number, and MLflow refuses a float where it wants a long."""
    made = frame.copy()
    for index, (name, kind) in enumerate(types.items()):
        wanted = NUMBERS.get(kind)
        if wanted is None:
            continue
        column = made[name]
        if column.dtype.kind not in "fiub":
            raise unfit(Flaw(path=pointer(name), message=f"expected numbers in column {index} ({name}, {kind})"))
        if wanted in WHOLE:
            if column.isna().any() or (column != column.round()).any():
                message = f"expected whole numbers in column {index} ({name}, {kind})"
                raise unfit(Flaw(path=pointer(name), message=message))
            least, beyond = WHOLE[wanted]
            if column.min() < least or column.max() >= beyond:
                message = f"a number is out of the range of {kind} in column {index} ({name})"
                raise unfit(Flaw(path=pointer(name), message=message))
        made[name] = column.astype(wanted)
    return made


def _tensor_signature(loaded: Any, schema: Any) -> Signature:
    specs = list(schema.inputs)
    inputs = tuple(
        ArraySpec(name=spec.name or f"input-{index}", datatype=DATATYPES.get(str(spec.type), "FP32"), shape=spec.shape)
        for index, spec in enumerate(specs)
    )
    named = bool(specs[0].name)

    def run(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = loaded.predict(dict(arrays) if named else arrays[inputs[0].name])
        return answer if isinstance(answer, dict) else {"output_0": answer}

    return Signature(inputs=inputs, outputs=(), run=run)


def _output_type(loaded: Any) -> str:
    schema = loaded.metadata.get_output_schema()
    first = schema.inputs[0] if schema is not None and schema.inputs else None
    kind = "" if first is None else str(getattr(first.type, "name", first.type))
    return DATATYPES.get(NUMBERS.get(kind, kind), "FP64")
