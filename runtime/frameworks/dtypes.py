"""What frameworks call their element types, as Open Inference Protocol V2 calls them."""

from __future__ import annotations

from collections.abc import Mapping

from ..tensors import DATATYPES as NUMPY

# numpy's names, which TensorFlow, Keras and PyTorch share; object is numpy's, string is theirs.
DATATYPES: Mapping[str, str] = {**NUMPY, "float16": "FP16", "string": "BYTES"}
