"""Azure Machine Learning: score.py with init() and run(raw_data).

Source  azureml-inference-server-http 1.5.1 (the public interface): init() once; run() gets the body as text, unless
        inference-schema has decorated it: then it gets the body's keys as arguments. AZUREML_MODEL_DIR says where the
        model's folder is
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ..jsontext import plain, render_json
from ..model import Model
from ..user_model import UserModel, make_signature
from .whole_body import WholeBodyModel


def announce_model_folder(folder: Path) -> None:
    """Tell the user's code where the model is, before it is imported: some read the variable at the top of the file."""
    os.environ.setdefault("AZUREML_MODEL_DIR", str(folder))


def make_model(module: ModuleType, run: Any, title: str) -> Model:
    """init(), then run() as the model. Raises what the user's init raises."""
    init = getattr(module, "init", None)
    if callable(init):
        init()
    if _is_decorated(run):
        return UserModel(function=run, signature=make_signature(run, "run"), title=title)
    return WholeBodyModel(ask=lambda value: run(_as_text(value)), title=title, rows_key="data", inputs_key="data")


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value
    return value if isinstance(value, str) else render_json(plain(value)).decode("utf-8")


def _is_decorated(run: Any) -> bool:
    # Whoever decorates has imported it; nobody else pays for it.
    schema = sys.modules.get("inference_schema.schema_util")
    return bool(schema is not None and schema.is_schema_decorated(run))
