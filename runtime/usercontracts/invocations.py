"""GET /ping and POST /invocations, for code that takes raw bodies of any content type: SageMaker's functions.

Source  SageMaker's container contract: the Accept header names the answer's type, and only the status of /ping counts
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..service import Answer, Call, Service, json_answer

if TYPE_CHECKING:
    from .whole_body import Invoke  # every start imports this module, few serve such a model


def find_invoke(service: Service) -> Invoke | None:
    """How the served model takes raw bodies; None for models that do not."""
    invoke: Invoke | None = getattr(service.model, "invoke", None)
    return invoke


def ping(service: Service, _call: Call) -> Answer:
    """Whether calls are answered."""
    ready = service.board.is_ready
    return json_answer({"status": "Healthy" if ready else "Unhealthy"}, status=200 if ready else 503)


def invocations(service: Service, call: Call) -> Answer:
    """One raw request. Raises Refused: 406 and 415 for types that the code does not know."""
    invoke = find_invoke(service)
    assert invoke is not None  # the route is there for such models alone
    accept = call.environ.get("HTTP_ACCEPT", "")
    body = call.read()
    content, kind = service.ask(call, lambda: invoke(body, call.content_type, accept), lambda answer: answer)
    return Answer(body=content, content_type=kind)
