"""LightGBM: boosters in text form, and pickled boosters or classifiers. `predict` is Booster.predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import TensorSpec
from ..rows import RowSpec
from .loaded import Opened
from .row_model import RowModel, zeros_body
from .threads import threads_per_call

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "lightgbm"


def import_framework() -> str:
    """LightGBM's version."""
    import lightgbm

    return str(lightgbm.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """The booster of the file."""
    import lightgbm

    if serve.format == "pickle":
        from .sklearn import estimator_of, make_sklearn_model, read_pickle

        held, _ = read_pickle(path)
        if isinstance(held, lightgbm.Booster):
            model = _booster_model(held)
        else:
            model = make_sklearn_model(estimator_of(held), title="LightGBM", platform="lightgbm")
    else:
        model = _booster_model(lightgbm.Booster(model_file=path))
    return Opened(model=model, zeros=zeros_body(model))


def _booster_model(booster: Any) -> RowModel:
    threads = threads_per_call()
    width = int(booster.num_model_per_iteration())
    names = tuple(str(name) for name in booster.feature_name())
    if all(name == f"Column_{index}" for index, name in enumerate(names)):
        names = ()  # LightGBM's own names for columns that had none

    def ask(rows: Any, *, raw: bool = False) -> Any:
        return booster.predict(rows, num_threads=threads, raw_score=raw)

    return RowModel(
        methods={"predict": ask, "predict_raw": lambda rows: ask(rows, raw=True)},
        method="predict",
        spec=RowSpec(feature_count=int(booster.num_feature()), feature_names=names, as_frame=False, takes_texts=False),
        title="LightGBM Booster",
        platform="lightgbm",
        outputs=(TensorSpec(name="predict", datatype="FP64", shape=(-1, width) if width > 1 else (-1,)),),
    )
