"""Words for model files that their framework does not load: with both versions and the line that mends it."""

from __future__ import annotations

from collections.abc import Mapping

from gitserver.words.entry import STAYS, Words

WORDS: Mapping[str, Words] = {
    "framework-skew": Words(
        title="written by {written_by}, cannot be loaded by {loaded_with}",
        body=f"{{model_file}} was written by {{written_by}} and does not work with {{loaded_with}}: "
        f"{{type}}: {{message}}. {STAYS}",
        next="put this line into requirements.txt and push again: {requirement}",
        status=422,
    ),
    "framework-load-failed": Words(
        title="{loaded_with} does not load {model_file}",
        body=f"Loading {{model_file}} with {{loaded_with}} raised {{type}}: {{message}}. {STAYS}",
        next="load the file in your working copy with the same version; when another version wrote it, name that one "
        "in requirements.txt, and push again",
        status=422,
    ),
    "old-keras-file": Words(
        title="{model_file} is of Keras 2, and Keras 3 does not read it",
        body=f"{{loaded_with}} said of {{model_file}}: {{type}}: {{message}}. Files that Keras 2 saved (H5, or a "
        f"folder) hold layers and arguments that Keras 3 no longer has. {STAYS}",
        next="load it once where Keras 2 is (pip install tf-keras): tf_keras.models.load_model(...).export('model') "
        "makes a SavedModel that is served as it is, commit that folder in place of {model_file}; or keep Keras 2 by a "
        "predict.py that uses tf_keras, with tf_keras in requirements.txt",
        status=422,
    ),
    "model-needs-code": Words(
        title="{model_file} needs code beside it",
        body=f"{{model_file}} holds {{found}}. That alone does not say how to predict. {STAYS}",
        next="add {needed}; then push again",
        status=422,
    ),
}
