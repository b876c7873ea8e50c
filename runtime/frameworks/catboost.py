"""CatBoost: models in cbm form, and pickled ones.

`predict` of a cbm file is that of catboost.CatBoost: the raw value, for a file does not say which of CatBoost's classes
wrote it. A pickle says it: its `predict` is that of its class. `predict_class` and `predict_proba` are there when the
loss function has them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import TensorSpec
from ..rows import RowSpec
from .loaded import Opened
from .row_model import RowModel, zeros_body
from .threads import threads_per_call

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "catboost"
CLASSIFYING = ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll", "MultiLogloss", "MultiCrossEntropy")


def import_framework() -> str:
    """CatBoost's version."""
    import catboost

    return str(catboost.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """The model of the file, with zeros as a first row where every feature is a number."""
    import catboost

    if serve.format == "pickle":
        from .sklearn import estimator_of, make_sklearn_model, read_pickle

        held, _ = read_pickle(path)
        booster = estimator_of(held)
        if not isinstance(booster, catboost.CatBoost):  # a pipeline that ends in one
            model = make_sklearn_model(booster, title="CatBoost", platform="catboost")
            return Opened(model=model, zeros=zeros_body(model))
    else:
        booster = catboost.CatBoost()
        booster.load_model(str(path), format="cbm")
    model = _catboost_model(booster)
    numbers = not booster.get_cat_feature_indices() and not booster.get_text_feature_indices()
    return Opened(model=model, zeros=[[0.0] * (model.spec.feature_count or 0)] if numbers else None)


def _catboost_model(booster: Any) -> RowModel:
    threads = threads_per_call()
    names = tuple(str(name) for name in booster.feature_names_ or ())
    count = len(names)
    if all(name == str(index) for index, name in enumerate(names)):
        names = ()  # CatBoost's own names for columns that had none
    categories = sorted({*booster.get_cat_feature_indices(), *booster.get_text_feature_indices()})
    loss = str((booster.get_all_params() or {}).get("loss_function", "")).partition(":")[0]
    kinds = {"predict_class": "Class", "predict_proba": "Probability"} if loss in CLASSIFYING else {}

    def asking(**options: str) -> Callable[[Any], Any]:
        return lambda rows: booster.predict(_with_categories(rows, categories), thread_count=threads, **options)

    from .sklearn import datatype_of

    several = loss.startswith("Multi")
    return RowModel(
        methods={"predict": asking(), **{name: asking(prediction_type=kind) for name, kind in kinds.items()}},
        method="predict",
        spec=RowSpec(feature_count=count, feature_names=names, as_frame=False),
        title=f"CatBoost {loss or 'model'}",
        platform="catboost",
        outputs=(
            TensorSpec(name="predict", datatype=datatype_of(booster, "predict"), shape=(-1, -1) if several else (-1,)),
        ),
    )


def _with_categories(rows: Any, categories: list[int]) -> Any:
    """CatBoost takes a category as text or a whole number, never as a float: JSON's 3 arrives here as 3.0.

    null is NaN in a row of numbers and None beside a text: the same category in both.
    """
    if not categories:
        return rows
    table = rows.astype(object)
    for column in categories:
        table[:, column] = [
            "nan" if cell is None else int(cell) if isinstance(cell, float) and cell.is_integer() else str(cell)
            for cell in table[:, column]
        ]
    return table
