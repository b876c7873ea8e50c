"""What the shim is asked to serve and how, read once from the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from .failure import BootFailed

DEFAULT_MAX_BODY_BYTES = 100 * 1024 * 1024
DEFAULT_DEADLINE_S = 300.0
DEFAULT_THREADS = 4
DEFAULT_QUEUE = 1000
# A listener on TCP goes on accepting for this long after SIGTERM: whoever routes to it needs that to notice.
TCP_DRAIN_DELAY_S = 5.0


class Kind(StrEnum):
    """How the model is written: a bare file, or user code by one of the contracts."""

    MODEL_FILE = "model-file"
    FUNCTION = "function"
    CLASS = "class"
    ALGORITHMIA = "algorithmia"
    COG = "cog"
    SAGEMAKER = "sagemaker"
    HUGGINGFACE = "huggingface"
    AZURE = "azure"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeDoc:
    """ALGO_SERVE: what the build found. Paths are relative to the app's folder.

    file, name  the user's source file and the function or class in it; None for a bare model file
    model_file  a model file or a model's folder, which user code may open by itself
    framework   of model_file, as the build found it by its bytes: `sklearn`, `xgboost`, `torch`
    format      of model_file: `pickle`, `json`, `torchscript`
    written_by  `scikit-learn 1.5.2`: what wrote model_file, when the build could read it
    example     a known request body, or None
    tests       request bodies with the answers that are expected, or None
    """

    kind: Kind
    file: str | None = None
    name: str | None = None
    model_file: str | None = None
    framework: str | None = None
    format: str | None = None
    written_by: str | None = None
    example: str | None = None
    tests: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """One served model, complete.

    owner            '' when nobody said: then any owner in an Algorithmia address is right
    threads          calls that run at once in one worker
    queue            calls of one worker that may wait for a thread; the next one is told 503
    drain_delay_s    after SIGTERM: seconds in which new connections are still answered
    load_deadline_s  how long after its start the process must be ready; 0: nobody said
    """

    serve: ServeDoc
    app_dir: Path
    model_name: str
    owner: str
    version: str
    bind: str
    workers: int
    threads: int
    queue: int
    max_body_bytes: int
    deadline_s: float
    drain_delay_s: float
    load_deadline_s: float
    termination_path: Path | None
    ready_path: Path | None
    debug: bool

    @property
    def unix_path(self) -> str | None:
        """The socket file, when the bind address is one."""
        return self.bind.removeprefix("unix:") if self.bind.startswith("unix:") else None


def parse_settings(environ: Mapping[str, str], app_dir: Path) -> RunSettings:
    """Read ALGO_* and PORT. Raises BootFailed('runtime-setting', name, found): no wrong value becomes a guess."""
    bind = environ.get("ALGO_BIND") or f"0.0.0.0:{_whole(environ, 'PORT', 8080, least=1)}"
    termination, ready = environ.get("ALGO_TERMINATION_LOG"), environ.get("ALGO_READY_FILE")
    return RunSettings(
        serve=parse_serve(environ.get("ALGO_SERVE", "")),
        app_dir=app_dir.resolve(),
        model_name=environ.get("ALGO_MODEL_NAME") or "model",
        owner=environ.get("ALGO_OWNER", ""),
        version=environ.get("ALGO_MODEL_VERSION") or "1",
        bind=bind,
        workers=_whole(environ, "ALGO_WORKERS", 1, least=1),
        threads=_whole(environ, "ALGO_THREADS", DEFAULT_THREADS, least=1),
        queue=_whole(environ, "ALGO_QUEUE", DEFAULT_QUEUE, least=0),
        max_body_bytes=_whole(environ, "ALGO_MAX_BODY_BYTES", DEFAULT_MAX_BODY_BYTES, least=1),
        deadline_s=_seconds(environ, "ALGO_DEADLINE_S", DEFAULT_DEADLINE_S),
        drain_delay_s=_seconds(environ, "ALGO_DRAIN_DELAY_S", 0.0 if bind.startswith("unix:") else TCP_DRAIN_DELAY_S),
        load_deadline_s=_seconds(environ, "ALGO_READY_TIMEOUT", 0.0),
        termination_path=Path(termination) if termination else None,
        ready_path=Path(ready) if ready else None,
        debug=environ.get("ALGO_DEBUG", "") not in ("", "0", "false"),
    )


def parse_serve(text: str) -> ServeDoc:
    """ALGO_SERVE to a value. Raises BootFailed('runtime-setting', name='ALGO_SERVE', found)."""
    try:
        value = json.loads(text)
        kind = Kind(value["kind"])
    except (ValueError, KeyError, TypeError) as exc:
        raise BootFailed("runtime-setting", name="ALGO_SERVE", found=text[:200]) from exc
    parts: dict[str, str | None] = {}
    for key in (field.name for field in fields(ServeDoc) if field.name != "kind"):
        part = value.get(key)
        if part is not None and not isinstance(part, str):
            raise BootFailed("runtime-setting", name=f"ALGO_SERVE.{key}", found=str(part)[:200])
        parts[key] = part or None
    for key in ("model_file",) if kind is Kind.MODEL_FILE else ("file", "name"):
        if parts[key] is None:
            raise BootFailed("runtime-setting", name=f"ALGO_SERVE.{key}", found="nothing")
    return ServeDoc(kind=kind, **parts)


def _whole(environ: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise BootFailed("runtime-setting", name=name, found=text[:200])
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError as exc:
        raise BootFailed("runtime-setting", name=name, found=text[:200]) from exc
    if not 0 <= value < 1e6:
        raise BootFailed("runtime-setting", name=name, found=text[:200])
    return value
