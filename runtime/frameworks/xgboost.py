"""XGBoost: boosters in JSON and UBJSON, and pickled boosters or classifiers.

`predict` is Booster.predict: for a classifier's file these are the probabilities, as XGBoost's own Booster gives them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import TensorSpec
from ..rows import RowSpec
from .loaded import Opened
from .row_model import RowModel, zeros_body
from .threads import threads_per_call

if TYPE_CHECKING:
    from ..settings import ServeDoc

DISTRIBUTION = "xgboost"


def import_framework() -> str:
    """XGBoost's version, from the module: the CPU build is a distribution of another name."""
    import xgboost

    return str(xgboost.__version__)


def open_model(path: Path, serve: ServeDoc) -> Opened:
    """The booster of the file."""
    import xgboost

    if serve.format == "pickle":
        from .sklearn import estimator_of, make_sklearn_model, read_pickle

        held, _ = read_pickle(path)
        if isinstance(held, xgboost.Booster):
            model = _booster_model(held)
        else:
            model = make_sklearn_model(estimator_of(held), title="XGBoost", platform="xgboost")
        return Opened(model=model, zeros=zeros_body(model))
    booster = xgboost.Booster()
    booster.load_model(path)
    model = _booster_model(booster)
    return Opened(model=model, zeros=zeros_body(model))


def _booster_model(booster: Any) -> RowModel:
    booster.set_param({"nthread": threads_per_call()})
    learner = json.loads(booster.save_config())["learner"]
    shape = learner["learner_model_param"]
    width = max(int(shape.get("num_class", 0)), int(shape.get("num_target", 1)))
    objective = learner["objective"]["name"]
    several = width > 1 and objective != "multi:softmax"
    names = tuple(str(name) for name in booster.feature_names or ())
    # What the model was trained with decides; files of a linear booster have no in-place way.
    linear = learner["gradient_booster"]["name"] == "gblinear"

    def ask(rows: Any, *, margin: bool = False) -> Any:
        if not linear:
            kind = "margin" if margin else "value"
            return booster.inplace_predict(rows, predict_type=kind, validate_features=False)
        import xgboost

        return booster.predict(
            xgboost.DMatrix(rows, feature_names=list(names) or None, nthread=threads_per_call()), output_margin=margin
        )

    return RowModel(
        methods={"predict": ask, "predict_margin": lambda rows: ask(rows, margin=True)},
        method="predict",
        spec=RowSpec(feature_count=int(booster.num_features()), feature_names=names, as_frame=False, takes_texts=False),
        title=f"XGBoost Booster ({objective})",
        platform="xgboost",
        outputs=(TensorSpec(name="predict", datatype="FP32", shape=(-1, width) if several else (-1,)),),
    )
