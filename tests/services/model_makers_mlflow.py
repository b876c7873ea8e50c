"""Runs in an environment of its own: MLflow model folders with their answers, into the folder argv[1]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

OUT = Path(sys.argv[1])
ROWS, CLASSES = load_iris(return_X_y=True)
ASKED = [[5.1, 3.5, 1.4, 2], [6.3, 3.3, 6.0, 3]]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
cases: list[dict[str, Any]] = []


def case(name: str, calls: list[dict[str, Any]]) -> None:
    cases.append({"name": name, "file": name, "serve": {"framework": "mlflow", "format": "dir"}, "calls": calls})


def calls_of(answer: Any) -> list[dict[str, Any]]:
    return [
        {"path": "/predict", "body": {"instances": ASKED}, "answer": {"predictions": answer}},
        {"path": "/v1/models/iris:predict", "body": {"instances": ASKED}, "answer": {"predictions": answer}},
    ]


# The last column is a `long`: MLflow itself refuses a float there, and JSON has one kind of number.
frame = pd.DataFrame(ROWS, columns=NAMES).astype({"petal_width": "int64"})
by_column = LogisticRegression(max_iter=500).fit(frame, CLASSES)
mlflow.sklearn.save_model(
    by_column, OUT / "mlflow-columns", signature=infer_signature(frame, by_column.predict(frame)),
    serialization_format="pickle", pip_requirements=["scikit-learn", "pandas"],
)  # fmt: skip
asked = pd.DataFrame(ASKED, columns=NAMES).astype({"petal_width": "int64"})
answer = mlflow.pyfunc.load_model(str(OUT / "mlflow-columns")).predict(asked).tolist()
by_name = [dict(zip(NAMES, row, strict=True)) for row in ASKED]
case(
    "mlflow-columns",
    [*calls_of(answer), {"path": "/predict", "body": {"instances": by_name}, "answer": {"predictions": answer}}],
)

by_tensor = LogisticRegression(max_iter=500).fit(ROWS, CLASSES)
mlflow.sklearn.save_model(
    by_tensor, OUT / "mlflow-tensors", signature=infer_signature(ROWS, by_tensor.predict(ROWS)),
    serialization_format="pickle", pip_requirements=["scikit-learn"],
)  # fmt: skip
case(
    "mlflow-tensors",
    calls_of(mlflow.pyfunc.load_model(str(OUT / "mlflow-tensors")).predict(np.asarray(ASKED)).tolist()),
)

(OUT / "cases.json").write_text(json.dumps(cases))
