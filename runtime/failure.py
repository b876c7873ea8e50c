"""Why a model did not start, as data: a code, its fields, and the user's own lines of the traceback.

The words for people are made by whoever started this process; here are only facts. One JSON document goes to the
file ALGO_TERMINATION_LOG, the same lines to stderr for the log.
"""

from __future__ import annotations

import json
import linecache
import os
import traceback
from collections.abc import Mapping
from pathlib import Path

JsonScalar = str | int | float | bool | None
Json = JsonScalar | list["Json"] | dict[str, "Json"]

MAX_MESSAGE_CHARS = 2000
MAX_LOG_LINES = 40


class BootFailed(Exception):  # noqa: N818 -- it is data on its way to a person
    """The model cannot be served. code and fields as in Failure of the server; log: the user's own frames."""

    def __init__(self, code: str, *, log: tuple[str, ...] = (), **fields: Json) -> None:
        self.code, self.fields, self.log = code, fields, log
        super().__init__(f"{code} {fields}")


def user_frames(exc: BaseException, app_dir: Path) -> list[traceback.FrameSummary]:
    """The frames of exc that lie in the user's tree, outermost first, file names relative to it."""
    found = []
    for frame in traceback.extract_tb(exc.__traceback__):
        if frame.filename.startswith("<"):  # <frozen importlib>, <string>: not a file, though it would resolve below us
            continue
        try:
            relative = Path(frame.filename).resolve().relative_to(app_dir)
        except ValueError:
            continue
        # extract_tb reads a source line only when it is asked for, so it is asked for before the name is shortened.
        line = frame.line or linecache.getline(frame.filename, frame.lineno or 0).strip()
        found.append(traceback.FrameSummary(str(relative), frame.lineno, frame.name, lookup_line=False, line=line))
    return found


def render_trace(exc: BaseException, app_dir: Path) -> tuple[str, ...]:
    """The user's own frames and the exception, as Python prints them. Frames of others hold paths of the server."""
    frames = user_frames(exc, app_dir)
    lines = ["Traceback (your own lines):"] if frames else []
    lines += [line for text in traceback.format_list(frames) for line in text.rstrip("\n").split("\n")]
    lines += [line for text in traceback.format_exception_only(exc) for line in text.rstrip("\n").split("\n")]
    return tuple(lines[-MAX_LOG_LINES:])


def describe(exc: BaseException, app_dir: Path) -> dict[str, Json]:
    """Fields of an exception: type, message, and the file and line of the user's innermost frame ('' and 0: none)."""
    frames = user_frames(exc, app_dir)
    file, line = (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
    if isinstance(exc, SyntaxError) and exc.filename:
        try:
            file = str(Path(exc.filename).resolve().relative_to(app_dir))
        except ValueError:
            file = exc.filename
        line = exc.lineno or 0
        message = exc.msg
    else:
        message = str(exc)
    return {"type": type(exc).__name__, "message": message[:MAX_MESSAGE_CHARS], "file": file, "line": line}


def write_json(path: Path, value: Mapping[str, Json]) -> None:
    """Put value at path whole or not at all: a reader that polls never sees half a document."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value), encoding="utf-8")
    partial.replace(path)
