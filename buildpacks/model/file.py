"""What a model file is, as far as its bytes tell without running any of them.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# A NamedTuple, not a dataclass: buildpacks start as processes of their own, several a push, and importing
# dataclasses (which imports inspect) costs more than all the rest of a detection.


class ModelFile(NamedTuple):
    """One file or folder that looks like a model.

    path       in the repository, with `/`
    framework  sklearn, skops is sklearn too, torch, keras, tensorflow, xgboost, lightgbm, onnx, catboost, mlflow,
               transformers, safetensors, gguf, tflite, lfs, pickle (an object of no known framework), unknown
    kind       what of that framework: pickle, skops, torchscript, state_dict, savedmodel, pointer, ...
    version    of the framework that wrote it, '' when the file does not say
    detail     further facts: {"class": "Pipeline", "features": 4, "size": 1234}
    """

    path: str
    framework: str
    kind: str
    version: str = ""
    detail: Mapping[str, str | int] = {}


# Readers look at so much and no more, whatever a file claims about itself.
HEAD_BYTES = 4096
MAX_SCAN_BYTES = 64 << 20
TAIL_BYTES = 4 << 20
