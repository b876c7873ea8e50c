"""Runs in an environment of its own: Keras and TensorFlow models with their answers, into the folder argv[1]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras  # type: ignore[import-not-found, unused-ignore]  # Keras 2, in this program's environment alone

OUT = Path(sys.argv[1])
ASKED = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]
ROWS = np.asarray(ASKED, dtype=np.float32)
cases: list[dict[str, Any]] = []
keras.utils.set_random_seed(7)


def shortest(values: Any) -> Any:
    """float32 as the shortest decimals that read back as the same float32."""
    array = np.asarray(values)
    return [shortest(part) for part in array] if array.ndim else float(str(array[()]))


def case(name: str, file: str, serve: dict[str, Any], answer: Any) -> None:
    """A model of one input with rows of iris."""
    tensor = {"name": "anything", "shape": [2, 4], "datatype": "FP32", "data": ROWS.astype(float).reshape(-1).tolist()}
    rows = [{"some_name": row} for row in ASKED]
    calls = [
        {"path": "/predict", "body": {"instances": ASKED}, "answer": {"predictions": answer}},
        {"path": "/predict", "body": ASKED[0], "answer": {"predictions": answer[:1]}},
        {"path": "/v1/models/iris:predict", "body": {"instances": rows}, "answer": {"predictions": answer}},
        {"path": "/v1/models/iris:predict", "body": {"inputs": ASKED}, "answer": {"outputs": answer}},
        {"path": "/v2/models/iris/infer", "body": {"inputs": [tensor]}, "answer": {"data": np.ravel(answer).tolist()}},
    ]
    cases.append({"name": name, "file": file, "serve": serve, "calls": calls})


network = keras.Sequential(
    [keras.layers.Input((4,)), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(3, activation="softmax")]
)
answer = shortest(network.predict(ROWS, verbose=0))
written = {"framework": "keras", "written_by": f"keras {keras.__version__}"}
network.save(OUT / "iris.keras")
case("keras", "iris.keras", {**written, "format": "keras"}, answer)
network.save(OUT / "iris.h5")
case("keras-h5", "iris.h5", {**written, "format": "h5"}, answer)
network.save_weights(OUT / "iris.weights.h5")
cases.append(
    {"name": "keras-weights", "file": "iris.weights.h5", "serve": {**written, "format": "h5-weights"}, "calls": []}
)
network.export(OUT / "saved", verbose=False)
case("savedmodel", "saved", {"framework": "tensorflow", "format": "savedmodel"}, answer)

left, right = keras.layers.Input((2,), name="left"), keras.layers.Input((2,), name="right", dtype="int32")
joined = keras.layers.Concatenate()([left, keras.ops.cast(right, "float32")])
both = keras.Model(
    [left, right],
    {"sum": keras.ops.sum(joined, axis=-1, keepdims=True), "score": keras.layers.Dense(2, name="score")(joined)},
)
both.save(OUT / "both.keras")
columns: dict[str, Any] = {"left": [[0.5, 1.5], [2.5, 3.5]], "right": [[1, 2], [3, 4]]}
found = both.predict(
    {"left": np.asarray(columns["left"], "f4"), "right": np.asarray(columns["right"], "i4")}, verbose=0
)
outputs = {name: shortest(value) for name, value in found.items()}
rows = [{"left": columns["left"][index], "right": columns["right"][index]} for index in range(2)]
by_row = [{name: value[index] for name, value in outputs.items()} for index in range(2)]
cases.append(
    {
        "name": "keras-two-inputs",
        "file": "both.keras",
        "serve": {**written, "format": "keras"},
        "calls": [
            {"path": "/predict", "body": {"instances": rows}, "answer": {"predictions": by_row}},
            {"path": "/v1/models/iris:predict", "body": {"inputs": columns}, "answer": {"outputs": outputs}},
        ],
    }
)


@keras.saving.register_keras_serializable()
class Mine(keras.layers.Layer):  # type: ignore[misc, unused-ignore]  # keras has no types
    """A layer that only this file knows."""

    def call(self, inputs: Any) -> Any:
        """Twice the inputs."""
        return inputs * 2


keras.Sequential([keras.layers.Input((4,)), Mine()]).save(OUT / "mine.keras")
cases.append({"name": "keras-own-layer", "file": "mine.keras", "serve": {**written, "format": "keras"}, "calls": []})

# A module with a signature of texts and one of numbers.
counter = tf.Module()
counter.lengths = tf.function(
    lambda texts: {"length": tf.strings.length(texts)}, input_signature=[tf.TensorSpec([None], tf.string, name="texts")]
)
counter.doubled = tf.function(
    lambda numbers: {"double": numbers * 2}, input_signature=[tf.TensorSpec([None], tf.int64, name="numbers")]
)
tf.saved_model.save(
    counter, str(OUT / "counter"), signatures={"serving_default": counter.lengths, "doubled": counter.doubled}
)
cases.append(
    {
        "name": "savedmodel-signatures",
        "file": "counter",
        "serve": {"framework": "tensorflow", "format": "savedmodel"},
        "calls": [
            {"path": "/predict", "body": {"instances": ["four", "seven!!"]}, "answer": {"predictions": [4, 7]}},
            {
                "path": "/v1/models/iris:predict",
                "body": {"signature_name": "doubled", "instances": [4, 7]},
                "answer": {"predictions": [8, 14]},
            },
        ],
    }
)

# What Keras 2 writes: plain layers that Keras 3 reads, layers with arguments that it no longer takes, and a folder
# that TensorFlow itself reads, whoever wrote it.
tf_keras.utils.set_random_seed(7)
written = {"framework": "keras", "written_by": f"keras {tf_keras.__version__}", "format": "h5"}
old = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(3, activation="softmax")])
answer = shortest(old.predict(ROWS, verbose=0))
old.save(OUT / "old.h5")
case("keras-2-h5", "old.h5", written, answer)
old.save(OUT / "old-saved", save_format="tf")
case("keras-2-savedmodel", "old-saved", {"framework": "tensorflow", "format": "savedmodel"}, answer)
tf_keras.Sequential([tf_keras.layers.Input((4, 2)), tf_keras.layers.LSTM(3)]).save(OUT / "old-lstm.h5")
cases.append({"name": "keras-2-lstm", "file": "old-lstm.h5", "serve": written, "calls": []})
tf_keras.Sequential([tf_keras.layers.Input((8, 8, 3)), tf_keras.layers.DepthwiseConv2D(3)]).save(
    OUT / "old-depthwise.h5"
)
cases.append({"name": "keras-2-depthwise", "file": "old-depthwise.h5", "serve": written, "calls": []})

(OUT / "cases.json").write_text(json.dumps(cases))
