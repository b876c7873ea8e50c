"""Runs in an environment of its own: CatBoost models with their answers, into the folder argv[1]."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import catboost
import numpy as np

OUT = Path(sys.argv[1])
RANDOM = np.random.default_rng(7)
ROWS = RANDOM.normal(size=(80, 3))
ASKED = ROWS[:2].round(3).tolist()
cases: list[dict[str, Any]] = []


def case(name: str, model: Any, more: dict[str, str]) -> None:
    """A model of three numbers; more: a signature's name to the kind of prediction that it has to be."""
    model.save_model(str(OUT / f"{name}.cbm"), format="cbm")
    plain = catboost.CatBoost().load_model(str(OUT / f"{name}.cbm"))
    answer = np.asarray(plain.predict(ASKED)).tolist()
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP64", "data": np.ravel(ASKED).tolist()}
    calls = [
        {"path": "/predict", "body": {"instances": ASKED}, "answer": {"predictions": answer}},
        {"path": "/v1/models/iris:predict", "body": {"inputs": ASKED}, "answer": {"outputs": answer}},
        {"path": "/v2/models/iris/infer", "body": {"inputs": [tensor]}, "answer": {"data": np.ravel(answer).tolist()}},
    ]
    for signature, kind in more.items():
        found = np.asarray(plain.predict(ASKED, prediction_type=kind)).tolist()
        body = {"signature_name": signature, "instances": ASKED}
        calls.append({"path": "/v1/models/iris:predict", "body": body, "answer": {"predictions": found}})
    serve = {"framework": "catboost", "format": "cbm"}
    cases.append({"name": name, "file": f"{name}.cbm", "serve": serve, "calls": calls})


silent: dict[str, Any] = {"iterations": 5, "depth": 2, "verbose": False, "allow_writing_files": False, "random_seed": 7}
regression = catboost.CatBoostRegressor(**silent).fit(ROWS, ROWS[:, 0] * 2 + 1)
case("catboost-regression", regression, {})
classes = catboost.CatBoostClassifier(**silent).fit(ROWS, (ROWS[:, 0] > 0).astype(int))
case("catboost-classes", classes, {"predict_class": "Class", "predict_proba": "Probability"})


# A pickle knows its class, whose predict() answers classes; the environment has no joblib.
(OUT / "classes.pkl").write_bytes(pickle.dumps(classes))
body, found = {"instances": ASKED}, np.asarray(classes.predict(ASKED)).tolist()
calls = [{"path": "/predict", "body": body, "answer": {"predictions": found}}]
serve = {"framework": "catboost", "format": "pickle"}
cases.append({"name": "catboost-pickle", "file": "classes.pkl", "serve": serve, "calls": calls})

(OUT / "cases.json").write_text(json.dumps(cases))
