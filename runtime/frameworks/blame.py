"""Whose move a failed prediction is: what frameworks raise about the input itself is the caller's, and a 422.

Shapes and types are checked before a model is asked, as far as it tells them. What only the model knows is left: how
many words an embedding has, which categories it was fitted on, what TorchScript multiplies with what.

Sources  torch (IndexError, RuntimeError, AssertionError of torch.export's guards), TensorFlow (InvalidArgumentError),
         onnxruntime (InvalidArgument, RuntimeException), scikit-learn and numpy (ValueError), CatBoost (CatBoostError):
         their texts, measured with torch 2.15, TensorFlow 2.21, onnxruntime 1.32, scikit-learn 1.7
"""

from __future__ import annotations

import re

from ..refusal import Flaw, Refused, unfit

MAX_CHARS = 300
# By name: importing a framework to compare classes would load those that the app does not have.
_NAMED = frozenset({"InvalidArgumentError", "InvalidArgument", "RuntimeException", "CatBoostError", "XGBoostError"})
_OF_THE_INPUT = re.compile(
    r"out of (?:range|(?:data )?bounds)|\bshapes?\b|\bdimensions?\b|\bdims?\b|\bsize of tensor\b|\bis not in \[|"
    r"\bexpecting \d+ features\b|\bunknown categories\b|\bpreviously unseen labels\b|\bcontains? (?:NaN|infinity)\b|"
    r"\bcould not convert string\b|\bCannot convert\b|\bGuard failed\b",
    re.IGNORECASE,
)
_OF_THE_MACHINE = re.compile(r"\ballocat|\bout of memory\b|\bbad_alloc\b", re.IGNORECASE)
_PREFIX = re.compile(
    r"^(?:\[ONNXRuntimeError\] : \d+ : \w+ : (?:.*Status Message: )?|(?:\w+\.)*\w*(?:Error|Exception): )"
)


def refusal_of(exc: Exception, at: str) -> Refused | None:
    """The answer to a caller whose input a framework did not take; None for every other failure.

    at       JSON pointer to what was asked with
    returns  422 with the one line of the framework that says it
    """
    if not isinstance(exc, (ValueError, IndexError, RuntimeError, AssertionError)) and type(exc).__name__ not in _NAMED:
        return None
    text = str(exc)
    if _OF_THE_MACHINE.search(text):
        return None
    listed = [line.strip() for line in text.splitlines()]
    lines = [line for line in listed if _OF_THE_INPUT.search(line) and not line.startswith('File "')]
    if not lines:
        return None
    # The last one: what stands before it in these texts is the way there.
    return unfit(Flaw(path=at, message=f"the model did not take it: {_PREFIX.sub('', lines[-1])[:MAX_CHARS]}"))
