"""What the control plane tells its neighbours after a change: the gateway routes anew, the worker clears up.

Neither is needed for the change to be true: it stands in the ledger. A gateway that was not reached reads the ledger
when it starts again, so an unheard message is logged and not an error of the caller.
"""

from __future__ import annotations

import logging

from gitserver.errors import Failure, Json, Problem
from gitserver.settings import Settings
from gitserver.wire import ask, tell

_PATIENCE_S = 5.0
_PING_S = 1.0
_logger = logging.getLogger(__name__)


def reload_gateway(settings: Settings) -> None:
    """Have calls judged by the ledger of now: an app made public, a token revoked."""
    if not tell(settings.run_dir / "gateway.sock", {"op": "reload"}, timeout_s=_PATIENCE_S):
        _logger.warning("the gateway did not answer a reload; it reads the ledger when it starts")


def clear_app(settings: Settings, app_id: int) -> None:
    """Have the processes and folders of a destroyed app removed."""
    if not tell(settings.run_dir / "worker.sock", {"op": "destroy", "app_id": app_id}, timeout_s=_PATIENCE_S):
        _logger.warning("the worker did not answer; it clears up app %d when it starts", app_id)


def ask_worker(settings: Settings, message: dict[str, Json]) -> dict[str, Json]:
    """The worker's answer to what only it can do. Raises Problem: component-down, or the worker's own refusal."""
    answer = ask(settings.run_dir / "worker.sock", message, timeout_s=_PATIENCE_S)
    refusal = answer.get("failure")
    if isinstance(refusal, dict):
        failure = Failure.from_json(refusal)
        raise Problem(failure.code, log=failure.log, **failure.fields)
    return answer


def is_up(settings: Settings, component: str) -> bool:
    """Whether a component answers within a second."""
    try:
        answer: dict[str, Json] = ask(settings.run_dir / f"{component}.sock", {"op": "ping"}, timeout_s=_PING_S)
    except Problem:
        return False
    return answer.get("ok", True) is True
