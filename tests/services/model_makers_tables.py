"""Runs in an environment of its own: models of tables, each with its framework's answers, into the folder argv[1]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnx
import onnxruntime
import sklearn
import skops.io
import xgboost
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

OUT = Path(sys.argv[1])
ROWS, CLASSES = load_iris(return_X_y=True)
ASKED = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]
NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
cases: list[dict[str, Any]] = []


def shortest(values: Any) -> Any:
    """float32 as the shortest decimals that read back as the same float32."""
    array = np.asarray(values)
    return [shortest(part) for part in array] if array.ndim else float(str(array[()]))


def tables(name: str, file: str, serve: dict[str, Any], answer: Any, more: list[dict[str, Any]] | None = None) -> None:
    """A case whose model takes rows of iris; all three contracts have to give the same."""
    flat = np.asarray(ASKED)
    tensor = {"name": "x", "shape": list(flat.shape), "datatype": "FP64", "data": flat.reshape(-1).tolist()}
    calls = [
        {"path": "/predict", "body": {"instances": ASKED}, "answer": {"predictions": answer}},
        {"path": "/predict", "body": ASKED[0], "answer": {"predictions": answer[:1]}},
        {"path": "/v1/models/iris:predict", "body": {"instances": ASKED}, "answer": {"predictions": answer}},
        {"path": "/v2/models/iris/infer", "body": {"inputs": [tensor]}, "answer": {"data": np.ravel(answer).tolist()}},
        *(more or []),
    ]
    cases.append({"name": name, "file": file, "serve": serve, "calls": calls})


classifier = xgboost.XGBClassifier(n_estimators=4, max_depth=3).fit(ROWS, CLASSES)
classifier.save_model(OUT / "iris.xgb.json")
answer = shortest(classifier.get_booster().predict(xgboost.DMatrix(np.asarray(ASKED))))
written = {"framework": "xgboost", "written_by": f"xgboost {xgboost.__version__}"}
tables("xgboost-json", "iris.xgb.json", {**written, "format": "json"}, answer)
regression = xgboost.train({"max_depth": 2}, xgboost.DMatrix(ROWS, CLASSES, feature_names=NAMES), 3)
regression.save_model(OUT / "iris.ubj")
answer = shortest(regression.predict(xgboost.DMatrix(np.asarray(ASKED), feature_names=NAMES)))
by_name = {"path": "/predict", "body": dict(zip(NAMES, ASKED[1], strict=True)), "answer": {"predictions": answer[1:]}}
tables("xgboost-ubj", "iris.ubj", {**written, "format": "ubj"}, answer, [by_name])
joblib.dump(classifier, OUT / "iris.xgb.pkl")
tables("xgboost-pickle", "iris.xgb.pkl", {**written, "format": "pickle"}, classifier.predict(ASKED).tolist())

forest = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, lightgbm.Dataset(ROWS, CLASSES), 4)
forest.save_model(OUT / "iris.lgb.txt")
tables(
    "lightgbm-text",
    "iris.lgb.txt",
    {"framework": "lightgbm", "format": "text"},
    np.asarray(forest.predict(np.asarray(ASKED))).tolist(),
)

scaler = StandardScaler().fit(ROWS)
linear = LogisticRegression(max_iter=500).fit(scaler.transform(ROWS), CLASSES)
pipeline = make_pipeline(scaler, linear)
by_sklearn = {"framework": "sklearn", "written_by": f"scikit-learn {sklearn.__version__}"}
classes = pipeline.predict(ASKED).tolist()
joblib.dump({"model": linear, "scaler": scaler, "features": NAMES}, OUT / "bundle.joblib")
tables("sklearn-bundle", "bundle.joblib", {**by_sklearn, "format": "pickle"}, classes)
joblib.dump({"one": linear, "two": linear, "scaler": scaler}, OUT / "unclear.joblib")
cases.append(
    {"name": "sklearn-unclear", "file": "unclear.joblib", "serve": {**by_sklearn, "format": "pickle"}, "calls": []}
)
skops.io.dump(pipeline, OUT / "iris.skops")
tables("sklearn-skops", "iris.skops", {**by_sklearn, "format": "skops"}, classes)

weights = np.asarray([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [1.0, 1.1, 1.2]], dtype=np.float32)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["features", "weights"], ["scores"])],
    "scores_of_irises",
    [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 4])],
    [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
    [helper.make_tensor("weights", TensorProto.FLOAT, [4, 3], weights.reshape(-1))],
)
single = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.save(single, OUT / "scores.onnx")
session = onnxruntime.InferenceSession(OUT / "scores.onnx", providers=["CPUExecutionProvider"])
answer = shortest(session.run(None, {"features": np.asarray(ASKED, dtype=np.float32)})[0])
tables("onnx", "scores.onnx", {"framework": "onnx", "format": "onnx"}, answer)

graph = helper.make_graph(
    [helper.make_node("Gather", ["table", "ids"], ["found"]), helper.make_node("Add", ["found", "bias"], ["sum"])],
    "two_inputs",
    [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("bias", TensorProto.FLOAT, ["n", 2]),
    ],
    [
        helper.make_tensor_value_info("found", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 2]),
    ],
    [helper.make_tensor("table", TensorProto.FLOAT, [3, 2], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), OUT / "two.onnx")
rows = [{"ids": 2, "bias": [0.25, 0.5]}, {"ids": 0, "bias": [1, 2]}]
found, total = [[4.5, 5.5], [0.5, 1.5]], [[4.75, 6.0], [1.5, 3.5]]
by_row = [{"found": found[index], "sum": total[index]} for index in range(2)]
columns = {"ids": [2, 0], "bias": [[0.25, 0.5], [1, 2]]}
cases.append(
    {
        "name": "onnx-two-inputs",
        "file": "two.onnx",
        "serve": {"framework": "onnx", "format": "onnx"},
        "calls": [
            {"path": "/predict", "body": {"instances": rows}, "answer": {"predictions": by_row}},
            {"path": "/predict", "body": columns, "answer": {"predictions": {"found": found, "sum": total}}},
            {
                "path": "/v1/models/iris:predict",
                "body": {"inputs": columns},
                "answer": {"outputs": {"found": found, "sum": total}},
            },
        ],
    }
)

(OUT / "cases.json").write_text(json.dumps(cases))
