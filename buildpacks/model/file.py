"""What a model file is, as far as its bytes tell without running any of them.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# A NamedTuple, not a dataclass: buildpacks start as processes of their own, several a push, and importing
# dataclasses (which imports inspect) costs more than all the rest of a detection.


class ModelFile(NamedTuple):
    """One file or folder that looks like a model.

    path       in the repository, with `/`; `.` for a repository that is a model folder itself
    framework  sklearn (skops too), torch, keras, tensorflow, xgboost, lightgbm, catboost, onnx, mlflow, transformers;
               safetensors, sentence-transformers, diffusers, peft, gguf, tflite, openvino, flax, orbax, tensorrt;
               lfs, pickle (an object of no known framework), unknown
    kind       what of that framework: pickle, skops, torchscript, state_dict, savedmodel, pointer, ...
    version    of the framework that wrote it, '' when the file does not say
    detail     further facts, each a text or a number:
               size             bytes, of a folder all its files
               evidence         which bytes decided, in a user's words
               class, module    of the outermost object; steps of a pipeline; keys of a dictionary of objects
               features, names  columns: their number, their names as a JSON list
               inputs, outputs  tensors.render_tensors
               outside, loud    pickles: names on no list of safety.py, as JSON lists; unread: why it was not read whole
               and what a framework adds: objective, opset, task, flavors, loader, requirements, backend, ...
    """

    path: str
    framework: str
    kind: str
    version: str = ""
    detail: Mapping[str, str | int] = {}


# The facts that earlier builds noted are asked again when readers have learned something.
READER_VERSION = 1
# Readers look at so much and no more, whatever a file claims about itself.
HEAD_BYTES = 4096
MAX_SCAN_BYTES = 64 << 20
TAIL_BYTES = 4 << 20
