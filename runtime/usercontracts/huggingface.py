"""Hugging Face Inference Endpoints: handler.py with EndpointHandler(path) and __call__(data).

Source  huggingface-inference-toolkit 2.6.0 (the public interface): data is the JSON object of the request, with
        "inputs" and, where it is sent, "parameters"; any other body arrives as {"inputs": body}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .arity import accepts
from .whole_body import WholeBodyModel


def make_model(handler_class: Any, title: str, app_dir: Path) -> WholeBodyModel:
    """One handler, made with the repository's folder, which is what a model repository is there. Raises the user's."""
    handler = handler_class(str(app_dir)) if accepts(handler_class, 1) else handler_class()

    def ask(value: Any) -> Any:
        return handler(dict(value) if isinstance(value, Mapping) else {"inputs": value})

    return WholeBodyModel(ask=ask, title=title, rows_key="inputs", inputs_key="inputs")
