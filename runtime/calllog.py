"""What the app's log says of a call that failed: for the owner, with the request id that the caller was given."""

from __future__ import annotations

import sys
import traceback

from .failure import render_trace
from .settings import RunSettings


def log_failure(settings: RunSettings, request_id: str, cause: BaseException) -> None:
    """The user's own frames, in one write, so that two threads' reports never mix."""
    lines = render_trace(cause, settings.app_dir)
    sys.stderr.write(f"request {request_id} failed\n" + "\n".join(lines) + "\n")
    sys.stderr.flush()


def log_own_failure(request_id: str, cause: BaseException) -> None:
    """A failure of the shim itself: whole traceback, it is ours to mend."""
    sys.stderr.write(f"request {request_id} failed inside the server\n" + "".join(traceback.format_exception(cause)))
    sys.stderr.flush()
