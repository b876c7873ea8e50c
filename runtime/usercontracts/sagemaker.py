"""SageMaker: model_fn, input_fn, predict_fn, output_fn, or transform_fn in place of the last three.

Source  sagemaker-inference 1.10.1 (the public interface). A trailing `context` is passed where a function has room.
Rules   1. text bodies (JSON, CSV) arrive as str, all others as bytes
        2. what is not defined has a default: JSON, CSV and NPY in and out, model.predict(data)
        3. NPY is read without pickle; the original reads it with, which runs the caller's code
        4. calls of the other contracts are JSON bodies here, and their JSON answer is given back as a value
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from ..failure import BootFailed
from ..jsontext import parse_json, plain, render_json
from ..refusal import Refused
from ..settings import ServeDoc
from .arity import call_with_room
from .whole_body import WholeBodyModel

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
TEXT_TYPES = (JSON, CSV, "text/plain", "application/jsonlines")
# Set by the platform for every container; user code reads them at import as often as later.
FOLDER_VARIABLES = ("SM_MODEL_DIR", "MODEL_DIR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Functions:
    """What the user's file defines; None where it does not."""

    model_fn: Callable[..., Any] | None
    input_fn: Callable[..., Any] | None
    predict_fn: Callable[..., Any] | None
    output_fn: Callable[..., Any] | None
    transform_fn: Callable[..., Any] | None
    pre_model_fn: Callable[..., Any] | None
    model_warmup_fn: Callable[..., Any] | None


def announce_model_folder(folder: Path) -> None:
    """Tell the user's code where the model is, before it is imported."""
    for name in FOLDER_VARIABLES:
        os.environ.setdefault(name, str(folder))


def make_model(module: ModuleType, serve: ServeDoc, app_dir: Path, folder: Path) -> WholeBodyModel:
    """Load by model_fn, or the model file itself where there is none. Raises BootFailed, and what the user's code does.

    BootFailed  contract-mixed: transform_fn beside one of the three that it stands for; entry-missing: no way to load
    """
    functions = Functions(
        **{name: getattr(module, name, None) for name in Functions.__dataclass_fields__},
    )
    replaced = [name for name in ("input_fn", "predict_fn", "output_fn") if getattr(functions, name) is not None]
    if functions.transform_fn is not None and replaced:
        raise BootFailed("contract-mixed", file=serve.file or "", first="transform_fn", second=replaced[0])
    context = SimpleNamespace(
        system_properties={"model_dir": str(folder), "gpu_id": None}, manifest={"model": {"modelName": "model"}}
    )
    if functions.pre_model_fn is not None:
        functions.pre_model_fn(str(folder))
    model = _load(functions, serve, app_dir, folder, context)
    if functions.model_warmup_fn is not None:
        call_with_room(functions.model_warmup_fn, str(folder), model, extra=context)
    pipeline = _Pipeline(functions=functions, model=model, context=context)
    return WholeBodyModel(
        ask=pipeline.ask,
        title=f"{serve.file}, SageMaker",
        rows_key="instances",
        inputs_key="inputs",
        invoke=pipeline.invoke,
    )


def _load(functions: Functions, serve: ServeDoc, app_dir: Path, folder: Path, context: Any) -> Any:
    if functions.model_fn is not None:
        return call_with_room(functions.model_fn, str(folder), extra=context)
    if serve.framework is None:
        raise BootFailed(
            "entry-missing", file=serve.file or "", name="model_fn", found=["no model file to load either"]
        )
    from ..frameworks import load_model_file

    loaded = load_model_file(serve, app_dir).model
    # The defaults decode to arrays, and native() takes what JSON has.
    return SimpleNamespace(predict=lambda data: loaded.native(plain(data)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pipeline:
    functions: Functions
    model: Any
    context: Any

    def ask(self, value: Any) -> Any:
        """One value of another contract: a JSON body for text and values, the bytes as they are."""
        if isinstance(value, bytes):
            result, kind = self._transformed(value, "application/octet-stream", JSON)
        else:
            result, kind = self._transformed(render_json(plain(value)), JSON, JSON)
        return _as_value(result, kind)

    def invoke(self, body: bytes, content_type: str, accept: str) -> tuple[bytes, str]:
        """One raw request. No Accept, or one that takes anything, is JSON."""
        wanted = accept.partition(",")[0].partition(";")[0].strip()
        result, kind = self._transformed(body, content_type or JSON, JSON if wanted in ("", "*/*") else wanted)
        if isinstance(result, (bytes, bytearray)):
            return bytes(result), kind
        return (result.encode("utf-8") if isinstance(result, str) else render_json(plain(result))), kind

    def _transformed(self, body: bytes, content_type: str, accept: str) -> tuple[Any, str]:
        content: Any = _as_sent(body, content_type)
        functions = self.functions
        if functions.transform_fn is not None:
            result = call_with_room(
                functions.transform_fn, self.model, content, content_type, accept, extra=self.context
            )
        else:
            decode = functions.input_fn or _decode
            data = call_with_room(decode, content, content_type, extra=self.context)
            if functions.predict_fn is not None:
                prediction = call_with_room(functions.predict_fn, data, self.model, extra=self.context)
            else:
                prediction = self.model.predict(data)
            if functions.output_fn is not None:
                result = call_with_room(functions.output_fn, prediction, accept, extra=self.context)
            else:
                result = _encode(prediction, accept)
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):
            return result[0], result[1]
        return result, accept


def _as_sent(body: bytes, content_type: str) -> str | bytes:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in TEXT_TYPES:
        return body
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Refused(400, f"the body is not UTF-8: byte {exc.start} is wrong") from exc


def _as_value(result: Any, kind: str) -> Any:
    """A JSON answer as the value that it stands for; other text stays text."""
    if isinstance(result, (str, bytes, bytearray)) and kind.partition(";")[0].strip() == JSON:
        text = result if isinstance(result, str) else bytes(result).decode("utf-8", "replace")
        try:
            return json.loads(text)
        except ValueError:
            return text
    return result


def _decode(content: Any, content_type: str) -> Any:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        return _as_array(parse_json(content.encode("utf-8")))
    if kind == CSV:
        try:
            rows = [[float(cell) for cell in line.split(",")] for line in content.splitlines() if line.strip()]
        except ValueError as exc:
            raise Refused(400, f"the CSV holds what is no number: {exc}") from exc
        return _as_array(rows)
    if kind == NPY:
        import numpy as np

        try:
            return np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError) as exc:
            raise Refused(400, f"the body is no NPY array: {exc}") from exc
    raise Refused(415, f"{content_type} is not taken here; send {JSON}, {CSV} or {NPY}, or define input_fn")


def _as_array(value: Any) -> Any:
    # As the original does; a model that works without numpy gets lists.
    numpy = sys.modules.get("numpy")
    return numpy.asarray(value) if numpy is not None and isinstance(value, list) else value


def _encode(prediction: Any, accept: str) -> Any:
    kind = accept.partition(";")[0].strip().lower()
    if kind == JSON:
        return plain(prediction)
    if kind == CSV:
        rows = plain(prediction)
        rows = rows if isinstance(rows, list) else [rows]
        return "\n".join(",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)
    if kind == NPY:
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, np.asarray(prediction), allow_pickle=False)
        return buffer.getvalue()
    raise Refused(406, f"{accept} is not made here; accept {JSON}, {CSV} or {NPY}, or define output_fn")
